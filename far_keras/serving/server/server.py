"""The server: models, services and a port put together."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from far_keras.errors import ServerError
from far_keras.serving.server.config import ServerConfig
from far_keras.serving.server.handlers import MODEL_SERVICE, PREDICTION_SERVICE, Handlers
from far_keras.serving.server.health_service import HealthService
from far_keras.serving.server.metrics import ServerMetrics
from far_keras.serving.server.metrics_http import MetricsEndpoint
from far_keras.serving.server.model_manager import ModelManager
from far_keras.serving.server.scheduler import Scheduler
from far_keras.serving.server.services import ModelService, PredictionService
from far_keras.serving.server.tls import server_credentials

__all__ = ["Server"]

_logger = logging.getLogger(__name__)

# Threads beside those that predictions may hold: for health, status and refusals under load.
_SPARE_THREADS = 16
# Calls that watch the health, each with a thread of its own.
_MAX_WATCHERS = 64
# Calls that may wait for a thread, before their messages are read.
_SPARE_CALLS = 256
# For callers to come to rest before the port closes; see `Handlers.hold`.
_QUIET_SECONDS = 0.5
_HOLD_SECONDS = 3.0
# For the last answers to reach their callers, and then for everything else to end.
_ANSWER_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """Serves SavedModels over TensorFlow Serving's gRPC API, for laptops and tests.

    Args:
        config: What to serve, and where.

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
            threads=config.threads_of_a_run,
            on_load=self.metrics.count_load,
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
        """Where the server listens, as ``host:port``."""
        return f"{self.config.host}:{self._port}"

    @property
    def metrics_address(self) -> str | None:
        """Where the metrics are, as a URL; None without."""
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
        """Loads the models and listens; returns when the first request can be answered.

        Raises:
            ServerError: No model, none that loads, a port in use, a certificate that is none.
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
        """Takes no more calls, finishes those it took, and unloads the models.

        What does not end, such as a model that is loading from a dead disk, is left behind with a
        warning in the log.

        Args:
            grace: Seconds after which calls under way are cut off. Some 6 more may pass until this
                returns.
        """
        self._stopped.set()
        self._health.enter_graceful_shutdown()
        if self._handlers is not None and self._grpc is not None:
            end = time.monotonic() + grace
            self._handlers.hold(_QUIET_SECONDS, min(grace, _HOLD_SECONDS))
            self._grpc.stop(grace)  # callers learn that this connection takes no more calls
            self._handlers.refuse()
            self._handlers.drain(end - time.monotonic())
            # Answers that are ready still have to reach their callers. Those who watch the health
            # would not end by themselves.
            seconds = min(grace, _ANSWER_SECONDS)
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
            places=config.places,
            max_queue=config.max_queue,
            limits=config.limits,
            merges=config.batching,
            on_turn=self.metrics.count_turn,
            on_run=self.metrics.count_run,
        )
        self.metrics.watch(self._manager, lambda: scheduler.waiting)
        threads = config.places + config.max_queue + _SPARE_THREADS + _MAX_WATCHERS
        server = grpc.server(
            ThreadPoolExecutor(threads, thread_name_prefix="call"),
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", config.max_message_bytes),
                ("grpc.so_reuseport", 0),  # else a second server takes half of the calls, silently
            ],
            maximum_concurrent_rpcs=threads + _SPARE_CALLS,
        )
        prediction = PredictionService(
            self._manager, scheduler, config.limits, as_content=config.as_content
        )
        self._handlers = Handlers(config.max_queue_bytes, self.metrics.count_request)
        services = self._handlers.of(prediction, ModelService(self._manager))
        server.add_generic_rpc_handlers(services)
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
        """All is well if every model has a version; each model also has a service of its name."""
        ready = {name: self._manager.is_ready(name) for name in self._manager.names}
        well = bool(ready) and all(ready.values())
        for service in ("", PREDICTION_SERVICE, MODEL_SERVICE):
            self._health.set(service, _SERVING if well else _NOT_SERVING)
        for name, one in ready.items():
            self._health.set(name, _SERVING if one else _NOT_SERVING)
