"""The server: its models and services on a port, and how it stops."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from far_keras.errors import ServerError
from far_keras.serving.server.config import ServerConfig, server_credentials
from far_keras.serving.server.handlers import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    Handlers,
    HealthService,
    Services,
)
from far_keras.serving.server.metrics import MetricsEndpoint, ServerMetrics
from far_keras.serving.server.models import ModelManager
from far_keras.serving.server.scheduler import Scheduler

__all__ = ["Server", "stop_signal"]

_logger = logging.getLogger(__name__)

# Threads in addition to those of predictions: for health, status and refusals under load.
_SPARE_THREADS = 16
# Calls that watch the health; each needs a thread.
_MAX_WATCHERS = 64
# Calls that may wait for a thread, before their messages are read.
_SPARE_CALLS = 256
# For callers to pause before the port closes; see `Handlers.hold`.
_QUIET_SECONDS = 0.5
_HOLD_SECONDS = 3.0
# For the last responses to reach their callers, and then for everything else to end.
_RESPONSE_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """Serves SavedModels over TensorFlow Serving's gRPC API, for laptops and tests.

    Args:
        config: What to serve, and how.

    Example:
        >>> with Server(ServerConfig(models=Path("saved_models"), port=0)) as server:
        ...     print(server.address)  # doctest: +SKIP
        127.0.0.1:40213
    """

    def __init__(self, config: ServerConfig):
        self.config = config
        self.metrics = ServerMetrics()
        self._manager = ModelManager(
            row_by_row=config.batching,
            threads=config.threads_per_run,
            metrics=self.metrics,
            on_change=self._update_health,
        )
        self._health = HealthService(_MAX_WATCHERS)
        self._stopped = threading.Event()
        self._polling: threading.Thread | None = None
        self._grpc: grpc.Server | None = None
        self._handlers: Handlers | None = None
        self._endpoint: MetricsEndpoint | None = None
        self._port = config.port

    @property
    def address(self) -> str:
        """The address as ``host:port``."""
        return f"{self.config.host}:{self._port}"

    @property
    def metrics_address(self) -> str | None:
        """URL of the metrics; None without a metrics port."""
        return self._endpoint.url if self._endpoint is not None else None

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return self._manager.names

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Loads the models and listens; returns when requests can be served.

        Raises:
            ServerError: No model or none that loads, a port in use, an invalid certificate.
        """
        config = self.config
        credentials = None if config.tls is None else server_credentials(config.tls)
        settings = config.list_models()
        self._grpc = self._build()
        try:
            self._port = self._bind(self._grpc, credentials)
            if config.metrics_port is not None:
                self._endpoint = MetricsEndpoint(self.metrics, config.metrics_port)
            problems = self._manager.configure(settings)
            if settings and not any(self._manager.is_ready(one.name) for one in settings):
                raise ServerError(problems[0].text)
            for problem in problems:
                _logger.warning("%s", problem.text)
        except BaseException:
            self.stop(grace=0)
            raise
        self._grpc.start()
        if config.poll_seconds:
            self._polling = threading.Thread(target=self._poll, name="versions", daemon=True)
            self._polling.start()

    def stop(self, grace: float = 30.0) -> None:
        """Accepts no more calls, finishes those in progress, and unloads the models.

        Anything that does not end, such as a model that is loading from a dead disk, is abandoned
        with a warning in the log.

        Args:
            grace: Seconds after which calls in progress are cancelled. Some 6 more may pass until
                this returns.
        """
        self._stopped.set()
        self._health.enter_graceful_shutdown()
        if self._handlers is not None and self._grpc is not None:
            end = time.monotonic() + grace
            self._handlers.hold(_QUIET_SECONDS, min(grace, _HOLD_SECONDS))
            self._grpc.stop(grace)  # tells callers that this connection accepts no more calls
            self._handlers.refuse()
            self._handlers.drain(end - time.monotonic())
            # Responses that are ready still have to reach their callers. Calls that watch the
            # health would not end by themselves.
            seconds = min(grace, _RESPONSE_SECONDS)
            if not self._grpc.stop(seconds).wait(seconds + _CLOSE_SECONDS):
                _logger.warning("the port does not close")
        end = time.monotonic() + _CLOSE_SECONDS
        if self._polling is not None:
            self._polling.join(_CLOSE_SECONDS)
        if self._endpoint is not None:
            self._endpoint.close()
        if not self._manager.close(end - time.monotonic()):
            _logger.warning("a model is still loading: the models are not unloaded")

    def wait(self) -> None:
        """Returns when the server has been stopped."""
        if self._grpc is not None:
            self._grpc.wait_for_termination()

    def _build(self) -> grpc.Server:
        config = self.config
        scheduler = Scheduler(
            parallel_runs=config.num_parallel_runs,
            max_queue=config.max_queue,
            limits=config.limits,
            batching=config.batching,
            metrics=self.metrics,
        )
        self.metrics.watch(self._manager, lambda: scheduler.waiting)
        threads = config.num_parallel_runs + config.max_queue + _SPARE_THREADS + _MAX_WATCHERS
        server = grpc.server(
            ThreadPoolExecutor(threads, thread_name_prefix="call"),
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", config.max_message_bytes),
                ("grpc.so_reuseport", 0),  # else a second server silently gets half of the calls
            ],
            maximum_concurrent_rpcs=threads + _SPARE_CALLS,
        )
        services = Services(self._manager, scheduler, config)
        self._handlers = Handlers(services, config.max_queue_bytes, self.metrics)
        server.add_generic_rpc_handlers(self._handlers.generic_handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (PREDICTION_SERVICE, MODEL_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME),
            server,
        )
        return server

    def _bind(self, server: grpc.Server, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                port = server.add_insecure_port(self.address)
            else:
                port = server.add_secure_port(self.address, credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise ServerError(
                f"{self.address}: cannot listen there: the port is in use, or the address is not "
                "this machine's. Choose another with --port or --host"
            )
        return port

    def _poll(self) -> None:
        while not self._stopped.wait(self.config.poll_seconds):
            try:
                self._manager.poll()
                if self.config.models is not None:
                    for settings in self.config.list_models():
                        self._manager.add(settings)
            except ServerError as error:
                _logger.debug("%s", error)
            except Exception:
                _logger.exception("looking for versions fails")

    def _update_health(self) -> None:
        """The server is healthy if every model has a version; models are services as well."""
        ready = {name: self._manager.is_ready(name) for name in self._manager.names}
        healthy = bool(ready) and all(ready.values())
        ready |= dict.fromkeys(("", PREDICTION_SERVICE, MODEL_SERVICE), healthy)
        for service, is_ready in ready.items():
            self._health.set(service, _SERVING if is_ready else _NOT_SERVING)


@contextmanager
def stop_signal() -> Iterator[Callable[[], None]]:
    """Yields a function that returns when SIGTERM or SIGINT has come; for the main thread only.

    The system may deliver a signal to any thread. Python runs the handler in the main thread, but
    does not wake it from waiting for a lock, as in `threading.Event.wait`: the signal would be
    lost. So the main thread reads from a socket, into which Python writes in whichever thread the
    signal came. After the block a further signal ends the process at once.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            for number in _STOP_SIGNALS:
                signal.signal(number, lambda *_: None)

            def wait() -> None:
                while not set(reader.recv(64)) & set(_STOP_SIGNALS):
                    pass  # another signal that has a handler in Python

            yield wait
        finally:
            for number in _STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(previous)
