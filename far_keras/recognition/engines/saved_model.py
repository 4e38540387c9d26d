"""An exported SavedModel, run in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from far_keras.export.exported_model import load_saved_model
from far_keras.recognition.engines.engine import Answers

__all__ = ["SavedModelEngine"]


class SavedModelEngine:
    """Answers with what `far_keras.export.saved_model.export_saved_model` wrote.

    Args:
        folder: A model's versions, of which the highest is taken, or one version.

    Raises:
        ModelError: See `load_saved_model`.
    """

    def __init__(self, folder: str | Path) -> None:
        self._model = load_saved_model(folder)
        self.description = self._model.description

    def __call__(self, images: NDArray[np.uint8]) -> Answers:
        outputs = self._model(images)
        return Answers(outputs["attributes"], outputs.get("masks"))

    def close(self) -> None:
        """Nothing to free."""
