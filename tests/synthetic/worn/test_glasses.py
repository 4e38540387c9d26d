from __future__ import annotations

import numpy as np
import pytest

from far_keras.faces.region_map import Region

KINDS = ("round", "oval", "rectangular", "square", "cat-eye", "aviator", "browline")
EYES = ((111, 69), (111, 108))  # row, column


@pytest.fixture
def bare(make_person, make_shot, regions_of):
    return regions_of(make_person(style="bun"), make_shot())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_clear_glasses_frame_the_eyes(kind, seed, bare, make_person, make_shot, regions_of):
    regions = regions_of(make_person(style="bun"), make_shot(seed=seed, glasses=kind))
    frames = regions == Region.GLASSES
    assert 150 < frames.sum() < 2500
    eyes = [(r == Region.EYE).sum() for r in (bare, regions)]
    assert eyes[1] > 0.7 * eyes[0]
    for row, column in EYES:
        # There is a rim above, below, and on both sides of each eye.
        assert frames[row - 22 : row, column - 4 : column + 5].any()
        assert frames[row : row + 22, column - 4 : column + 5].any()
        assert frames[row - 6 : row + 7, column - 30 : column].any()
        assert frames[row - 6 : row + 7, column : column + 30].any()


def test_sunglasses_hide_the_eyes(bare, make_person, make_shot, rendered):
    rendering = rendered(make_person(style="bun"), make_shot(glasses="square", lenses="dark"))
    assert (rendering.regions == Region.EYE).sum() < 0.05 * (bare == Region.EYE).sum()
    lenses = rendering.image[105:118, 62:76].mean()
    cheeks = rendering.image[135:145, 62:76].mean()
    assert lenses < 0.5 * cheeks


def test_temples_reach_the_ears_when_the_head_turns(make_person, make_shot, regions_of):
    regions = regions_of(make_person(style="bun"), make_shot(yaw=35.0, glasses="rectangular"))
    columns = np.nonzero(regions == Region.GLASSES)[1]
    ears = np.nonzero(regions == Region.EAR)[1]
    nearest = np.abs(columns[:, None] - ears[None]).min()
    assert nearest <= 2


def test_no_glasses_no_pixels(bare):
    assert not (bare == Region.GLASSES).any()
