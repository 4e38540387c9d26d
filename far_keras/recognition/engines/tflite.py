"""A model that LiteRT runs in this process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from far_keras.export.litert import TFLiteModel
from far_keras.recognition.engines.engine import Answers

__all__ = ["TFLiteEngine"]


class TFLiteEngine:
    """Answers with a .tflite file, one face after another.

    Args:
        model: What `far_keras.export.litert.load_tflite` or
            `far_keras.export.weightless_tflite.load_weightless_tflite` returned.
    """

    def __init__(self, model: TFLiteModel) -> None:
        self._model = model
        self.description = model.description

    def __call__(self, images: NDArray[np.uint8]) -> Answers:
        outputs = self._model(images)
        return Answers(outputs["attributes"], outputs.get("masks"))

    def close(self) -> None:
        """Nothing to free."""
