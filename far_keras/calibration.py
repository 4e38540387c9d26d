"""From logits to probabilities that mean what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from far_keras.errors import ModelError

__all__ = ["Calibration", "sigmoid"]


def sigmoid(logits: ArrayLike) -> NDArray[Any]:
    """``1 / (1 + exp(-logits))`` without overflow, in the dtype of the logits."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits)))


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of each attribute: ``probability = sigmoid(slope * logit + offset)``.

    J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999; that networks need it is
    shown in C. Guo et al., "On Calibration of Modern Neural Networks", 2017. Slopes are positive,
    so that the order of images, and with it the ROC AUC, stays as it is.

    Args:
        scaling: By attribute, slope and offset. An attribute that is left out has 1 and 0: its
            probability is the plain sigmoid of its logit.

    Raises:
        ModelError: A slope or offset is not finite, or a slope is not positive.
    """

    scaling: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (slope, offset) in self.scaling.items():
            if not (np.isfinite(slope) and np.isfinite(offset) and slope > 0):
                raise ModelError(
                    f"calibration of {name!r}: expected a positive slope and an offset, both "
                    f"finite. Received: {slope!r} and {offset!r}"
                )

    def slopes(self, attributes: Sequence[str]) -> NDArray[np.float32]:
        """(A,) slopes in the order of `attributes`."""
        return np.array([self.scaling.get(name, (1.0, 0.0))[0] for name in attributes], np.float32)

    def offsets(self, attributes: Sequence[str]) -> NDArray[np.float32]:
        """(A,) offsets in the order of `attributes`."""
        return np.array([self.scaling.get(name, (1.0, 0.0))[1] for name in attributes], np.float32)

    def probabilities(self, logits: ArrayLike, attributes: Sequence[str]) -> NDArray[np.float64]:
        """Calibrated probabilities.

        Args:
            logits: (..., A).
            attributes: The A names, in the order of the last axis.

        Returns:
            (..., A) float64 in [0, 1].
        """
        scaled = self.slopes(attributes) * np.asarray(logits, np.float64) + self.offsets(attributes)
        return sigmoid(scaled)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Plain data for JSON; `from_dict` reads it back."""
        return {name: {"slope": a, "offset": b} for name, (a, b) in self.scaling.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "calibration") -> Calibration:
        """Builds it from plain data, ``{attribute: {"slope": …, "offset": …}}``.

        Args:
            data: What `to_dict` gave.
            source: What to call the data in error messages.

        Raises:
            ModelError: The data are something else.
        """
        try:
            return cls(
                {name: (float(row["slope"]), float(row["offset"])) for name, row in data.items()}
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{source}: expected a slope and an offset for each attribute: {error!r}"
            ) from error
