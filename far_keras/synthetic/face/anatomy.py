"""Which part of a face is where on the rest head: regions, and soft masks of its places.

All coordinates are the rest head's (see `mesh`), so they hold for every face, expression and pose.
"""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.head.mesh import Material
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.fragments import Fragments

__all__ = ["beard_zone", "head_regions", "is_neck", "is_nose", "spot"]

# The jaw's lower edge: height (y) by depth (z), from the nape to the chin's tip.
JAW_Z = (-0.3, 0.3, 0.45, 0.7, 1.0, 1.2)
JAW_Y = (6.75, 6.78, 6.7, 6.5, 6.3, 6.17)
# Half the nose's width by height, from its base to between the eyes.
NOSE_Y = (6.80, 6.83, 6.93, 7.02, 7.15, 7.36)
NOSE_X = (0.06, 0.17, 0.19, 0.15, 0.10, 0.075)
# The upper edge of a beard by depth, and its lower one on the neck.
BEARD_TOP_Z, BEARD_TOP_Y = (0.5, 0.62, 0.85, 1.1, 1.3), (7.12, 7.0, 6.78, 6.66, 6.66)
BEARD_LOW_Z, BEARD_LOW_Y = (0.4, 0.8, 1.2), (6.5, 6.22, 6.08)


def spot(
    rest: np.ndarray, x: float, y: float, width: float, height: float, *, mirrored: bool = True
) -> np.ndarray:
    """A soft round mask (F,) in [0, 1] at (x, y), on both sides of the face if `mirrored`.

    Args:
        rest: (F, 3) rest coordinates.
        x, y: centre.
        width, height: distances from the centre at which the mask has fallen to 1/e.
    """
    across = np.abs(rest[:, 0]) if mirrored else rest[:, 0]
    square = ((across - x) / width) ** 2 + ((rest[:, 1] - y) / height) ** 2
    return np.exp(-square) * (rest[:, 2] > 0.35)


def is_neck(rest: np.ndarray) -> np.ndarray:
    """(F,) bool: below the jaw's edge."""
    return rest[:, 1] < np.interp(rest[:, 2], JAW_Z, JAW_Y)


def is_nose(rest: np.ndarray) -> np.ndarray:
    """(F,) bool: on the nose, from its base to between the eyes."""
    y = rest[:, 1]
    inside = np.abs(rest[:, 0]) < np.interp(y, NOSE_Y, NOSE_X)
    return inside & (y > NOSE_Y[0]) & (y < NOSE_Y[-1]) & (rest[:, 2] > 1.2)


def beard_zone(rest: np.ndarray) -> np.ndarray:
    """Where a beard grows: (F,) float32 in [0, 1], soft at its edges."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    edge = 0.05
    cheek = np.clip((np.interp(z, BEARD_TOP_Z, BEARD_TOP_Y) - y) / edge, 0, 1)
    lip = np.clip((6.83 - 0.2 * x - y) / edge, 0, 1) * np.clip((0.36 - x) / 0.06, 0, 1) * (z > 1.1)
    below = np.clip((y - np.interp(z, BEARD_LOW_Z, BEARD_LOW_Y)) / 0.12, 0, 1)
    front = np.clip((z - 0.48) / 0.1, 0, 1)
    return (np.maximum(cheek, lip) * below * front).astype(np.float32)


def head_regions(fragments: Fragments) -> np.ndarray:
    """The `Region` id (F,) uint8 of each fragment of the bare head."""
    regions = np.full(len(fragments), Region.SKIN, np.uint8)
    regions[is_nose(fragments.rest)] = Region.NOSE
    regions[is_neck(fragments.rest)] = Region.NECK
    regions[fragments.mask("ears") > 0.4] = Region.EAR
    regions[fragments.mask("lips") > 0.4] = Region.LIPS
    inside = (fragments.mask("inside_mouth") > 0.5) | fragments.of(Material.TEETH, Material.TONGUE)
    regions[inside] = Region.MOUTH_INSIDE
    regions[fragments.of(Material.EYE)] = Region.EYE
    return regions
