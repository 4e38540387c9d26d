"""A medical or cloth mask before mouth and nose."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.stage.soft_shadow import cast_shadow
from far_keras.synthetic.worn.solids import Material, Solid, draw_solid, join, sheet, tube

__all__ = ["draw_face_mask"]

Array = np.ndarray[Any, np.dtype[Any]]

ROWS, COLUMNS = 36, 73
AXIS_Z = 0.35  # depth of the upright axis that the mask is bent around
LAST_ANGLE = np.radians(72)  # of its side edges, from straight ahead
# Heights of its edges before the nose and at the sides: below the nose (0), high on it (1).
TOP = {"middle": (6.80, 7.16), "side": (6.72, 6.98)}
BOTTOM = {"middle": (6.08, 6.12), "side": (6.44, 6.52)}
EAR = np.array([0.80, 7.02, 0.22])
MEDICAL = ((0.33, 0.56, 0.66), (0.72, 0.76, 0.77), (0.42, 0.62, 0.52))
CLOTH = ((0.015, 0.015, 0.018), (0.03, 0.05, 0.15), (0.30, 0.03, 0.04), (0.16, 0.16, 0.17))


def draw_face_mask(scene: Scene, rng: np.random.Generator, height: float) -> None:
    """Draws the mask, region OCCLUDER.

    Args:
        scene: The image.
        rng: For colour and kind.
        height: 0 worn below the nose .. 1 high on its bridge.
    """
    medical = rng.random() < 0.6
    colors = MEDICAL if medical else CLOTH
    color = np.array(colors[int(rng.integers(len(colors)))]) * rng.uniform(0.85, 1.1)
    angle = np.linspace(-LAST_ANGLE, LAST_ANGLE, COLUMNS)[None]
    t = np.linspace(0, 1, ROWS)[:, None]  # from the upper edge down
    sideward = (1 - np.cos(angle)) / (1 - np.cos(LAST_ANGLE))
    top, bottom = (
        (1 - sideward) * np.interp(height, (0, 1), edge["middle"])
        + sideward * np.interp(height, (0, 1), edge["side"])
        for edge in (TOP, BOTTOM)
    )
    y = top + (bottom - top) * t
    radius = _reach(scene.head.vertices, angle[0], y)
    # It stands off at the middle, lies on the cheeks, and turns in below the chin.
    off = 0.035 + 0.05 * np.cos(angle) ** 2 * np.sin(np.pi * t) ** 0.5
    pleats = 0.5 + 0.5 * np.cos(2 * np.pi * 4 * t) if medical else np.zeros_like(t)
    inner = np.sin(np.pi * np.clip((t - 0.12) / 0.76, 0, 1))
    radius = radius + off + 0.018 * pleats * inner - 0.22 * np.clip((t - 0.86) / 0.14, 0, 1) ** 2
    points = np.stack([radius * np.sin(angle), y + 0 * angle, AXIS_Z + radius * np.cos(angle)], -1)
    shade = 1 - 0.16 * pleats * inner + 0.03 * rng.normal(size=radius.shape)
    hem = np.minimum(t, 1 - t) < 0.05
    shade = shade * np.where(hem, 0.9, 1.0)
    cloth = np.clip(color * shade[..., None], 0, 1).reshape(-1, 3).astype(np.float32)
    shown = draw_solid(
        scene,
        sheet(points),
        Material(cloth, 0.01, 8, wrap=0.3),
        Region.OCCLUDER,
        bias=0.03,
        two_sided=True,
    )
    loops = Material(np.clip(color * 1.1, 0, 0.85), 0.01, 8, wrap=0.3)
    shown = shown | draw_solid(scene, _loops(points), loops, Region.OCCLUDER, two_sided=True)
    cast_shadow(scene, shown, reach=0.06, strength=0.3)


def _reach(vertices: Array, angles: Array, heights: Array) -> Array:
    """Distance (R, C) from the axis to a cloth drawn over the face at angles (C,), heights."""
    x, y, z = vertices.T
    front = (y > 5.9) & (y < 7.4) & (z > AXIS_Z) & (np.abs(x) < 0.95)
    cells_y = ((y[front] - 5.9) / 0.05).astype(int)
    around = np.arctan2(x[front], z[front] - AXIS_Z)
    cells_x = np.clip(((around + np.pi / 2) / np.pi * 60).astype(int), 0, 59)
    table = np.zeros((31, 60))
    np.maximum.at(table, (cells_y, cells_x), np.hypot(x[front], z[front] - AXIS_Z))
    # Cloth bridges hollows; what is missing between vertices is filled from beside.
    table = gaussian_filter(maximum_filter(table, size=(5, 5)), 1.2, mode="nearest")
    row = np.clip(np.rint((heights - 5.9) / 0.05).astype(int), 0, 30)
    column = np.clip(np.rint((angles + np.pi / 2) / np.pi * 60).astype(int), 0, 59)
    return gaussian_filter(table[row, column[None]], 1.0, mode="nearest")


def _loops(points: Array) -> Solid:
    """Bands from the side edges behind the ears."""
    bands = []
    for side, column in ((-1.0, 0), (1.0, -1)):
        for row in (1, -3):
            course = np.linspace(0, 1, 8)[:, None] * (EAR * (side, 1, 1) - points[row, column])
            bands.append(tube(points[row, column] + course, np.full(8, 0.012), sides=6))
    return join(bands)
