"""Earrings at the lobes: studs, hoops, drops, long chains and chandeliers."""

from __future__ import annotations

from typing import Any

import numpy as np

from far_keras.synthetic.face.landmarks import point_on_head
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.worn.solids import Material, Solid, draw_solid, join, sphere, tube

__all__ = ["draw_earrings"]

Array = np.ndarray[Any, np.dtype[Any]]


def draw_earrings(scene: Scene) -> None:
    """Draws an earring on both lobes; region EARRING where hair and head leave it visible."""
    worn = scene.shot.accessories
    kind = worn.earrings
    if kind is None:
        return
    rng = scene.rng("earrings")
    metal = Material(np.array(worn.jewellery_color), gloss=0.9, sharpness=35, metal=0.9)
    pearl = Material(np.array([0.78, 0.74, 0.68]), gloss=0.6, sharpness=35)
    size, stone = worn.earring_size, rng.random() < 0.45
    material = pearl if kind == "stud" and rng.random() < 0.35 else metal
    thick = rng.uniform(0.7, 1.6)
    solids = []
    for side in (-1, 1):
        lobe = point_on_head(scene, "ear lobe", side)
        solids += _earring(kind, lobe + np.array([0.02 * side, 0.0, 0.02]), side, size, thick)
    draw_solid(scene, join(solids), material, Region.EARRING, bias=0.02)
    if kind != "hoop" and stone:
        gem = Material(rng.uniform(0.02, 0.9, 3) ** 2, gloss=1.2, sharpness=60)
        hanging = 0.0 if kind == "stud" else _length(kind, size)
        gems = [
            sphere(
                point_on_head(scene, "ear lobe", side) + np.array([0.035 * side, -hanging, 0.05]),
                0.026 + 0.025 * size,
            )
            for side in (-1, 1)
        ]
        draw_solid(scene, join(gems), gem, Region.EARRING, bias=0.03)


def _length(kind: str, size: float) -> float:
    """Decimetres that an earring hangs below the lobe."""
    return {"long": 0.28 + 0.32 * size, "chandelier": 0.14 + 0.14 * size}.get(
        kind, 0.11 + 0.17 * size
    )


def _earring(kind: str, at: Array, side: int, size: float, thick: float) -> list[Solid]:
    if kind == "stud":
        return [sphere(at, 0.026 + 0.03 * size)]
    if kind == "hoop":
        radius = 0.06 + 0.21 * size
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        # Hoops hang turned half towards the front.
        turned = np.array([0.75 * side, 0.0, 0.65])
        ring = np.stack([np.zeros(28), np.cos(angle) - 1, np.zeros(28)], 1)
        ring += np.sin(angle)[:, None] * turned
        return [tube(at + radius * ring, 0.013 * thick, closed=True, sides=6)]
    length = _length(kind, size)
    link = at + np.linspace(0, 1, 5)[:, None] * np.array([0.0, -length, 0.0])
    end = at - np.array([0, length, 0])
    solids = [sphere(at, 0.024), tube(link, 0.009 * thick, sides=5)]
    if kind == "long":
        return [*solids, sphere(end, 0.022 + 0.015 * thick, (0.7, 2.0, 0.7))]
    if kind == "chandelier":
        for spread in np.linspace(-1, 1, 5):
            tip = at + np.array([0.09 * spread * side, -length * (1 - 0.25 * spread**2), 0.05])
            solids += [
                tube(at + np.linspace(0, 1, 4)[:, None] * (tip - at), 0.007, sides=5),
                sphere(tip, 0.026),
            ]
        return solids
    return [*solids, sphere(end, 0.04 + 0.015 * size, (0.85, 1.35, 0.85))]
