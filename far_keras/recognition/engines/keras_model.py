"""A model folder, run by Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from far_keras.calibration import sigmoid
from far_keras.export.description import describe
from far_keras.models.storage import compile_forward, require_recogniser
from far_keras.recognition.engines.engine import Answers

if TYPE_CHECKING:
    from far_keras.models.storage import LoadedModel

__all__ = ["KerasEngine"]


class KerasEngine:
    """Answers with the network of a model folder.

    Args:
        model: What `far_keras.models.storage.load_model` returned.
        name: What the model is called in the description.
    """

    def __init__(self, model: LoadedModel, name: str = "model") -> None:
        require_recogniser(model.model, "recognition")
        self.description = describe(model, name)
        self._model = model
        self._forward = compile_forward(model.model)

    def __call__(self, images: NDArray[np.uint8]) -> Answers:
        outputs = self._forward(images)
        probabilities = self._model.probabilities(outputs["attributes"])
        masks = outputs.get("masks")
        return Answers(
            probabilities.astype(np.float32),
            None if masks is None else sigmoid(masks),
        )

    def close(self) -> None:
        """Nothing to free."""
