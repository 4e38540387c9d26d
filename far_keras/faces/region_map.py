"""Region maps of rendered images: what each pixel shows, and the true masks of the groups."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from far_keras.geometry import convex_hull, fill_polygons
from far_keras.schema import REGIONS

__all__ = ["Region", "true_masks"]


class Region(IntEnum):
    """What a pixel of a rendered image shows: the values of `regions/*.png`."""

    BACKGROUND = 0
    SKIN = 1
    CLOTHING = 2
    LIPS = 3
    EYE = 4
    EAR = 5
    MOUTH_INSIDE = 6  # teeth, tongue
    HAIR = 7
    BROW = 8
    BEARD = 9
    GLASSES = 10
    EARRING = 11
    HAT = 12
    NECK = 13  # skin below the jaw
    NECKLACE = 14
    NECKTIE = 15
    NOSE = 16
    OCCLUDER = 17  # a thing before the person, or what lies beyond the photograph's edge


def true_masks(region_map: np.ndarray) -> np.ndarray:
    """What is visible of each of `REGIONS` in a rendered image.

    - mouth: lips and what is seen between them.
    - ear: ears and earrings.
    - lower_face: skin (not of the neck), beard and mouth below the nose.
    - cheeks: skin and beard from under the eyes (row 122 of 218) to the middle of the mouth,
      without the columns of the nose.
    - nose: the nose.
    - eyes: on each side the convex hull of eye and brow; of a side whose eye is hidden by
      glasses, of brow and glasses. So lids, lashes and the bags above them belong to it.
    - hair: head hair, and a hat, which stands in its place.
    - object: the whole head with all that is worn on it; no neck, no necklace, no clothing.

    What an occluder hides belongs to none of them.

    Args:
        region_map: uint8 (H, W) of `Region` ids, in CelebA's frame at any resolution: the eyes
            lie on the line 111 / 218 of the height, the middle column is between them.

    Returns:
        bool (H, W, 8) in the order of `REGIONS`. A region that is not visible is empty.
    """
    height = len(region_map)

    def visible(*regions: Region) -> np.ndarray:
        return np.isin(region_map, regions)

    rows = np.arange(height)[:, None]
    mouth = visible(Region.LIPS, Region.MOUTH_INSIDE)
    nose = visible(Region.NOSE)
    skin = visible(Region.SKIN, Region.BEARD)
    nose_rows, mouth_rows = (np.flatnonzero(part.any(1)) for part in (nose, mouth))
    lower_face = cheeks = np.zeros_like(mouth)
    if len(nose_rows):
        lower_face = (skin | mouth) & (rows > nose_rows[-1])
    if len(nose_rows) and len(mouth_rows):
        under_eyes = round(122 / 218 * height)
        band = (rows >= under_eyes) & (rows <= mouth_rows.mean())
        cheeks = skin & band & ~_between_sides(nose)
    head = visible(
        *(Region.SKIN, Region.LIPS, Region.EYE, Region.EAR, Region.MOUTH_INSIDE, Region.HAIR),
        *(Region.BROW, Region.BEARD, Region.GLASSES, Region.EARRING, Region.HAT, Region.NOSE),
    )
    masks = {
        "mouth": mouth,
        "ear": visible(Region.EAR, Region.EARRING),
        "lower_face": lower_face,
        "cheeks": cheeks,
        "nose": nose,
        "eyes": _eyes(region_map),
        "hair": visible(Region.HAIR, Region.HAT),
        "object": head,
    }
    return np.stack([masks[name] for name in REGIONS], -1)


def _between_sides(part: np.ndarray) -> np.ndarray:
    """The columns over which `part` extends, (1, W)."""
    columns = np.flatnonzero(part.any(0))
    between = np.zeros((1, part.shape[1]), bool)
    if len(columns):
        between[:, columns[0] : columns[-1] + 1] = True
    return between


def _eyes(region_map: np.ndarray) -> np.ndarray:
    height, width = region_map.shape
    hulls = []
    for left, right in ((0, width // 2), (width // 2, width)):
        side = region_map[:, left:right]
        shown = [Region.EYE, Region.BROW]
        if not (side == Region.EYE).any():
            shown.append(Region.GLASSES)
        y, x = np.nonzero(np.isin(side, shown))
        hulls.append(convex_hull(np.stack([x + left, y], -1)))
    return fill_polygons(hulls, (height, width))
