"""Which models are served: from a folder, a ``models.config`` file, or a reload request."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from far_keras.errors import ServerError
from far_keras.files import list_versions
from far_keras.serving.server.version_policy import VersionPolicy

if TYPE_CHECKING:  # it loads TensorFlow
    from tensorflow_serving.config import model_server_config_pb2

__all__ = [
    "ModelSettings",
    "find_models",
    "read_models_config",
    "settings_from_proto",
    "version_folders",
]


@dataclass(frozen=True)
class ModelSettings:
    """One model that is served.

    Args:
        name: What requests call it.
        folder: Holds a subfolder for each version, named by its number.
        policy: Which of the versions are served.
        labels: Version of each label, such as ``{"stable": 3}``.
    """

    name: str
    folder: Path
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    labels: dict[str, int] = field(default_factory=dict)


def version_folders(folder: Path) -> dict[int, Path]:
    """The folders in a model's folder that are named by a number, which is their version.

    Raises:
        OSError: The folder cannot be read.
    """
    return {number: path for number, path in list_versions(folder).items() if path.is_dir()}


def find_models(folder: Path, policy: VersionPolicy) -> list[ModelSettings]:
    """The models in a folder, or the one model that the folder is.

    Args:
        folder: Either ``NAME/<number>/`` for each model, or ``<number>/`` of one model, which is
            then called as the folder.
        policy: Of all models.

    Raises:
        ServerError: There is no such folder, or no version in it.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise ServerError(
            f"{folder}: there is no such folder. Export a model into it with `far-keras export`"
        )
    if version_folders(folder):
        return [ModelSettings(folder.name, folder, policy)]
    models = [
        ModelSettings(path.name, path, policy)
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and version_folders(path)
    ]
    if not models:
        raise ServerError(
            f"{folder}: expected models, as NAME/1/saved_model.pb. Received: a folder without any; "
            f"export one with `far-keras export MODEL --to {folder / 'NAME'}`"
        )
    return models


def read_models_config(path: Path) -> list[ModelSettings]:
    """The models of a ``models.config`` file, as TensorFlow Serving's ``--model_config_file``.

    Args:
        path: A ``ModelServerConfig`` in protobuf's text format. Relative folders in it are taken
            from the file's own folder.

    Raises:
        ServerError: The file cannot be read, is no such text, or contradicts itself.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    except OSError as error:
        raise ServerError(
            f"{path}: cannot read it: {error.strerror or error}. Check the path"
        ) from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServerError(
            f"{path}: expected a ModelServerConfig in protobuf's text format. Received: {error}"
        ) from None
    try:
        return settings_from_proto(config, path.absolute().parent)
    except ServerError as error:
        raise ServerError(f"{path}: {error}") from None


def settings_from_proto(
    config: model_server_config_pb2.ModelServerConfig, base: Path | None = None
) -> list[ModelSettings]:
    """The models of a configuration.

    Args:
        config: With a ``model_config_list``.
        base: Where relative folders start; None refuses them, as TensorFlow Serving does.

    Raises:
        ServerError: Which model is described wrongly, and how.
    """
    from tensorflow_serving.config import model_server_config_pb2

    if config.WhichOneof("config") == "custom_model_config":
        raise ServerError("expected a model_config_list. Received: a custom_model_config")
    models: dict[str, ModelSettings] = {}
    for entry in config.model_config_list.config:
        if not entry.name:
            raise ServerError("expected a name for every model. Received: none for one of them")
        if entry.name in models:
            raise ServerError(f"expected each model once. Received: {entry.name!r} several times")
        if entry.model_platform != "tensorflow" and not (
            # what came before model_platform
            not entry.model_platform and entry.model_type == model_server_config_pb2.TENSORFLOW
        ):
            raise ServerError(
                f'model {entry.name!r}: expected model_platform: "tensorflow". '
                f"Received: {entry.model_platform!r}"
            )
        folder = Path(entry.base_path.removeprefix("file://"))
        if not entry.base_path or (base is None and not folder.is_absolute()):
            raise ServerError(
                f"model {entry.name!r}: expected an absolute base_path. "
                f"Received: {entry.base_path!r}"
            )
        models[entry.name] = ModelSettings(
            entry.name,
            folder if base is None else base / folder,
            VersionPolicy.from_proto(entry.model_version_policy),
            dict(entry.version_labels),
        )
    return list(models.values())
