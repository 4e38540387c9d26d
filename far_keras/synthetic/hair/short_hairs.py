"""Short hairs on the face: brows, beards and sideburns, which follow the skin closely."""

from __future__ import annotations

from typing import Any

import numpy as np

from far_keras.synthetic.hair.shading import strand_colors
from far_keras.synthetic.head.mesh import SurfaceSamples
from far_keras.synthetic.parameters import RGB
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.scene import Scene

__all__ = ["draw_short_hairs"]

Array = np.ndarray[Any, np.dtype[Any]]

WHITE = np.array([0.55, 0.54, 0.52], np.float32)


def draw_short_hairs(
    scene: Scene,
    roots: SurfaceSamples,
    directions: Array,
    lengths: Array,
    color: RGB,
    region: Region,
    rng: np.random.Generator,
    *,
    width: float,
    alpha: float | Array,
    rise: float | Array = 0.15,
    gravity: float = 0.0,
    steps: int = 4,
    grey: float = 0.0,
) -> None:
    """Draws hairs that lie along the skin.

    Args:
        scene: Where to draw.
        roots: (N) samples of the skin.
        directions: (N, 3) where the hairs point, in the head frame; made tangential to the skin.
        lengths: (N,) decimetres.
        color: Linear RGB of the hair.
        region: What to write into the region map.
        rng: Variation of colour and width.
        width: Decimetres at the root.
        alpha: Opacity of one hair, a number or (N,).
        rise: How steeply the hairs leave the skin, 0 flat .. 1 at 45 degrees; a number or (N,).
        gravity: How far the tips sink, per length.
        steps: Points a hair.
        grey: Share of hairs that are white.
    """
    if len(roots) == 0:
        return
    start = scene.head.surface(roots)
    normals = scene.head.surface_normals(roots)
    along = directions - normals * np.sum(directions * normals, axis=1, keepdims=True)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    steep = np.broadcast_to(np.asarray(rise, float), lengths.shape)[:, None]
    course = along + steep * normals
    course /= np.linalg.norm(course, axis=1, keepdims=True)
    t = np.linspace(0, 1, steps)[None, :, None]
    reach = lengths[:, None, None]
    points = start[:, None] + reach * t * course[:, None] + 0.003 * normals[:, None]
    points = points + reach * gravity * t**2 * np.array([0.0, -1.0, 0.0])
    # Rising hairs bend back towards the skin.
    points = points - reach * 0.5 * t**2 * (steep * normals)[:, None]
    owner = rng.integers(0, max(8, len(roots) // 12), len(roots))
    albedo = strand_colors(np.array(color), owner, rng).astype(np.float32)
    if grey:
        albedo[rng.random(len(roots)) < grey] = WHITE
    facing = scene.to_camera(normals, start)
    lit = albedo * scene.light.irradiance(facing, 0.35)
    shine = 0.02 * scene.light.highlight(facing, 6.0)
    shade = (0.65 + 0.35 * t).astype(np.float32)
    colors = (lit + shine)[:, None] * shade
    thickness = width * scene.pixels_per_unit * rng.uniform(0.75, 1.2, (len(roots), 1))
    scene.framebuffer.draw_strands(
        scene.project(points),
        colors,
        thickness * np.linspace(1, 0.5, steps),
        region,
        alpha=np.broadcast_to(alpha, lengths.shape)[:, None],
        bias=0.02,
    )
