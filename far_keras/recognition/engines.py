"""Engines, which run a model on aligned faces: a folder, an export, a .tflite file, or a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from far_keras.calibration import sigmoid
from far_keras.errors import ModelError, RequestError
from far_keras.export.description import ModelDescription, describe
from far_keras.models.storage import (
    WEIGHTLESS,
    LoadedModel,
    compile_forward,
    load_model,
    require_recogniser,
)
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    from far_keras.export.exported_model import ExportedModel
    from far_keras.export.litert import TFLiteModel
    from far_keras.serving.client import FarClient

__all__ = [
    "Engine",
    "ExportedEngine",
    "KerasEngine",
    "ModelSource",
    "Predictions",
    "RemoteEngine",
    "needs_tensorflow",
    "open_engine",
]

_MODEL, _SAVED_MODEL, _TFLITE = "config.json", "saved_model.pb", ".tflite"
_SCHEME = "grpc://"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model returns for B faces.

    Args:
        probabilities: (B, A) float32 in [0, 1], calibrated, in the order of the description.
        masks: (B, h, w, G) float32 in [0, 1], or None for a model without masks.
    """

    probabilities: NDArray[np.float32]
    masks: NDArray[np.float32] | None


class Engine(Protocol):
    """Predicts attributes of aligned faces, wherever the model runs."""

    @property
    def description(self) -> ModelDescription:
        """The model's input and outputs."""

    def __call__(self, images: NDArray[np.uint8]) -> Predictions:
        """Predicts B faces.

        Args:
            images: (B, S, S, 3) uint8 RGB: aligned faces, resized to the side S of the
                description by `far_keras.images.resize_image`. B is 1 or more.
        """

    def close(self) -> None:
        """Frees what the engine itself opened."""


ModelSource: TypeAlias = "str | Path | LoadedModel | FarClient | Engine"
"""What `open_engine` opens."""


class KerasEngine:
    """Runs the network of a model folder with Keras.

    Args:
        model: From `far_keras.models.storage.load_model`.
        name: The model's name in the description.
    """

    def __init__(self, model: LoadedModel, name: str = "model") -> None:
        require_recogniser(model.model, "recognition")
        self.description = describe(model, name)
        self._model = model
        self._forward = compile_forward(model.model)

    def __call__(self, images: NDArray[np.uint8]) -> Predictions:
        outputs = self._forward(images)
        probabilities = self._model.probabilities(outputs["attributes"]).astype(np.float32)
        masks = outputs.get("masks")
        return Predictions(probabilities, None if masks is None else sigmoid(masks))

    def close(self) -> None:
        """Nothing to free."""


class ExportedEngine:
    """Runs an exported model in this process: a SavedModel, or a .tflite file one face at a time.

    Args:
        model: From `load_saved_model`, `load_tflite` or `load_weightless_tflite`.
    """

    def __init__(self, model: ExportedModel | TFLiteModel) -> None:
        self._model: Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]] = model
        self.description = model.description

    def __call__(self, images: NDArray[np.uint8]) -> Predictions:
        outputs = self._model(images)
        return Predictions(outputs["attributes"], outputs.get("masks"))

    def close(self) -> None:
        """Nothing to free."""


class RemoteEngine:
    """Calls a model server. Photographs stay here: it receives aligned faces of S x S pixels.

    When the server changes to another version of the model, so do the thresholds.

    Args:
        client: A connected client.
        owned: Whether closing the engine closes the client.

    Raises:
        ServingError: The server is not reached, or the model does not describe itself.
    """

    def __init__(self, client: FarClient, *, owned: bool = False) -> None:
        self._client = client
        self._owned = owned
        self.description: ModelDescription = client.description

    def __call__(self, images: NDArray[np.uint8]) -> Predictions:
        outputs = self._client.predict_aligned(images)
        latest = self._client.description  # of the version that replied; kept by the client
        if difference := self.description.schema.difference(latest.schema):
            raise ModelError(
                f"{self._client.target}: the server's model was replaced by one with another "
                f"schema: {difference}. Create a new Recognizer"
            )
        self.description = latest
        return Predictions(outputs["attributes"], outputs.get("masks"))

    def close(self) -> None:
        """Closes the client if the engine owns it."""
        if self._owned:
            self._client.close()


def open_engine(source: ModelSource, schema: AttributeSchema | None = None) -> Engine:
    """An engine for a model.

    Args:
        source: One of

            - the folder of a trained model, or the `LoadedModel` read from it; LiteRT runs a
              folder with a ``network.tflite`` (`far_keras.export.weightless_tflite`), one face at
              a time, and Keras the others;
            - the folder of an exported model (with versions, of which the highest is used, or
              one version), or a ``.tflite`` file;
            - a `FarClient`, which stays open when the engine is closed, or the address of a model
              on a server, ``"grpc://host:8500/model"``;
            - an engine, which is returned unchanged.

        schema: The required schema; None accepts any.

    Raises:
        ModelError: The model is missing, incomplete, not a model, or has another schema.
        ServingError: The server is not reached, or the model does not describe itself.
    """
    engine = _open(source)
    if schema is not None:
        where = source if isinstance(source, str | Path) else "model"
        try:
            schema.check_equal(engine.description.schema, str(where), ModelError)
        except BaseException:
            engine.close()
            raise
    return engine


def needs_tensorflow(source: str | Path) -> bool:
    """Whether the engine of a path imports TensorFlow, judged by the names of its files."""
    if isinstance(source, str) and source.startswith(_SCHEME):
        return False
    path = Path(source)
    return path.is_dir() and not (path / WEIGHTLESS).is_file()


def _open(source: ModelSource) -> Engine:
    if isinstance(source, str) and source.startswith(_SCHEME):
        return _connect(source)
    if isinstance(source, str | Path):
        return _open_path(Path(source))
    if hasattr(source, "predict_aligned"):
        return RemoteEngine(cast("FarClient", source))
    if isinstance(source, LoadedModel):
        return KerasEngine(source)
    if callable(source) and hasattr(source, "description") and hasattr(source, "close"):
        return source
    raise ModelError(
        "model: expected the path of a model, a LoadedModel or a FarClient. "
        f"Received: an object of type {type(source).__name__}"
    )


def _connect(address: str) -> RemoteEngine:
    from far_keras.serving.client import FarClient

    target, _, model = address.removeprefix(_SCHEME).partition("/")
    if not target or not model or "/" in model:
        raise RequestError(f"model: expected {_SCHEME}host:8500/model. Received: {address!r}")
    client = FarClient(target, model)
    try:
        return RemoteEngine(client, owned=True)
    except BaseException:
        client.close()
        raise


def _open_path(path: Path) -> Engine:
    if (path / _MODEL).exists():
        return _open_folder(path)
    if (path / _SAVED_MODEL).exists() or _has_versions(path):
        from far_keras.export.exported_model import load_saved_model

        return ExportedEngine(load_saved_model(path))
    if path.suffix.lower() == _TFLITE and path.exists():
        from far_keras.export.litert import load_tflite

        return ExportedEngine(load_tflite(path))
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())[:5]
        received = f"a folder with {', '.join(names)}" if names else "an empty folder"
    else:
        received = "another file" if path.exists() else "nothing of that name"
    raise ModelError(
        f"{path}: expected the folder of a trained model (with {_MODEL}), or of an exported one "
        f"(with {_SAVED_MODEL}, or versions of it), or a {_TFLITE} file. Received: {received}"
    )


def _open_folder(folder: Path) -> Engine:
    if (folder / WEIGHTLESS).is_file():
        from far_keras.export.weightless_tflite import load_weightless_tflite

        if (model := load_weightless_tflite(folder)) is not None:
            return ExportedEngine(model)
    return KerasEngine(load_model(folder), folder.resolve().name)


def _has_versions(path: Path) -> bool:
    return path.is_dir() and any(
        entry.name.isdigit() and (entry / _SAVED_MODEL).exists() for entry in path.iterdir()
    )
