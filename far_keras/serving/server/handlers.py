"""gRPC's view of the services: bytes in, bytes out, and an error as a status with one line."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)

from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.services import ModelService, PredictionService

__all__ = ["MODEL_SERVICE", "PREDICTION_SERVICE", "Handlers"]

# From the descriptors rather than as text: reflection only knows what has been imported.
PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name[
    "PredictionService"
].full_name
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

_logger = logging.getLogger(__name__)


class Handlers:
    """Wraps the services' methods for gRPC.

    Args:
        max_bytes: Of all requests at hand; more are refused.
        on_request: Told of each call: its method, its model, its status and its seconds.
    """

    def __init__(
        self,
        max_bytes: int,
        on_request: Callable[[str, str, grpc.StatusCode, float], None] | None = None,
    ):
        self._free_bytes = max_bytes
        self._under_way = 0
        self._changed = threading.Condition()
        self._holding = False
        self._refusing = threading.Event()
        self._latest = 0.0  # when a call came, while calls are held
        self._on_request = on_request

    def of(self, prediction: PredictionService, model: ModelService) -> list[Any]:
        """The handlers to add to a gRPC server."""
        methods = {
            PREDICTION_SERVICE: {
                "Predict": (prediction.predict, predict_pb2.PredictRequest),
                "Classify": (prediction.classify, classification_pb2.ClassificationRequest),
                "GetModelMetadata": (
                    prediction.get_model_metadata,
                    get_model_metadata_pb2.GetModelMetadataRequest,
                ),
                "Regress": (_unimplemented, None),
                "MultiInference": (_unimplemented, None),
            },
            MODEL_SERVICE: {
                "GetModelStatus": (
                    model.get_model_status,
                    get_model_status_pb2.GetModelStatusRequest,
                ),
                "HandleReloadConfigRequest": (
                    model.reload_config,
                    model_management_pb2.ReloadConfigRequest,
                ),
            },
        }
        return [
            grpc.method_handlers_generic_handler(
                service,
                {
                    name: grpc.unary_unary_rpc_method_handler(self._wrap(name, function, message))
                    for name, (function, message) in functions.items()
                },
            )
            for service, functions in methods.items()
        ]

    def hold(self, quiet: float, at_most: float) -> None:
        """Lets calls that come wait; returns when none has come for a while.

        When gRPC stops, it cancels the calls that it has received and not yet handed on. Callers
        that wait send nothing more, so that then there are none of those.

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
        """Answers UNAVAILABLE to the calls that wait, and to all that come."""
        self._holding = True
        self._refusing.set()

    def drain(self, seconds: float) -> bool:
        """Waits for the calls that were taken; whether all ended in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, seconds)

    def _wrap(
        self, method: str, function: Callable[..., Message], message: type[Message] | None
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def handle(data: bytes, context: grpc.ServicerContext) -> bytes:
            start, model, code = time.perf_counter(), "", grpc.StatusCode.OK
            try:
                with self._taken(len(data)):
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
                if self._on_request is not None:
                    self._on_request(method, model, code, time.perf_counter() - start)
            context.abort(code, text)
            raise AssertionError  # abort raises

        return handle

    @contextmanager
    def _taken(self, size: int) -> Iterator[None]:
        with self._changed:
            self._latest = time.monotonic()
            held = self._holding
            if size > self._free_bytes:
                raise RpcError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "the server is busy: the requests at hand fill its memory; try again later",
                )
            self._free_bytes -= size
            self._under_way += 1
        try:
            if held:
                self._refusing.wait()
                raise RpcError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            yield
        finally:
            with self._changed:
                self._free_bytes += size
                self._under_way -= 1
                if not self._under_way:
                    self._changed.notify_all()


def _parse(message: type[Message], data: bytes) -> Message:
    try:
        return message.FromString(data)
    except DecodeError:
        # What gRPC for C++, and so TensorFlow Serving, answers to bytes that are no message.
        raise RpcError(
            grpc.StatusCode.INTERNAL, f"the request is no {message.DESCRIPTOR.full_name}"
        ) from None


def _unimplemented(request: None, context: grpc.ServicerContext) -> Message:
    raise RpcError(
        grpc.StatusCode.UNIMPLEMENTED,
        "this server has Predict, Classify and GetModelMetadata; TensorFlow Serving has the rest",
    )
