"""Chooses the engine by what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from far_keras.errors import ModelError
from far_keras.models.storage import WEIGHTLESS
from far_keras.recognition.engines.engine import Engine
from far_keras.recognition.engines.remote import SCHEME, RemoteEngine, connect
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    from far_keras.models.storage import LoadedModel
    from far_keras.serving.client import FarClient

    ModelSource = str | Path | LoadedModel | FarClient | Engine

__all__ = ["needs_tensorflow", "open_engine"]

_MODEL, _SAVED_MODEL, _TFLITE = "config.json", "saved_model.pb", ".tflite"


def open_engine(source: ModelSource, schema: AttributeSchema | None = None) -> Engine:
    """An engine for whatever holds or runs a model.

    Args:
        source: One of

            - the folder of a trained model, or the `LoadedModel` read from it; LiteRT runs a
              folder with a ``network.tflite`` (`far_keras.export.weightless_tflite`), one face at a
              time, and Keras the others;
            - the folder of an exported model (of its versions, of which the highest is taken, or
              of one of them), or a ``.tflite`` file;
            - a `FarClient`, which stays open when the engine is closed, or the address of a model
              on a server, ``"grpc://host:8500/model"``;
            - an engine, which is returned as it is.

        schema: The schema that is wanted; None takes whatever the model has.

    Raises:
        ModelError: There is nothing of that name, it is no model, an incomplete one, or one that
            answers another schema than the one wanted.
        ServingError: The server is not reached, or the model does not describe itself.
    """
    engine = _open(source)
    own = engine.description.schema
    if schema is not None and (difference := schema.difference(own)):
        engine.close()
        where = source if isinstance(source, str | Path) else "model"
        raise ModelError(
            f"{where}: the model answers the schema {own.name!r}, not {schema.name!r}: {difference}"
        )
    return engine


def needs_tensorflow(source: str | Path) -> bool:
    """Whether the engine of a path imports TensorFlow, as far as its files' names tell."""
    if isinstance(source, str) and source.startswith(SCHEME):
        return False
    path = Path(source)
    return path.is_dir() and not (path / WEIGHTLESS).is_file()


def _open(source: ModelSource) -> Engine:
    if isinstance(source, str) and source.startswith(SCHEME):
        return connect(source)
    if isinstance(source, str | Path):
        return _open_path(Path(source))
    if hasattr(source, "predict_aligned"):
        return RemoteEngine(cast("FarClient", source))
    from far_keras.models.storage import LoadedModel

    if isinstance(source, LoadedModel):
        from far_keras.recognition.engines.keras_model import KerasEngine

        return KerasEngine(source)
    if callable(source) and hasattr(source, "description") and hasattr(source, "close"):
        return source
    raise ModelError(
        "model: expected the path of a model, a LoadedModel or a FarClient. "
        f"Received: an object of type {type(source).__name__}"
    )


def _open_path(path: Path) -> Engine:
    if (path / _MODEL).exists():
        return _open_folder(path)
    if (path / _SAVED_MODEL).exists() or _has_versions(path):
        from far_keras.recognition.engines.saved_model import SavedModelEngine

        return SavedModelEngine(path)
    if path.suffix.lower() == _TFLITE and path.exists():
        from far_keras.export.litert import load_tflite
        from far_keras.recognition.engines.tflite import TFLiteEngine

        return TFLiteEngine(load_tflite(path))
    if path.is_dir():
        held = sorted(entry.name for entry in path.iterdir())[:5]
        received = f"a folder with {', '.join(held)}" if held else "an empty folder"
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
            from far_keras.recognition.engines.tflite import TFLiteEngine

            return TFLiteEngine(model)
    from far_keras.models.storage import load_model
    from far_keras.recognition.engines.keras_model import KerasEngine

    return KerasEngine(load_model(folder), folder.resolve().name)


def _has_versions(path: Path) -> bool:
    return path.is_dir() and any(
        entry.name.isdigit() and (entry / _SAVED_MODEL).exists() for entry in path.iterdir()
    )
