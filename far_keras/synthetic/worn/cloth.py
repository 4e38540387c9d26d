"""Draws a piece of cloth: a grid of points with colours, lit and shaded by the head above it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from far_keras.synthetic.head.normals import vertex_normals
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.scene import Scene

__all__ = ["draw_cloth"]


@lru_cache(maxsize=32)
def _grid_triangles(rows: int, columns: int) -> np.ndarray:
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b = number[:-1, :-1].ravel(), number[:-1, 1:].ravel()
    c, d = number[1:, :-1].ravel(), number[1:, 1:].ravel()
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)


def draw_cloth(
    scene: Scene,
    points: np.ndarray,
    colors: np.ndarray,
    region: Region,
    *,
    sheen: float = 0.0,
    bias: float = 0.02,
) -> None:
    """Draws a sheet of cloth.

    Args:
        points: (R, C, 3) in the head frame.
        colors: linear albedo, broadcast to (R, C, 3).
        region: what it is.
        sheen: strength of the highlight: silk 0.15, cotton 0.
        bias: decimetres by which it is drawn nearer, so that it does not sink into the body.
    """
    rows, columns = points.shape[:2]
    posed = scene.head.pose.apply(points.reshape(-1, 3).astype(np.float32))
    triangles = _grid_triangles(rows, columns)
    normals = vertex_normals(posed, triangles)
    normals *= np.where(normals[:, 2:] < 0, -1, 1)  # both sides of cloth face the viewer
    albedo = np.broadcast_to(colors, points.shape).reshape(-1, 3)
    lit = scene.shadows.lit_share(posed)
    light = scene.light.irradiance(normals, 0.1, lit)
    shine = sheen * scene.light.highlight(normals, 12) * lit[:, None]
    scene.framebuffer.draw_triangles(
        scene.camera.project(posed), triangles, albedo * light + shine, region, bias=bias
    )
