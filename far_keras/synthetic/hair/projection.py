"""Projection of very many points of hairs, as `Scene.project` does it for few."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from far_keras.synthetic.stage.camera import TURNING_POINT
from far_keras.synthetic.stage.scene import Scene

__all__ = ["project_hairs"]

Array = np.ndarray[Any, np.dtype[Any]]


def project_hairs(scene: Scene, points: Array) -> Array:
    """`scene.project` for hairs (N, K, 3), ten times as fast."""
    return _pose_and_project(
        points,
        scene.head.pose.rotations(np.linspace(0, 1, 17, dtype=np.float32)).astype(float),
        TURNING_POINT.astype(float),
        scene.camera.position.astype(float),
        scene.camera.similarity.astype(float),
    )


@njit(cache=True, fastmath=True)
def _pose_and_project(
    points: Array, rotations: Array, pivot: Array, camera: Array, similarity: Array
) -> Array:
    """What `Scene.project` does, for very many points (N, K, 3) of the head frame.

    Args:
        points: The hairs.
        rotations: (M, 3, 3) of points that follow the head by 0, 1 / (M - 1) .. 1.
        pivot: (3,) the point about which the head turns.
        camera: (3,) where the camera is.
        similarity: (2, 3) from the image plane to pixels.

    Returns:
        (N, K, 3) float32: x, y in supersampled pixels, depth.
    """
    count, steps, _ = points.shape
    last = rotations.shape[0] - 1
    out = np.empty((count, steps, 3), np.float32)
    r = np.empty((3, 3))
    for s in range(count):
        for k in range(steps):
            t = (points[s, k, 1] + 0.45 * points[s, k, 2] - 5.9) / 0.85
            t = min(1.0, max(0.0, t))
            share = t * t * (3.0 - 2.0 * t) * last
            at = min(int(share), last - 1)
            share -= at
            x = points[s, k, 0] - pivot[0]
            y = points[s, k, 1] - pivot[1]
            z = points[s, k, 2] - pivot[2]
            for i in range(3):
                for j in range(3):
                    r[i, j] = rotations[at, i, j] * (1 - share) + rotations[at + 1, i, j] * share
            px = r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + pivot[0] - camera[0]
            py = r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + pivot[1] - camera[1]
            depth = camera[2] - (r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + pivot[2])
            px /= depth
            py /= depth
            out[s, k, 0] = similarity[0, 0] * px + similarity[0, 1] * py + similarity[0, 2]
            out[s, k, 1] = similarity[1, 0] * px + similarity[1, 1] * py + similarity[1, 2]
            out[s, k, 2] = depth
    return out
