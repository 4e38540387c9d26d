"""Hands, microphones and other heads: where they are, what they hide, and that they are marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.schema import CELEBA, MISSING, REGIONS
from far_keras.synthetic.labels import visible_labels
from far_keras.synthetic.parameters import Occluder
from far_keras.synthetic.regions import Region, true_masks
from far_keras.synthetic.renderer import render


@pytest.mark.parametrize("kind", ["hand", "microphone", "head"])
def test_an_occluder_stands_on_its_side_and_is_lit(make_person, make_shot, kind):
    for side in (-1.0, 1.0):
        shot = replace(make_shot(), occluder=Occluder(kind, side, 0.4))
        rendering = render(make_person(), shot)
        occluded = rendering.regions == Region.OCCLUDER
        columns = np.nonzero(occluded)[1]
        assert len(columns) > 300
        assert (columns.mean() - 89) * side > 15
        assert rendering.image[occluded].std() > 5


def test_a_hand_before_the_mouth_takes_labels_and_masks_away(make_person, make_shot):
    person = make_person()
    free = render(person, make_shot())
    shot = replace(make_shot(), occluder=Occluder("hand", 1.0, 1.0))
    covered = render(person, shot)
    labels = visible_labels(person, shot, covered.regions)
    for name in ("Smiling", "Big_Lips", "No_Beard"):
        assert labels[CELEBA.index(name)] == MISSING
    assert labels[CELEBA.index("Narrow_Eyes")] != MISSING
    mouth = REGIONS.index("mouth")
    before, after = (true_masks(r.regions)[..., mouth].sum() for r in (free, covered))
    assert after < 0.6 * before
