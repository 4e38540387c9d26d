"""Clothes."""

from __future__ import annotations
import numpy as np
from far_keras.synthetic.regions import Region

__all__ = ["draw_clothing", "paint_clothing"]


def paint_clothing(scene, fragments, surface, regions) -> None:
    y = fragments.rest[:, 1]
    here = (y < 5.78) & (fragments.material == 0)
    surface.albedo[here] = scene.shot.accessories.clothing_color
    surface.scatter[here] = 0
    surface.gloss[here] = 0.01
    regions[here] = Region.CLOTHING


def draw_clothing(scene) -> None:
    pass
