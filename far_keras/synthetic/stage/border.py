"""The edge of the photograph, where the aligned image reaches beyond it."""

from __future__ import annotations

import math

import numpy as np

from far_keras.synthetic.parameters import Shot
from far_keras.synthetic.regions import Region

__all__ = ["add_border"]


def add_border(image: np.ndarray, regions: np.ndarray, shot: Shot) -> None:
    """Replaces what lies beyond the photograph's edges, in place.

    Alignments fill that with black, repeat the outermost pixels, or mirror the photograph. Its
    edges are turned by as much as the alignment has turned the head.

    Args:
        image: (H, W, 3) uint8.
        regions: (H, W) uint8 `Region` ids; what is beyond becomes `Region.OCCLUDER`.
        shot: its border, in pixels of an image 178 wide, and its roll.
    """
    border = shot.border
    if border is None:
        return
    height, width = regions.shape
    scale = width / 178
    turn = math.radians(shot.camera.roll)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    outside = np.zeros(regions.shape, bool)
    sides = ((border.left, -1, 0), (border.right, 1, 0), (border.top, 0, -1), (border.bottom, 0, 1))
    for depth, across, down in sides:
        if depth <= 0:
            continue
        # The unit vector out of the photograph, and how far each pixel lies along it.
        out_x = across * math.cos(turn) - down * math.sin(turn)
        out_y = across * math.sin(turn) + down * math.cos(turn)
        reach = (width if across else height) / 2 - depth * scale
        beyond = (x - (width - 1) / 2) * out_x + (y - (height - 1) / 2) * out_y - reach
        outside |= beyond > 0
        back = np.maximum(beyond, 0) * (2 if border.fill == "mirrored" else 1)
        x, y = x - back * out_x, y - back * out_y
    rows = np.clip(np.rint(y), 0, height - 1).astype(int)
    columns = np.clip(np.rint(x), 0, width - 1).astype(int)
    image[:] = image[rows, columns]
    if border.fill == "blank":
        image[outside] = 0
    regions[outside] = Region.OCCLUDER
