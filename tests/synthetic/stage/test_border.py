"""Where the photograph ends within the aligned image."""

from __future__ import annotations

import numpy as np
import pytest

from far_keras.synthetic.parameters import Border, Camera, Shot
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.border import add_border


def bordered(border, roll=0.0):
    rows, columns = np.mgrid[:218, :178]
    image = np.stack([rows, columns, 0 * rows + 7], -1).astype(np.uint8)
    regions = np.full((218, 178), Region.SKIN, np.uint8)
    add_border(image, regions, Shot(seed=0, border=border, camera=Camera(roll=roll)))
    return image, regions


def test_nothing_changes_without_a_border():
    image, regions = bordered(None)
    assert (image[100, 50] == (100, 50, 7)).all() and (regions == Region.SKIN).all()


@pytest.mark.parametrize(
    ("fill", "row", "shown"), [("repeated", 5, 30), ("mirrored", 5, 54), ("blank", 5, 0)]
)
def test_what_lies_beyond_the_upper_edge(fill, row, shown):
    image, regions = bordered(Border(fill, top=30))
    assert abs(int(image[row, 60, 0]) - shown) <= 1
    assert (regions[:30] == Region.OCCLUDER).all() and (regions[31:] == Region.SKIN).all()
    assert (image[40, 60] == (40, 60, 7)).all()


def test_the_edge_is_turned_as_the_head_was():
    _, level = bordered(Border("blank", left=40))
    _, turned = bordered(Border("blank", left=40), roll=15)
    assert np.ptp((level == Region.OCCLUDER).sum(1)) == 0
    assert np.ptp((turned == Region.OCCLUDER).sum(1)) > 30
