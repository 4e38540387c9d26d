"""Estimates from landmarks whether a face has a child's proportions.

No attributes are decided for children. The network does not separate them from adults in
photographs, their proportions do (docs/transfer.md). Compared are the 468 points of the skin
after position, size and rotation in space are removed (Procrustes analysis; Kabsch 1976,
https://doi.org/10.1107/S0567739476001873), independent of light and skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from far_keras.calibration import sigmoid
from far_keras.files import atomic_path

__all__ = ["CHILD_SHAPE", "SKIN", "ChildShape", "align_shapes"]

CHILD_SHAPE = Path(__file__).with_suffix(".npz")
"""The file that comes with the package."""

SKIN = 468
"""Number of landmarks used; the ones after them are of the irises, which gaze moves."""


@dataclass(frozen=True, eq=False)
class ChildShape:
    """A linear discriminant between the shapes of children's and adults' faces.

    Args:
        mean: float64 (468, 3), the reference of `align_shapes`.
        weights: float64 (468, 3), log odds of a child per unit of each coordinate.
        bias: Log odds of a child where the weighted sum is 0.
    """

    mean: np.ndarray
    weights: np.ndarray
    bias: float

    @classmethod
    @cache
    def load(cls, path: Path = CHILD_SHAPE) -> ChildShape:
        """Reads a file; by default the one that comes with the package."""
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
        """Log odds of a child (N,) for landmarks (N, 478, 3), see `FaceLandmarker.detect`."""
        return np.tensordot(align_shapes(landmarks, self.mean), self.weights, 2) + self.bias

    def __call__(self, landmarks: np.ndarray) -> float:
        """Probability, 0 to 1, that this face is a child's.

        It holds for rendered faces with 10% children; it is not calibrated on photographs.

        Args:
            landmarks: (478, 3) in pixels, depth included, see `FaceLandmarker.detect`.
        """
        return float(sigmoid(self.log_odds(landmarks[None])[0]))


def align_shapes(landmarks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Shapes of faces: centred, scaled to unit size, rotated in space onto `reference`.

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
