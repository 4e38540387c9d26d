"""The gRPC services of TensorFlow Serving and the health service.

Requests arrive as bytes and responses leave as bytes; errors become a status with one line.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)

from far_keras.errors import ServerError
from far_keras.serving.server.config import ServerConfig, settings_from_proto
from far_keras.serving.server.limits import RpcError
from far_keras.serving.server.metrics import ServerMetrics
from far_keras.serving.server.models import ModelManager, Servable
from far_keras.serving.server.predict import (
    DEFAULT_SIGNATURE,
    Run,
    check_metadata_fields,
    classify,
    describe_signatures,
    predict,
)
from far_keras.serving.server.scheduler import Scheduler, Work, count_bytes
from far_keras.serving.tensors import encode_tensor

__all__ = ["MODEL_SERVICE", "PREDICTION_SERVICE", "Handlers", "HealthService", "Services"]

# From the descriptors rather than as text: reflection only knows imported ones.
PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name[
    "PredictionService"
].full_name
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

_logger = logging.getLogger(__name__)


class Services:
    """The methods of ``tensorflow.serving.PredictionService`` and ``ModelService``.

    Args:
        manager: Has the models.
        scheduler: Runs them.
        config: Its limits and the encoding of responses.
    """

    def __init__(self, manager: ModelManager, scheduler: Scheduler, config: ServerConfig):
        self._manager = manager
        self._scheduler = scheduler
        self._limits = config.limits
        self._typed = not config.tensor_content
        self._reloading = threading.Lock()

    @property
    def methods(self) -> dict[str, dict[str, tuple[Callable[..., Message], Any]]]:
        """By service and name, each method and the type of its request."""
        return {
            PREDICTION_SERVICE: {
                "Predict": (self.predict, predict_pb2.PredictRequest),
                "Classify": (self.classify, classification_pb2.ClassificationRequest),
                "GetModelMetadata": (
                    self.get_model_metadata,
                    get_model_metadata_pb2.GetModelMetadataRequest,
                ),
                "Regress": (_unimplemented, None),
                "MultiInference": (_unimplemented, None),
            },
            MODEL_SERVICE: {
                "GetModelStatus": (
                    self.get_model_status,
                    get_model_status_pb2.GetModelStatusRequest,
                ),
                "HandleReloadConfigRequest": (
                    self.reload_config,
                    model_management_pb2.ReloadConfigRequest,
                ),
            },
        }

    def predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Predict."""
        response = predict_pb2.PredictResponse()
        with self._manager.use(request.model_spec) as servable:
            outputs = predict(servable.model, request, self._run(servable, context), self._limits)
            _fill_spec(response.model_spec, servable, request.model_spec.signature_name)
        size = sum(map(count_bytes, outputs.values()))
        if size > self._limits.max_response_bytes:
            raise RpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the response has {size:,} bytes: expected at most "
                f"{self._limits.max_response_bytes:,}; send fewer rows per request, or choose "
                "outputs with output_filter",
            )
        for name, array in outputs.items():
            encode_tensor(array, response.outputs[name], typed=self._typed)
        return response

    def classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Classify."""
        response = classification_pb2.ClassificationResponse()
        with self._manager.use(request.model_spec) as servable:
            result = classify(servable.model, request, self._run(servable, context), self._limits)
            _fill_spec(response.model_spec, servable, request.model_spec.signature_name)
        response.result.CopyFrom(result)
        return response

    def get_model_metadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """GetModelMetadata."""
        check_metadata_fields(request)
        with self._manager.use(request.model_spec) as servable:
            response = describe_signatures(servable.model)
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            return response

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """GetModelStatus: of one version, or of all that are or were lately in memory."""
        response = get_model_status_pb2.GetModelStatusResponse()
        for servable in self._manager.statuses(request.model_spec):
            status = response.model_version_status.add()
            status.version, status.state = servable.version, servable.state
            if servable.error:
                status.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
                status.status.error_message = servable.error
        return response

    def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """HandleReloadConfigRequest: serves the models of the request and no others."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise RpcError(
                grpc.StatusCode.INVALID_ARGUMENT,
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported",
            )
        try:
            settings = settings_from_proto(request.config)
        except ServerError as error:
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        # Loading takes seconds: other reloads wait for it until their deadline.
        remaining = context.time_remaining()
        if not self._reloading.acquire(timeout=-1 if remaining is None else max(0, remaining)):
            raise RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "another reload is in progress")
        try:
            problems = self._manager.configure(settings)
        finally:
            self._reloading.release()
        if problems:
            raise problems[0]
        return model_management_pb2.ReloadConfigResponse()

    def _run(self, servable: Servable, context: grpc.ServicerContext) -> Run:
        def run(work: Work) -> dict[str, np.ndarray]:
            work.is_wanted, work.model = context.is_active, servable.name
            return self._scheduler.run(work, context.time_remaining())

        return run


class Handlers:
    """Calls the services for gRPC, limits the memory of requests, and ends calls in order.

    Args:
        services: Have the methods.
        max_bytes: Of all requests in progress; more are refused.
        metrics: Receives each call.
    """

    def __init__(self, services: Services, max_bytes: int, metrics: ServerMetrics):
        self._services = services
        self._free_bytes = max_bytes
        self._metrics = metrics
        self._in_progress = 0
        self._changed = threading.Condition()
        self._holding = False
        self._refusing = threading.Event()
        self._latest = 0.0  # arrival of the latest call, while calls are held

    def generic_handlers(self) -> list[grpc.GenericRpcHandler]:
        """The handlers to add to a gRPC server."""
        return [
            grpc.method_handlers_generic_handler(
                service,
                {
                    name: grpc.unary_unary_rpc_method_handler(self._wrap(name, function, message))
                    for name, (function, message) in functions.items()
                },
            )
            for service, functions in self._services.methods.items()
        ]

    def hold(self, quiet: float, at_most: float) -> None:
        """Holds new calls; returns when none has come for a while.

        When gRPC stops, it cancels the calls that it has received but not yet handled. Callers
        whose calls are held send no more, so that then there are no such calls.

        Args:
            quiet: Seconds without a call after which to return.
            at_most: Seconds after which to return in any case.
        """
        end = time.monotonic() + at_most
        with self._changed:
            self._holding, self._latest = True, time.monotonic()
            while (left := min(end, self._latest + quiet) - time.monotonic()) > 0:
                self._changed.wait(left)

    def refuse(self) -> None:
        """Ends the calls that are held, and all that come, with UNAVAILABLE."""
        self._holding = True
        self._refusing.set()

    def drain(self, seconds: float) -> bool:
        """Waits for the calls in progress; whether all ended in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._in_progress, seconds)

    def _wrap(
        self, method: str, function: Callable[..., Message], message: type[Message] | None
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def handle(data: bytes, context: grpc.ServicerContext) -> bytes:
            start, model, code = time.perf_counter(), "", grpc.StatusCode.OK
            try:
                with self._admitted(len(data)):
                    request = None if message is None else _parse(message, data)
                    del data  # as large as the request itself, for as long as it is computed
                    model = getattr(getattr(request, "model_spec", None), "name", "")
                    return function(request, context).SerializeToString()
            except RpcError as error:
                code, text = error.code, error.text
            except Exception:
                _logger.exception("%s fails", method)
                code, text = grpc.StatusCode.INTERNAL, "the server failed; its log says why"
            finally:
                self._metrics.count_request(method, model, code, time.perf_counter() - start)
            context.abort(code, text)
            raise AssertionError  # abort raises

        return handle

    @contextmanager
    def _admitted(self, size: int) -> Iterator[None]:
        with self._changed:
            self._latest = time.monotonic()
            held = self._holding
            if size > self._free_bytes:
                raise RpcError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "the server is busy: the requests in progress fill its memory; try again later",
                )
            self._free_bytes -= size
            self._in_progress += 1
        try:
            if held:
                self._refusing.wait()
                raise RpcError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            yield
        finally:
            with self._changed:
                self._free_bytes += size
                self._in_progress -= 1
                if not self._in_progress:
                    self._changed.notify_all()


class HealthService(health.HealthServicer):
    """``grpc.health.v1.Health`` with a thread for each call that watches.

    By default grpcio-health-checking notifies watchers while it holds a lock, and waits for the
    one thread that handles all events of the server. That thread takes the same lock when a
    watcher leaves: a watcher that left at that moment froze the server for good.

    Args:
        max_watchers: Calls that may watch at the same time; more are refused.
    """

    def __init__(self, max_watchers: int):
        super().__init__(experimental_non_blocking=False)
        self._max_watchers = max_watchers
        self._free = threading.BoundedSemaphore(max_watchers)

    def Watch(  # noqa: N802
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: Any = None,
    ) -> Any:
        """Watch: the status now, and each time it changes."""
        if not self._free.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._max_watchers} calls watch already; use Check",
            )
        if not context.add_callback(self._free.release):  # the caller has left already
            self._free.release()
            return iter(())
        return super().Watch(request, context)


def _parse(message: type[Message], data: bytes) -> Message:
    try:
        return message.FromString(data)
    except DecodeError:
        # The code of gRPC for C++, and so of TensorFlow Serving, for bytes that are no message.
        raise RpcError(
            grpc.StatusCode.INTERNAL, f"the request is no {message.DESCRIPTOR.full_name}"
        ) from None


def _unimplemented(request: None, context: grpc.ServicerContext) -> Message:
    raise RpcError(
        grpc.StatusCode.UNIMPLEMENTED,
        "this server has Predict, Classify and GetModelMetadata; TensorFlow Serving has the rest",
    )


def _fill_spec(spec: Any, servable: Servable, signature: str) -> None:
    spec.name, spec.version.value = servable.name, servable.version
    spec.signature_name = signature or DEFAULT_SIGNATURE
