"""Hands, microphones, masks, other heads: where they are, what they hide, that they are marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.faces.region_map import Region, true_masks
from far_keras.schema import CELEBA, MISSING, REGIONS
from far_keras.synthetic.labels import visible_labels
from far_keras.synthetic.parameters import Occluder


@pytest.mark.parametrize("kind", ["hand", "microphone", "head"])
def test_an_occluder_stands_on_its_side_and_is_lit(make_person, make_shot, kind, rendered):
    for side in (-1.0, 1.0):
        shot = replace(make_shot(), occluder=Occluder(kind, side, 0.4))
        rendering = rendered(make_person(), shot)
        occluded = rendering.regions == Region.OCCLUDER
        columns = np.nonzero(occluded)[1]
        assert len(columns) > 300
        assert (columns.mean() - 89) * side > 15
        assert rendering.image[occluded].std() > 5


def test_a_hand_before_the_mouth_takes_labels_and_masks_away(make_person, make_shot, rendered):
    person = make_person()
    free = rendered(person, make_shot())
    shot = replace(make_shot(), occluder=Occluder("hand", 1.0, 1.0))
    covered = rendered(person, shot)
    labels = visible_labels(person, shot, covered.regions)
    for name in ("Smiling", "Big_Lips", "No_Beard"):
        assert labels[CELEBA.index(name)] == MISSING
    assert labels[CELEBA.index("Narrow_Eyes")] != MISSING
    mouth = REGIONS.index("mouth")
    before, after = (true_masks(r.regions)[..., mouth].sum() for r in (free, covered))
    assert after < 0.6 * before


def test_a_mask_hides_what_is_under_it_and_nothing_else(make_person, make_shot, rendered):
    person = make_person()
    high, low = (
        replace(make_shot(), occluder=Occluder("mask", 1.0, height)) for height in (1.0, 0.0)
    )
    regions = rendered(person, high).regions
    labels = visible_labels(person, high, regions)
    for name in ("Smiling", "Mouth_Slightly_Open", "No_Beard", "Big_Nose", "Oval_Face"):
        assert labels[CELEBA.index(name)] == MISSING
    for name in ("Arched_Eyebrows", "Bushy_Eyebrows", "Eyeglasses", "Male", "Young"):
        assert labels[CELEBA.index(name)] != MISSING
    masks = true_masks(regions)
    assert masks[..., REGIONS.index("mouth")].sum() == 0
    assert masks[..., REGIONS.index("eyes")].sum() > 500
    nose = REGIONS.index("nose")
    below = rendered(person, low).regions
    assert true_masks(below)[..., nose].sum() > 3 * masks[..., nose].sum()
    assert true_masks(below)[..., REGIONS.index("mouth")].sum() == 0
