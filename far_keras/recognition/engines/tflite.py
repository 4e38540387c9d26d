"""A .tflite file, run in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from far_keras.export.tflite_runner import load_tflite
from far_keras.recognition.engines.engine import Answers

__all__ = ["TFLiteEngine"]


class TFLiteEngine:
    """Answers with what `far_keras.export.tflite.export_tflite` wrote. It takes faces one by one.

    Args:
        path: The file.

    Raises:
        ModelError: See `load_tflite`.
    """

    def __init__(self, path: str | Path) -> None:
        self._model = load_tflite(path)
        self.description = self._model.description

    def __call__(self, images: NDArray[np.uint8]) -> Answers:
        outputs = self._model(images)
        return Answers(outputs["attributes"], outputs.get("masks"))

    def close(self) -> None:
        """Nothing to free."""
