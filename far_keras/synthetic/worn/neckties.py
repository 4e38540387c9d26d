"""Neckties: a knot between the collar's wings and a blade down the chest, plain or patterned."""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.worn.cloth import draw_cloth
from far_keras.synthetic.worn.drape import Drape

__all__ = ["draw_necktie"]

KNOT_TOP, KNOT_BOTTOM = 6.04, 5.85  # heights on the rest head
KNOT_HALF_WIDTHS = (0.105, 0.065)  # decimetres at its top and bottom
BLADE_HALF_WIDTHS = (0.06, 0.19)  # below the knot and at the frame's edge
BLADE_END = 5.0
PATTERNS = ("plain", "stripes", "dots", "checks")


def _pattern(
    kind: str, across: np.ndarray, down: np.ndarray, color: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Colours (R, C, 3) at distances across and down the silk, in decimetres."""
    if kind == "stripes":
        amount = (np.mod(across + 0.9 * down, 0.14) < 0.045).astype(float)
    elif kind == "dots":
        u, v = np.mod(across, 0.07) - 0.035, np.mod(down, 0.07) - 0.035
        amount = (np.hypot(u, v) < 0.016).astype(float)
    elif kind == "checks":
        amount = 0.5 * ((np.mod(across, 0.09) < 0.03) * 1.0 + (np.mod(down, 0.09) < 0.03))
    else:
        amount = np.zeros_like(across)
    return color + amount[..., None] * (second - color)


def draw_necktie(scene: Scene, drape: Drape) -> None:
    """Draws knot and blade as `Region.NECKTIE`."""
    rng = scene.rng("necktie")
    kind = str(rng.choice(PATTERNS))
    color = np.array(scene.shot.accessories.necktie_color)
    second = np.clip(color * rng.uniform(0.3, 0.6) if color.mean() > 0.3 else color + 0.35, 0, 1)
    s = np.linspace(-1, 1, 25)[None]

    t = np.linspace(0, 1, 50)[:, None]
    half = np.interp(t, (0, 1), BLADE_HALF_WIDTHS)
    y = KNOT_BOTTOM + 0.02 - t * (KNOT_BOTTOM - BLADE_END)
    # The dimple under the knot, and the rounded edges.
    dimple = 0.03 * np.exp(-((s / 0.3) ** 2)) * np.exp(-t / 0.12)
    lift = 0.085 + 0.02 * (1 - s**2) - dimple
    blade = drape.ahead(0 * s + 0 * t, y + 0 * s, lift)
    blade[..., 0] += half * s
    silk = _pattern(kind, half * s, (KNOT_BOTTOM - BLADE_END) * t + 0 * s, color, second)
    draw_cloth(scene, blade, silk, Region.NECKTIE, sheen=0.06, bias=0.04)

    t = np.linspace(0, 1, 14)[:, None]
    half = np.interp(t, (0, 1), KNOT_HALF_WIDTHS)
    y = KNOT_TOP - t * (KNOT_TOP - KNOT_BOTTOM)
    bulge = 0.10 + 0.06 * (1 - s**2) * np.sin(np.pi * (0.15 + 0.7 * t))
    knot = drape.ahead(0 * s + 0 * t, y + 0 * s, bulge)
    knot[..., 0] += half * s
    wrap = _pattern(kind, 0.5 * t + 0 * s, half * s + 0.25 * t, color, second)
    shade = 1 - 0.35 * np.clip(np.abs(s) - 0.8, 0, 1) / 0.2 * np.ones_like(t)
    draw_cloth(scene, knot, wrap * shade[..., None], Region.NECKTIE, sheen=0.06, bias=0.06)
