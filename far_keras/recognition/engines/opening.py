"""Chooses the engine by what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from far_keras.errors import ModelError
from far_keras.recognition.engines.engine import Engine

if TYPE_CHECKING:
    from far_keras.models.storage import LoadedModel

    ModelSource = str | Path | LoadedModel | Engine

__all__ = ["open_engine"]


def open_engine(source: ModelSource) -> Engine:
    """An engine for whatever holds or runs a model.

    Args:
        source: The folder of a trained model, or a `LoadedModel`, or an engine, which is returned
            as it is.

    Raises:
        ModelError: There is nothing of that name, it is no model, or an incomplete one.
    """
    if isinstance(source, str | Path):
        return _open_path(Path(source))
    from far_keras.models.storage import LoadedModel

    if isinstance(source, LoadedModel):
        from far_keras.recognition.engines.keras_model import KerasEngine

        return KerasEngine(source)
    if callable(source) and hasattr(source, "description") and hasattr(source, "close"):
        return source
    raise ModelError(
        "model: expected the path of a model folder, or a LoadedModel. "
        f"Received: an object of type {type(source).__name__}"
    )


def _open_path(path: Path) -> Engine:
    from far_keras.models.storage import load_model
    from far_keras.recognition.engines.keras_model import KerasEngine

    return KerasEngine(load_model(path), path.resolve().name)
