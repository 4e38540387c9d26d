"""Collars that stand off the body: ribs, turtlenecks, shirt collars with wings, lapels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.worn.cloth import draw_cloth
from far_keras.synthetic.worn.drape import Drape

__all__ = ["draw_collar", "draw_hood_roll", "draw_lapels", "draw_rib", "draw_turtleneck"]


def _heights(angle: np.ndarray, front: float, side: float, back: float) -> np.ndarray:
    """Heights by direction around the neck (radians, 0 in front), smooth in between."""
    t = np.abs(angle) / np.pi
    return np.interp(t, (0, 0.5, 1), (front, side, back))


def draw_rib(
    scene: Scene, drape: Drape, color: np.ndarray, shape: Literal["crew", "vneck"]
) -> None:
    """The thicker edge of a T-shirt or sweater."""
    t = np.linspace(0, 1, 5)[:, None]
    bulge = 0.035 * np.sin(np.pi * np.clip(t, 0.05, 0.95))
    tint = color * (0.82 + 0.1 * t[..., None])
    if shape == "crew":
        angle = np.linspace(-np.pi, np.pi, 96)[None]
        edge = _heights(angle, 5.80, 5.95, 6.08)
        points = drape.around(angle + 0 * t, edge + 0.015 - 0.075 * t, bulge + 0 * angle)
        draw_cloth(scene, points, tint, Region.CLOTHING)
        return
    down = np.linspace(0, 1, 24)[None]
    for side in (-1, 1):
        x = side * (0.26 * (1 - down) + 0.045 * t)
        y = 5.48 + 1.5 * 0.26 * (1 - down) - 0.03 * t
        draw_cloth(scene, drape.ahead(x, y, bulge + 0 * down), tint, Region.CLOTHING)


def draw_turtleneck(scene: Scene, drape: Drape, color: np.ndarray) -> None:
    """A rolled collar around the neck, knitted in vertical ribs."""
    angle = np.linspace(-np.pi, np.pi, 160)[None]
    t = np.linspace(0, 1, 14)[:, None]  # from the top edge down
    top = _heights(angle, 6.06, 6.18, 6.30)
    roll = 0.035 + 0.06 * np.sin(np.pi * np.clip(t * 1.15, 0, 1)) ** 0.8
    ribs = 0.5 + 0.5 * np.cos(angle * 44)
    points = drape.around(angle + 0 * t, top - 0.30 * t, roll + 0.008 * ribs)
    shades = color * (0.86 + 0.16 * ribs)[..., None] * np.ones_like(t)[..., None]
    draw_cloth(scene, points, shades, Region.CLOTHING)


def draw_hood_roll(scene: Scene, drape: Drape, color: np.ndarray) -> None:
    """The hood of a sweater that lies around the neck, and its two strings."""
    gap = 0.16
    angle = np.linspace(gap, 2 * np.pi - gap, 90)[None]
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    turn = np.abs(angle) / np.pi
    t = np.linspace(0, 1, 12)[:, None]
    thick = np.interp(turn, (0, 0.3, 1), (0.07, 0.15, 0.30))
    top = np.interp(turn, (0, 0.3, 1), (5.86, 6.08, 6.32)) + 0 * t
    roll = 0.03 + thick * np.sin(np.pi * np.clip(t * 1.1, 0, 1))
    points = drape.around(angle + 0 * t, top - (0.2 + thick) * t, roll)
    shades = color * (0.75 + 0.3 * np.sin(np.pi * t))[..., None] * np.ones((1, 90, 1))
    draw_cloth(scene, points, shades, Region.CLOTHING, bias=0.03)
    down = np.linspace(0, 1, 16)[:, None]
    across = np.array([[-0.02, 0.0, 0.02]])
    for side in (-1, 1):
        string = drape.ahead(side * (0.16 + 0.02 * down) + across, 5.84 - 0.6 * down, 0.09)
        draw_cloth(scene, string, np.array([0.75, 0.75, 0.73]), Region.CLOTHING, bias=0.05)


def draw_collar(
    scene: Scene, drape: Drape, color: np.ndarray, *, open_collar: bool, under_jacket: bool
) -> None:
    """A shirt's collar: a band around the neck and a flap that folds down to two wings.

    Args:
        scene, drape: the person.
        color: of the shirt.
        open_collar: the top button is open, and the wings lie apart.
        under_jacket: lapels press the wings flat.
    """
    gap = 0.34 if open_collar else 0.06  # radians from the middle to the collar's front edge
    angle = np.linspace(gap, 2 * np.pi - gap, 100)[None]
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    turn = np.abs(angle) / np.pi  # 0 in front, 1 at the back
    opened = 0.10 if open_collar else 0.0
    top = np.interp(turn, (0, 0.2, 0.5, 1), (6.04 - 1.6 * opened, 6.08 - 0.6 * opened, 6.17, 6.32))
    t = np.linspace(0, 1, 6)[:, None]
    band = drape.around(angle + 0 * t, top - 0.16 * t, 0.035 + 0 * angle * t)
    draw_cloth(scene, band, color * 0.72, Region.CLOTHING)
    # The flap is longest at the wings' tips, a little beside the front edge.
    tip = np.interp(turn, (0, 0.10, 0.16, 0.3, 0.5, 1), (0.24, 0.38, 0.33, 0.21, 0.2, 0.2))
    lean = (0.03 + 0.015 * t if under_jacket else 0.045 + 0.06 * t) + 0 * angle
    swing = np.sign(angle) * np.interp(turn, (0, 0.25, 0.5), (0.35, 0.1, 0.0)) * t
    flap = drape.around(angle + swing, top + 0.01 - tip * t, lean)
    edge = 1 - 0.25 * np.clip(1 - np.abs(t - 0.93) / 0.07, 0, 1)  # the seam
    draw_cloth(scene, flap, color * edge[..., None] * np.ones((1, 100, 1)), Region.CLOTHING)


def draw_lapels(scene: Scene, drape: Drape, color: np.ndarray) -> None:
    """A jacket's collar at the neck and its lapels down to the frame's edge."""
    t = np.linspace(0, 1, 40)[:, None]  # down the opening
    s = np.linspace(0, 1, 12)[None]  # from the opening outward
    for side in (-1, 1):
        inner = np.interp(t, (0, 1), (0.34, 0.02))
        y = np.interp(t, (0, 1), (6.02, 5.20))
        # The notch between collar and lapel.
        width = np.interp(t, (0, 0.22, 0.30, 0.36, 0.44, 1), (0.12, 0.17, 0.19, 0.10, 0.25, 0.16))
        x = side * (inner + width * s)
        lift = 0.14 + 0.03 * np.sin(np.pi * s) + 0 * t
        points = drape.ahead(x, y - 0.10 * s * np.clip(1 - 2 * t, 0, 1), lift)
        edge = np.clip(1 - (1 - s) / 0.16, 0, 1) + 0 * t  # the shadow under the lapel's edge
        tint = color * (1.25 - 0.85 * edge)[..., None]
        draw_cloth(scene, points, tint, Region.CLOTHING, bias=0.03)
    angle = np.linspace(0.42 * np.pi, 1.58 * np.pi, 50)[None]
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    t = np.linspace(0, 1, 6)[:, None]
    top = _heights(angle, 5.95, 6.05, 6.20)
    collar = drape.around(angle + 0 * t, top - 0.18 * t, 0.13 + 0.06 * t + 0 * angle)
    draw_cloth(scene, collar, color * 1.05, Region.CLOTHING, bias=0.03)
