"""The shadow that the head casts on itself and on what it wears, from the key light."""

from __future__ import annotations

import numba
import numpy as np

from far_keras.synthetic.head.mesh import HeadMesh, Material
from far_keras.synthetic.stage.rasterizer import rasterize

__all__ = ["ShadowMap"]

SIZE = 288  # texels
REACH = 1.7  # decimetres from the middle that the map covers
BIAS = 0.05  # decimetres; a surface does not shade itself
MIDDLE = (0.0, 7.1, 0.7)
HARD_EDGE, SOFT_EDGE = 1.0, 4.5  # texels between the taps that make a shadow's edge


@numba.njit(cache=True, fastmath=True)
def _project(points, frame, out):  # pragma: no cover
    """Posed points (N, 3) to texel x, y and depth along the light."""
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - MIDDLE[0], points[i, 1] - MIDDLE[1], points[i, 2] - MIDDLE[2]
        for k in range(3):
            out[i, k] = frame[k, 0] * x + frame[k, 1] * y + frame[k, 2] * z
        out[i, 0] = (out[i, 0] / REACH + 1) * (0.5 * SIZE)
        out[i, 1] = (out[i, 1] / REACH + 1) * (0.5 * SIZE)


@numba.njit(cache=True, fastmath=True)
def _lit_share(depth, seen, bias, spacing, out):  # pragma: no cover
    """Averages 5x5 taps of the map, `spacing` texels apart, so that a shadow's edge is soft."""
    size = depth.shape[0]
    for i in range(seen.shape[0]):
        lit = 0
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                x, y = int(seen[i, 0] + spacing * dx), int(seen[i, 1] + spacing * dy)
                inside = 0 <= x < size and 0 <= y < size
                if not inside or seen[i, 2] - bias < depth[y, x]:
                    lit += 1
        out[i] = lit / 25.0


class ShadowMap:
    """The head as the key light sees it."""

    def __init__(
        self, mesh: HeadMesh, posed: np.ndarray, direction: np.ndarray, softness: float
    ) -> None:
        """Prepares the map.

        Args:
            mesh: the head.
            posed: (N, 3) vertices before the camera.
            direction: unit vector to the light.
            softness: of the light, 0 .. 1: the edge of a shadow is 4 to 20 millimetres wide.
        """
        self._spacing = HARD_EDGE + (SOFT_EDGE - HARD_EDGE) * softness
        right = np.cross(np.array([0, 1, 0], np.float32), direction)
        right /= np.linalg.norm(right)
        up = np.cross(direction, right)
        self._frame = np.stack([right, -up, -direction]).astype(np.float32)
        solid = np.isin(mesh.material, (Material.SKIN, Material.EYE))
        self._depth = np.full((SIZE, SIZE), np.inf, np.float32)
        rasterize(
            self._seen(posed),
            mesh.triangles[solid],
            0,
            self._depth,
            np.empty(self._depth.shape, np.int32),
            np.empty((*self._depth.shape, 2), np.float32),
        )

    def _seen(self, points: np.ndarray) -> np.ndarray:
        seen = np.empty((len(points), 3), np.float32)
        _project(np.ascontiguousarray(points, np.float32), self._frame, seen)
        return seen

    def lit_share(self, points: np.ndarray) -> np.ndarray:
        """How much of the key light reaches posed points (..., 3): (...) float32 in [0, 1]."""
        flat = points.reshape(-1, 3)
        share = np.empty(len(flat), np.float32)
        _lit_share(self._depth, self._seen(flat), BIAS, self._spacing, share)
        return share.reshape(points.shape[:-1])
