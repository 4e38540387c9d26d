"""Questions about a server rather than an image: status, signatures, configuration, health."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from far_keras.errors import RequestError, ResponseError, ServingError
from far_keras.serving.messages import serving_pb2 as messages
from far_keras.serving.remote_model import Question, RemoteModel
from far_keras.serving.results import Signature, TensorSpec, VersionStatus
from far_keras.serving.services import GET_METADATA, GET_STATUS, HEALTH, RELOAD, Call
from far_keras.serving.tensors import dtype_name

__all__ = ["ModelsConfig", "health", "metadata", "reload", "status"]

ModelsConfig = str | Path | Mapping[str, str | Path]
"""A ``models.config`` file in text format, or base paths by model name."""

_SIGNATURES = "signature_def"


def status(model: RemoteModel) -> Question[tuple[VersionStatus, ...]]:
    """The versions of a model that the server knows, from the newest to the oldest."""
    message = GET_STATUS.request(model_spec=model.spec())
    response = yield Call(GET_STATUS, message, str(model))
    versions = [
        VersionStatus(
            version=entry.version,
            state=_state(entry.state),
            code=entry.status.error_code,
            message=entry.status.error_message,
        )
        for entry in response.model_version_status
    ]
    return tuple(sorted(versions, key=lambda entry: -entry.version))


def metadata(model: RemoteModel) -> Question[dict[str, Signature]]:
    """The signatures of a model by name.

    Raises:
        ResponseError: The answer holds no signatures.
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
        name: Signature(_specs(signature.inputs), _specs(signature.outputs))
        for name, signature in sorted(found.signature_def.items())
        if not name.startswith("__")  # TensorFlow's own, such as __saved_model_init_op
    }


def reload(model: RemoteModel, models: ModelsConfig) -> Question[None]:
    """Replaces the list of models that the server serves.

    Args:
        model: Of the server meant.
        models: See `ModelsConfig`.

    Raises:
        RequestError: The file is missing or no ``models.config``, or no model is named.
        ServingError: The server could not do it.
    """
    message = RELOAD.request(config=_config(models))
    response = yield Call(RELOAD, message, f"{model.target}: reload")
    if response.status.error_code:
        raise ServingError(
            f"{model.target}: reload: the server kept its models: {response.status.error_message} "
            f"(code {response.status.error_code})"
        )


def health(model: RemoteModel, service: str = "") -> Question[str]:
    """``"SERVING"``, ``"NOT_SERVING"``, ``"SERVICE_UNKNOWN"`` or ``"UNKNOWN"``."""
    response = yield Call(HEALTH, HEALTH.request(service=service), f"{model.target}: health")
    try:
        return messages.HealthCheckResponse.ServingStatus.Name(response.status)
    except ValueError:
        return "UNKNOWN"


def _state(value: messages.ModelVersionStatus.State) -> str:
    try:
        return messages.ModelVersionStatus.State.Name(value)
    except ValueError:
        return "UNKNOWN"


def _specs(infos: Mapping[str, messages.TensorInfo]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(dtype_name(infos[name].dtype), _shape(infos[name].tensor_shape))
        for name in sorted(infos)
    }


def _shape(shape: messages.TensorShape) -> tuple[int, ...] | None:
    return None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)


def _config(models: ModelsConfig) -> messages.ModelServerConfig:
    config = messages.ModelServerConfig()
    if isinstance(models, Mapping):
        for name, path in models.items():
            config.model_config_list.config.add(
                name=name, base_path=str(path), model_platform="tensorflow"
            )
        source = "models"
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
