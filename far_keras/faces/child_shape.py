"""Whether a face has a child's proportions, from its landmarks alone.

Children are not to be answered like adults. The network does not tell them apart in photographs,
their proportions do (docs/transfer.md). What is compared is the shape that is left of the 468
points of the skin once position, size and rotation in space are taken out (Procrustes analysis;
Kabsch 1976, https://doi.org/10.1107/S0567739476001873), so that neither light, skin nor image
count. `far_keras.pretraining.child_shape` fits it on rendered faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from far_keras.files import atomic_path

__all__ = ["CHILD_SHAPE", "SKIN", "ChildShape", "align_shapes"]

CHILD_SHAPE = Path(__file__).with_suffix(".npz")
"""The one that comes with the package."""

SKIN = 468
"""Landmarks that count; those after them are of the irises, which gaze moves."""


@dataclass(frozen=True, eq=False)
class ChildShape:
    """A linear discriminant between the shapes of children's and adults' faces.

    Args:
        mean: float64 (468, 3), what shapes are turned to, see `align_shapes`.
        weights: float64 (468, 3), by how much each coordinate speaks for a child.
        bias: Log odds of a child where the weighted sum is 0.
    """

    mean: np.ndarray
    weights: np.ndarray
    bias: float

    @classmethod
    @cache
    def load(cls, path: Path = CHILD_SHAPE) -> ChildShape:
        """The one that comes with the package, or another."""
        with np.load(path) as file:
            return cls(
                file["mean"].astype(np.float64),
                file["weights"].astype(np.float64),
                float(file["bias"]),
            )

    def save(self, path: str | Path) -> None:
        """Writes it, in single precision."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                mean=self.mean.astype(np.float32),
                weights=self.weights.astype(np.float32),
                bias=np.float32(self.bias),
            )

    def log_odds(self, landmarks: np.ndarray) -> np.ndarray:
        """Of children, (N,), for (N, 478, 3) landmarks, see `FaceLandmarker.detect`."""
        return np.tensordot(align_shapes(landmarks, self.mean), self.weights, 2) + self.bias

    def __call__(self, landmarks: np.ndarray) -> float:
        """Probability, 0 to 1, that this face is a child's.

        That of rendered faces a tenth of which are children's: it is not calibrated on photographs.

        Args:
            landmarks: (478, 3) in pixels, depth included, see `FaceLandmarker.detect`.
        """
        return float(1 / (1 + np.exp(-self.log_odds(landmarks[None])[0])))


def align_shapes(landmarks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The shapes of faces: centred, of unit size, turned in space to lie on `reference`.

    Args:
        landmarks: (N, 478, 3).
        reference: (468, 3), centred.

    Returns:
        float64 (N, 468, 3).
    """
    points = np.asarray(landmarks, np.float64)[:, :SKIN]
    points = points - points.mean(axis=1, keepdims=True)
    points = points / np.linalg.norm(points, axis=(1, 2), keepdims=True)
    left, _, right = np.linalg.svd(points.swapaxes(1, 2) @ reference)
    left[..., -1] *= np.sign(np.linalg.det(left @ right))[:, None]  # a rotation, no reflection
    return points @ (left @ right)
