"""Position, pose and size of a head from its landmarks, to place what has no landmarks itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["HeadFrame"]

# Pairs of points whose connection runs straight across the head, and straight up a closed or
# open-mouthed face. Depth included, they give the head's axes whatever its pose.
_ACROSS = ((234, 454), (127, 356), (93, 323), (33, 263), (162, 389), (21, 251))
_UP = ((2, 10), (164, 151), (2, 9), (0, 8))


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """Coordinates fixed to a head.

    Their origin is midway between the ears, x runs to the image's right ear, y up and z out of
    the face; the unit is the face's width from ear to ear. Chin and top of the forehead have y of
    about -0.7 and 0.5, the crown of the head 0.9.

    Args:
        origin: float64 (3,) in pixels, depth included.
        axes: float64 (3, 3): unit vectors of x, y and z as rows, in the image's coordinates.
        scale: Pixels per unit.
    """

    origin: np.ndarray
    axes: np.ndarray
    scale: float

    @classmethod
    def from_landmarks(cls, landmarks: np.ndarray) -> HeadFrame:
        """Fits the frame to (478, 3) landmarks."""
        points = landmarks.astype(np.float64)
        across = np.mean([points[right] - points[left] for left, right in _ACROSS], axis=0)
        across /= np.linalg.norm(across)
        up = np.mean([points[top] - points[bottom] for bottom, top in _UP], axis=0)
        up -= across * (across @ up)
        up /= np.linalg.norm(up)
        out = np.cross(across, up)
        left_ear, right_ear = points[234], points[454]
        return cls(
            origin=(left_ear + right_ear) / 2,
            axes=np.stack([across, up, out]),
            scale=float(np.linalg.norm(right_ear - left_ear)),
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """Where points (n, 3) of the head are in the image: (n, 2), in pixels."""
        return self.origin[:2] + self.scale * np.asarray(points, float) @ self.axes[:, :2]
