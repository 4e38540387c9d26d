"""The two gRPC services of TensorFlow Serving, over the models of a `ModelManager`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from far_keras.errors import ServerError
from far_keras.serving.server.classify import classify
from far_keras.serving.server.limits import Limits
from far_keras.serving.server.metadata import check_fields, describe_signatures
from far_keras.serving.server.model_manager import ModelManager
from far_keras.serving.server.model_settings import settings_from_proto
from far_keras.serving.server.predict import DEFAULT_SIGNATURE, predict
from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.saved_model import SavedModel
from far_keras.serving.server.scheduler import Scheduler
from far_keras.serving.server.servable import Servable
from far_keras.serving.server.tensors import encode_tensor
from far_keras.serving.server.work import Work, count_bytes

__all__ = ["ModelService", "PredictionService"]


class PredictionService:
    """``tensorflow.serving.PredictionService``.

    Args:
        manager: Has the models.
        scheduler: Runs them.
        limits: What one request may cost.
        as_content: Whether answers use ``tensor_content``; see `encode_tensor`.
    """

    def __init__(
        self, manager: ModelManager, scheduler: Scheduler, limits: Limits, *, as_content: bool
    ):
        self._manager = manager
        self._scheduler = scheduler
        self._limits = limits
        self._as_content = as_content

    def predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Predict."""
        response = predict_pb2.PredictResponse()
        with self._manager.use(request.model_spec) as servable:
            outputs = predict(
                _model(servable),
                request,
                lambda work: self._run(work, servable.name, context),
                self._limits,
            )
            _fill_spec(response.model_spec, servable, request.model_spec.signature_name)
        size = sum(map(count_bytes, outputs.values()))
        if size > self._limits.max_answer_bytes:
            raise RpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the answer has {size:,} bytes: expected at most "
                f"{self._limits.max_answer_bytes:,}; send fewer rows a request, or choose outputs "
                "with output_filter",
            )
        for name, array in outputs.items():
            encoded = encode_tensor(array, as_content=self._as_content)
            response.outputs[name].CopyFrom(encoded)
        return response

    def classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Classify."""
        response = classification_pb2.ClassificationResponse()
        with self._manager.use(request.model_spec) as servable:
            result = classify(
                _model(servable),
                request,
                lambda work: self._run(work, servable.name, context),
                self._limits,
            )
            _fill_spec(response.model_spec, servable, request.model_spec.signature_name)
        response.result.CopyFrom(result)
        return response

    def get_model_metadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """GetModelMetadata."""
        check_fields(request)
        with self._manager.use(request.model_spec) as servable:
            return describe_signatures(servable)

    def _run(self, work: Work, model: str, context: grpc.ServicerContext) -> dict[str, np.ndarray]:
        work.is_wanted, work.model = context.is_active, model
        return self._scheduler.run(work, context.time_remaining())


class ModelService:
    """``tensorflow.serving.ModelService``.

    Args:
        manager: Has the models.
    """

    def __init__(self, manager: ModelManager):
        self._manager = manager
        self._reloading = threading.Lock()

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """GetModelStatus: of one version, or of all that are or were lately in memory."""
        spec = request.model_spec
        response = get_model_status_pb2.GetModelStatusResponse()
        versions = self._manager.statuses(spec)
        for servable in versions:
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
        with self._one_at_a_time(context):
            problems = self._manager.configure(settings)
        if problems:
            raise problems[0]
        return model_management_pb2.ReloadConfigResponse()

    @contextmanager
    def _one_at_a_time(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Loading takes seconds: those who come meanwhile wait no longer than their deadline."""
        remaining = context.time_remaining()
        if not self._reloading.acquire(timeout=-1 if remaining is None else max(0, remaining)):
            raise RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "another reload is under way")
        try:
            yield
        finally:
            self._reloading.release()


def _model(servable: Servable) -> SavedModel:
    if servable.model is None:  # cannot be while it is in use
        raise RpcError(grpc.StatusCode.INTERNAL, f"{servable} has no model in memory")
    return servable.model


def _fill_spec(spec, servable: Servable, signature: str) -> None:
    spec.name, spec.version.value = servable.name, servable.version
    spec.signature_name = signature or DEFAULT_SIGNATURE
