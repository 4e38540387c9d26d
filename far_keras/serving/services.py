"""The methods of TensorFlow Serving that a client calls, and the calls themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from far_keras.serving.messages import serving_pb2 as messages

__all__ = ["GET_METADATA", "GET_STATUS", "HEALTH", "METHODS", "PREDICT", "RELOAD", "Call", "Method"]


@dataclass(frozen=True)
class Method:
    """A gRPC method that takes one message and answers with one.

    Args:
        path: What it is called on the wire, ``"/package.Service/Name"``.
        request: The message class that it takes.
        response: The message class that it answers with.
    """

    path: str
    request: Any
    response: Any


_PREDICTION, _MODELS = "/tensorflow.serving.PredictionService", "/tensorflow.serving.ModelService"

PREDICT = Method(f"{_PREDICTION}/Predict", messages.PredictRequest, messages.PredictResponse)
GET_METADATA = Method(
    f"{_PREDICTION}/GetModelMetadata",
    messages.GetModelMetadataRequest,
    messages.GetModelMetadataResponse,
)
GET_STATUS = Method(
    f"{_MODELS}/GetModelStatus",
    messages.GetModelStatusRequest,
    messages.GetModelStatusResponse,
)
RELOAD = Method(
    f"{_MODELS}/HandleReloadConfigRequest",
    messages.ReloadConfigRequest,
    messages.ReloadConfigResponse,
)
HEALTH = Method(
    "/grpc.health.v1.Health/Check",
    messages.HealthCheckRequest,
    messages.HealthCheckResponse,
)
METHODS = (PREDICT, GET_METADATA, GET_STATUS, RELOAD, HEALTH)


@dataclass(frozen=True)
class Call:
    """A request on its way.

    Args:
        method: Which method is called.
        message: A message of the method's ``request`` class.
        about: What the call is about, for error messages, such as
            ``"localhost:8500: model 'mgmtn'"``.
    """

    method: Method
    message: Any
    about: str
