"""Cloth around the whole head that leaves the face free: hoods and headscarves."""

from __future__ import annotations

from typing import Any

import numpy as np

from far_keras.synthetic.head.form import HeadForm
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.worn.drape import drape_of
from far_keras.synthetic.worn.solids import Material, draw_solid, sheet

__all__ = ["COVERS", "HOOD_NORMAL", "draw_cover"]

Array = np.ndarray[Any, np.dtype[Any]]

COVERS = ("hood", "headscarf")
HOOD_NORMAL = np.array([0.0, 0.33, -0.944])  # of the plane behind which hair lies under the cloth
ROWS, COLUMNS = 22, 84
# The face's opening: angle from straight ahead (degrees) by direction around it, from straight
# up (0) to straight down (180), seen from the skull's middle.
AROUND = (0, 40, 75, 110, 140, 165, 180)
OPENING = {"hood": (41, 52, 76, 92, 88, 78, 75), "headscarf": (25, 36, 57, 63, 63, 63, 64)}
FARTHEST = 170.0


def draw_cover(
    scene: Scene, form: HeadForm, hood: bool, color: Array, rng: np.random.Generator
) -> Array:
    """Draws a hood, which stands off the head, or a headscarf; region HAT.

    Returns:
        (h, w) bool: where it shows.
    """
    turn = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)[None]  # 0 is up
    t = np.linspace(0, 1, ROWS)[:, None]
    kind = "hood" if hood else "headscarf"
    edge = np.interp(np.degrees(np.abs(turn)), AROUND, OPENING[kind])
    angle = np.radians(edge + (FARTHEST - edge) * t)
    directions = np.stack(
        [np.sin(angle) * np.sin(turn), np.sin(angle) * np.cos(turn), np.cos(angle) + 0 * turn], -1
    )
    seed = rng.uniform(0, 50)
    folds = sample_noise(
        noise_texture(1.7, 6),
        (0.35 * turn + 0 * t + seed).ravel().astype(np.float32),
        (0.12 * t + 0 * turn).ravel().astype(np.float32),
    ).reshape(ROWS, COLUMNS)
    below = np.clip(-np.cos(turn), 0, 1)
    off = 0.12 + 0.25 * np.clip(t * 3, 0, 1) if hood else 0.07 + 0.05 * np.clip(t * 6, 0, 1)
    radius = form.radius(directions)
    # Cloth bridges the hollow under the jaw, and falls wide over the neck.
    radius = np.maximum(radius, (0.62 + 0.65 * below) * np.clip(0.6 + t, 0, 1))
    radius = radius + off + 0.025 * folds + (0.35 if hood else 0.25) * below * t
    points = form.center + directions * radius[..., None]
    shade = 1 + 0.10 * folds - 0.35 * np.exp(-((t / 0.06) ** 2)) * (0.5 if hood else 1.0)
    cloth = np.clip(color * shade[..., None], 0, 1).reshape(-1, 3).astype(np.float32)
    shown = draw_solid(
        scene,
        sheet(points, closed=True),
        Material(cloth, 0.015, 8, wrap=0.25),
        Region.HAT,
        two_sided=True,
    )
    return shown if hood else shown | _wrap(scene, color, rng)


def _wrap(scene: Scene, color: Array, rng: np.random.Generator) -> Array:
    """The end of a headscarf, wound around the neck."""
    angle = np.linspace(-np.pi, np.pi, 96)[None]
    t = np.linspace(0, 1, 16)[:, None]  # from the chin down
    folds = np.sin(9 * t + 1.5 * np.sin(angle + rng.uniform(0, 6)) + rng.uniform(0, 6))
    off = 0.05 + 0.24 * t**0.7 + 0.03 * folds
    points = drape_of(scene.head).around(angle + 0 * t, 6.42 - 0.75 * t + 0.06 * np.cos(angle), off)
    cloth = np.broadcast_to(color * (0.85 + 0.12 * folds)[..., None], points.shape)
    material = Material(np.clip(cloth, 0, 1).reshape(-1, 3).astype(np.float32), 0.015, 8, wrap=0.25)
    return draw_solid(scene, sheet(points), material, Region.HAT, bias=0.02, two_sided=True)
