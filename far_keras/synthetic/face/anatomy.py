"""Where the parts of a face are: regions, soft masks, growth of scalp hair, named points.

All coordinates are the rest head's (see `mesh`), so they hold for every face, expression and pose.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.head.mesh import MeshMaterial, load_head
from far_keras.synthetic.parameters import Hair
from far_keras.synthetic.stage.scene import Fragments, Scene

__all__ = ["beard_zone", "head_regions", "is_neck", "point_on_head", "scalp_density", "spot"]

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

    `width` and `height` are the distances from the centre at which it has fallen to 1/e.
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
    inside = (fragments.mask("inside_mouth") > 0.5) | fragments.of(
        MeshMaterial.TEETH, MeshMaterial.TONGUE
    )
    regions[inside] = Region.MOUTH_INSIDE
    regions[fragments.of(MeshMaterial.EYE)] = Region.EYE
    return regions


# On the rest head's skin; x is mirrored for the image's left side.
PLACES = {
    "nose bridge": (0.0, 7.27, 1.51),
    "ear root": (0.76, 7.31, 0.62),
    "ear lobe": (0.735, 6.86, 0.58),
}


@lru_cache(maxsize=16)
def _vertex(place: str, side: int) -> int:
    mesh = load_head()
    skin = mesh.vertices_of(MeshMaterial.SKIN)
    x, y, z = PLACES[place]
    target = np.array([x * side, y, z])
    return int(skin[np.argmin(np.linalg.norm(mesh.vertices[skin] - target, axis=1))])


def point_on_head(scene: Scene, place: str, side: int = 1) -> np.ndarray:
    """(3,) a point of `PLACES` on a person's own head, in its frame; `side` -1: image left."""
    return scene.head.vertices[_vertex(place, side)].astype(float)


# Azimuth about the vertical axis x = 0, z = 0.5 in degrees (0 ahead, 90 over the ear), and the
# height at which hair ends there: forehead, temple, whiskers before the ear, ear, nape.
_AZIMUTH = (0, 12, 22, 34, 45, 54, 60, 64, 67, 75, 78, 98, 102, 115, 180)
_LOWER_EDGE = (8.0, 8.0, 8.02, 8.02, 7.92, 7.74, 7.52, 7.32, 7.14, 7.1, 7.38, 7.38, 6.98, 6.76,
               6.66)  # fmt: skip
# How far a fully receded hairline is above it: the temples first, a tuft stays in the middle.
_RECESSION = (0.14, 0.2, 0.34, 0.42, 0.42, 0.26, 0.1, 0.03, 0, 0, 0, 0, 0, 0, 0)


def scalp_density(points: np.ndarray, hair: Hair, male: bool) -> np.ndarray:
    """How densely hair grows at points (..., 3) of the rest head's skin: float64 in [0, 1].

    The edge is about a centimetre wide. `Hair.receding` moves it up at the temples and thins the
    crown beyond 0.6, `hairline` moves all of it, `thinning` bares the top. Men's temples are more
    angular, women's hairline is lower and round.
    """
    if hair.style == "bald":
        return np.zeros(points.shape[:-1])
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    azimuth = np.degrees(np.arctan2(x, z - 0.5))
    edge = np.interp(azimuth, _AZIMUTH, _LOWER_EDGE)
    edge += 0.11 * hair.hairline * np.interp(azimuth, (0, 35, 60), (1.0, 0.8, 0.0))
    edge += hair.receding * np.interp(azimuth, _AZIMUTH, _RECESSION)
    corner = np.exp(-(((azimuth - 36) / 9) ** 2))
    edge += corner * (0.05 if male else -0.05) - (0.05 if male else 0.09)
    if not male:  # no whiskers before the ears
        edge += 0.3 * np.exp(-(((azimuth - 71) / 7) ** 2))
    # An irregular edge: a few waves along the hairline that no comb would draw.
    signed = np.degrees(np.arctan2(points[..., 0], z - 0.5))
    edge += 0.014 * np.sin(signed * 0.31 + 1.0) + 0.01 * np.sin(signed * 0.83)
    softness = np.interp(azimuth, (0, 40, 60, 75, 100, 180), (0.12, 0.14, 0.2, 0.12, 0.1, 0.16))
    t = np.clip((y - edge) / softness, 0, 1)
    density = t * t * (3 - 2 * t)
    crown = np.clip((hair.receding - 0.6) / 0.4, 0, 1) * np.clip((y - 7.95) / 0.2, 0, 1)
    top = np.clip((y - 7.85) / 0.3, 0, 1)
    return density * (1 - crown) * (1 - 0.8 * hair.thinning * top)
