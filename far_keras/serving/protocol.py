"""The methods of TensorFlow Serving that the client calls, and how their messages are read.

Each function here is an `Exchange`: a generator that yields `Call`s, is sent the responses, and
returns the result. The synchronous and the asynchronous client share it, and differ only in how
they make a call.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from far_keras.errors import RequestError, ResponseError, ServingError
from far_keras.serving.messages import serving_pb2 as messages
from far_keras.serving.tensors import TensorError, decode_tensor, dtype_name, encode_tensor

__all__ = [
    "METHODS",
    "RELOAD",
    "Call",
    "Exchange",
    "ModelReference",
    "ModelSignature",
    "ModelsConfig",
    "TensorSpec",
    "VersionStatus",
    "health",
    "metadata",
    "predict",
    "reload",
    "status",
]

ADVICE = "look into the server's log, and export the model again"
"""What to do about a response that its model's description does not allow."""

ModelsConfig = str | Path | Mapping[str, str | Path]
"""A ``models.config`` file in text format, or base paths by model name."""

_SIGNATURES = "signature_def"


@dataclass(frozen=True)
class Method:
    """A gRPC method that takes one message and returns one.

    Args:
        path: Its name on the wire, ``"/package.Service/Name"``.
        request: The message class that it takes.
        response: The message class that it returns.
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
    f"{_MODELS}/GetModelStatus", messages.GetModelStatusRequest, messages.GetModelStatusResponse
)
RELOAD = Method(
    f"{_MODELS}/HandleReloadConfigRequest",
    messages.ReloadConfigRequest,
    messages.ReloadConfigResponse,
)
HEALTH = Method(
    "/grpc.health.v1.Health/Check", messages.HealthCheckRequest, messages.HealthCheckResponse
)
METHODS = (PREDICT, GET_METADATA, GET_STATUS, RELOAD, HEALTH)


@dataclass(frozen=True)
class Call:
    """One call of a method.

    Args:
        method: The method.
        message: A message of the method's ``request`` class.
        about: What the call is about, for error messages, such as
            ``"localhost:8500: model 'mgmtn'"``.
    """

    method: Method
    message: Any
    about: str


Result = TypeVar("Result")
Exchange = Generator[Call, Any, Result]


@dataclass(frozen=True)
class ModelReference:
    """Which model of which server, and which version of it.

    Args:
        target: The server's address.
        name: The model's name on the server.
        version: None for the server's choice, the newest.
        label: The version's label, such as ``"stable"``; not together with `version`.

    Raises:
        RequestError: An empty name, a version that is no number from 1 on, or both.
    """

    target: str
    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        version, label = self.version, self.label
        if not isinstance(self.name, str) or not self.name:
            raise RequestError(f"model: expected the model's name. Received: {self.name!r}")
        if version is not None and (
            not isinstance(version, int) or isinstance(version, bool) or version < 1
        ):
            raise RequestError(f"version: expected a number from 1 on. Received: {version!r}")
        if label is not None and (not isinstance(label, str) or not label):
            raise RequestError(f"label: expected text. Received: {label!r}")
        if version is not None and label is not None:
            raise RequestError(
                f"expected a version or a label, not both. Received: {version} and {label!r}"
            )

    def __str__(self) -> str:
        version = f", version {self.version}" if self.version is not None else ""
        label = f", label {self.label!r}" if self.label is not None else ""
        return f"{self.target}: model {self.name!r}{version}{label}"

    def spec(self, signature: str = "", version: int | None = None) -> messages.ModelSpec:
        """As a message; with `version` instead of the reference's own if given."""
        spec = messages.ModelSpec(name=self.name, signature_name=signature)
        if version is None:
            version = self.version
        if version is not None:
            spec.version.value = version
        elif self.label is not None:
            spec.version_label = self.label
        return spec


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on a server.

    Args:
        version: Its number.
        state: ``"START"``, ``"LOADING"``, ``"AVAILABLE"``, ``"UNLOADING"``, ``"END"`` or
            ``"UNKNOWN"``.
        code: Number of the gRPC status code that it failed with; 0 if it did not fail.
        message: Why it failed; empty if it did not.
    """

    version: int
    state: str
    code: int = 0
    message: str = ""

    @property
    def available(self) -> bool:
        """Whether it serves."""
        return self.state == "AVAILABLE"


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a signature.

    Args:
        dtype: ``"float"``, ``"uint8"``, ``"string"`` ...
        shape: -1 for a size that may vary; None if even the number of sizes may.
    """

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class ModelSignature:
    """A way to call a model: its inputs and outputs by name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


def predict(
    model: ModelReference,
    inputs: Mapping[str, Any],
    signature: str,
    outputs: Sequence[str],
    version: int | None = None,
) -> Exchange[tuple[dict[str, np.ndarray], int]]:
    """Output arrays, and the version that computed them, for input arrays.

    Args:
        model: The model that is called.
        inputs: By name, arrays of numbers, bytes or text.
        signature: The signature's name.
        outputs: Names of the outputs to return; all if empty.
        version: Instead of the reference's own.

    Raises:
        RequestError: An input is nothing that a message can hold.
        ResponseError: An output contradicts itself.
    """
    message = PREDICT.request(
        model_spec=model.spec(signature, version), output_filter=list(outputs)
    )
    for name, value in inputs.items():
        try:
            encode_tensor(value, message.inputs[name])
        except TensorError as error:
            raise RequestError(f"inputs, {name!r}: {error}") from error
    response = yield Call(PREDICT, message, str(model))
    arrays = {}
    for name, tensor in response.outputs.items():
        try:
            arrays[name] = decode_tensor(tensor)
        except TensorError as error:
            raise ResponseError(f"{model}, output {name!r}: {error}; {ADVICE}") from error
    return arrays, response.model_spec.version.value


def status(model: ModelReference) -> Exchange[tuple[VersionStatus, ...]]:
    """The versions of a model that the server knows, from the newest to the oldest."""
    message = GET_STATUS.request(model_spec=model.spec())
    response = yield Call(GET_STATUS, message, str(model))
    versions = [
        VersionStatus(
            version=entry.version,
            state=_enum_name(messages.ModelVersionStatus.State, entry.state),
            code=entry.status.error_code,
            message=entry.status.error_message,
        )
        for entry in response.model_version_status
    ]
    return tuple(sorted(versions, key=lambda entry: -entry.version))


def metadata(model: ModelReference) -> Exchange[dict[str, ModelSignature]]:
    """The signatures of a model by name.

    Raises:
        ResponseError: The response holds no signatures.
    """
    message = GET_METADATA.request(model_spec=model.spec(), metadata_field=[_SIGNATURES])
    response = yield Call(GET_METADATA, message, str(model))
    packed = response.metadata[_SIGNATURES]
    if packed.type_url.rpartition("/")[2] != "tensorflow.serving.SignatureDefMap":
        raise ResponseError(
            f"{model}: expected a SignatureDefMap as metadata. Received: {packed.type_url!r}"
        )
    try:
        found = messages.SignatureDefMap.FromString(packed.value)
    except Exception as error:  # protobuf's DecodeError
        raise ResponseError(f"{model}: the metadata cannot be decoded: {error}") from error
    return {
        name: ModelSignature(_specs(signature.inputs), _specs(signature.outputs))
        for name, signature in sorted(found.signature_def.items())
        if not name.startswith("__")  # TensorFlow's own, such as __saved_model_init_op
    }


def reload(model: ModelReference, models: ModelsConfig) -> Exchange[None]:
    """Replaces the list of models that the server serves.

    Raises:
        RequestError: The file is missing or no ``models.config``, or no model is named.
        ServingError: The server could not do it.
    """
    message = RELOAD.request(config=_read_models_config(models))
    response = yield Call(RELOAD, message, f"{model.target}: reload")
    if response.status.error_code:
        raise ServingError(
            f"{model.target}: reload: the server kept its models: {response.status.error_message} "
            f"(code {response.status.error_code})"
        )


def health(model: ModelReference, service: str = "") -> Exchange[str]:
    """``"SERVING"``, ``"NOT_SERVING"``, ``"SERVICE_UNKNOWN"`` or ``"UNKNOWN"``."""
    response = yield Call(HEALTH, HEALTH.request(service=service), f"{model.target}: health")
    return _enum_name(messages.HealthCheckResponse.ServingStatus, response.status)


def _enum_name(enum: Any, value: int) -> str:
    try:
        return enum.Name(value)
    except ValueError:
        return "UNKNOWN"


def _specs(infos: Mapping[str, messages.TensorInfo]) -> dict[str, TensorSpec]:
    def shape(info: messages.TensorInfo) -> tuple[int, ...] | None:
        sizes = tuple(dim.size for dim in info.tensor_shape.dim)
        return None if info.tensor_shape.unknown_rank else sizes

    return {
        name: TensorSpec(dtype_name(info.dtype), shape(info))
        for name, info in sorted(infos.items())
    }


def _read_models_config(models: ModelsConfig) -> messages.ModelServerConfig:
    config = messages.ModelServerConfig()
    if isinstance(models, Mapping):
        source = "models"
        for name, path in models.items():
            config.model_config_list.config.add(
                name=name, base_path=str(path), model_platform="tensorflow"
            )
    else:
        from google.protobuf import text_format

        source = str(models)
        try:
            text_format.Parse(Path(models).read_text(encoding="utf-8"), config)
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"{source}: cannot read the models.config file: {error}") from error
        except text_format.ParseError as error:
            raise RequestError(
                f"{source}: expected a ModelServerConfig in protobuf's text format. "
                f"Received, at line and column {error}"
            ) from error
    if not config.model_config_list.config:
        raise RequestError(
            f"{source}: expected at least one model, since the list replaces the server's. "
            "Received: none"
        )
    return config
