"""What every engine takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from far_keras.export.description import ModelDescription

__all__ = ["Answers", "Engine"]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of B faces.

    Args:
        probabilities: (B, A) float32 in [0, 1], calibrated, in the order of the description.
        masks: (B, h, w, G) float32 in [0, 1], or None for a model without masks.
    """

    probabilities: NDArray[np.float32]
    masks: NDArray[np.float32] | None


class Engine(Protocol):
    """Answers aligned faces, wherever the model runs."""

    @property
    def description(self) -> ModelDescription:
        """What the model must be fed and what it answers."""

    def __call__(self, images: NDArray[np.uint8]) -> Answers:
        """Answers B faces.

        Args:
            images: (B, S, S, 3) uint8 RGB: aligned faces, resized to the side S of the
                description as it says. B is 1 or more.
        """

    def close(self) -> None:
        """Frees what the engine itself opened."""
