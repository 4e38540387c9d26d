"""Skin: melanin darkens, blood reddens, age wrinkles, make-up shows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.head.wrinkles import detail_map
from far_keras.synthetic.parameters import Beard, Expression, Makeup, Skin
from far_keras.synthetic.people.appearance import skin_tone

FOREHEAD = (slice(70, 82), slice(75, 103))
CHEEK = (slice(136, 144), slice(56, 66))


@pytest.fixture
def bald(make_person):
    return make_person(style="bald", brow_thickness=0.0)


def _mean(image, place):
    return image[place].reshape(-1, 3).mean(0).astype(float)


def test_tone_darkens_steadily_with_melanin():
    tones = np.array([skin_tone(melanin) for melanin in np.linspace(0, 1, 21)])
    assert (np.diff(tones.sum(1)) < 0).all()
    assert (tones[:, 0] > tones[:, 1]).all() and (tones[:, 1] > tones[:, 2]).all()


def test_rendered_skin_darkens_with_melanin(bald, make_shot, rendered):
    brightness = [
        _mean(rendered(replace(bald, melanin=melanin), make_shot()).image, FOREHEAD).mean()
        for melanin in (0.0, 0.3, 0.6, 0.9)
    ]
    assert all(a > b + 10 for a, b in pairwise(brightness))


def test_ruddy_skin_is_redder(bald, make_shot, rendered):
    pale, ruddy = (
        _mean(rendered(replace(bald, skin_redness=r), make_shot()).image, CHEEK) for r in (0, 1)
    )
    assert ruddy[0] / ruddy[1] > pale[0] / pale[1] * 1.03


def test_grooves_deepen_with_age_and_smile(bald):
    def depth(age, smile=0.0):
        return -detail_map(replace(bald, age=age), Expression(smile=smile)).height.min()

    assert depth(20) < depth(45) < depth(75)
    assert depth(30, smile=1.0) > depth(30)


def test_old_skin_has_more_detail_than_young(bald, make_shot, rendered):
    def roughness(age):
        image = rendered(replace(bald, age=age), make_shot()).image[..., 1].astype(float)
        forehead = image[62:86, 72:106]
        return np.abs(np.diff(forehead, axis=0)).mean()

    assert roughness(75) > 1.5 * roughness(22)


@pytest.mark.parametrize("melanin", [0.1, 0.8])
def test_lipstick_colors_the_lips_only(bald, make_shot, melanin, rendered):
    person = replace(bald, melanin=melanin)
    plain = rendered(person, make_shot())
    makeup = Makeup(lipstick=1.0, lipstick_color=(0.5, 0.02, 0.05))
    painted = rendered(person, replace(make_shot(), makeup=makeup))
    change = np.abs(painted.image.astype(int) - plain.image).max(-1)
    lips = plain.regions == Region.LIPS
    assert lips.sum() > 150
    assert change[lips].mean() > 12
    assert change[FOREHEAD].max() == 0


def test_blush_and_eyeshadow_change_their_places(bald, make_shot, rendered):
    plain = rendered(bald, make_shot()).image.astype(int)
    for makeup, place in (
        (Makeup(blush=1.0), (slice(125, 140), slice(52, 66))),
        (Makeup(eyeshadow=1.0), (slice(101, 108), slice(62, 76))),
    ):
        image = rendered(bald, replace(make_shot(), makeup=makeup)).image.astype(int)
        assert np.abs(image - plain)[place].mean() > 4
        assert np.abs(image - plain)[FOREHEAD].max() == 0


def test_shadow_of_a_beard_darkens_the_jaw(make_person, make_shot, rendered):
    jaw = (slice(170, 178), slice(80, 98))
    shaven, stubbly = (
        _mean(
            rendered(make_person(male=True, style="bald", beard=beard), make_shot()).image, jaw
        ).mean()
        for beard in (Beard(), Beard(shadow=1.0))
    )
    assert stubbly < shaven - 15


def test_womens_eyes_and_mens_upper_lips_are_dark(make_person, make_shot, rendered):
    def contrast(masculinity, place, around):
        person = make_person(style="bald", brow_thickness=0.0)
        person = replace(person, face=replace(person.face, masculinity=masculinity))
        image = rendered(person, make_shot()).image
        return _mean(image, place).mean() / _mean(image, around).mean()

    lids, brow_bone = (slice(101, 106), slice(62, 76)), (slice(90, 94), slice(62, 76))
    lip, cheek = (slice(141, 146), slice(78, 99)), (slice(136, 144), slice(60, 68))
    assert contrast(0.0, lids, brow_bone) < contrast(1.0, lids, brow_bone) - 0.045
    assert contrast(1.0, lip, cheek) < contrast(0.0, lip, cheek) - 0.05


def test_shade_over_the_lip_is_no_beard_and_darkens_it(bald, make_shot, rendered):
    lip = (slice(141, 146), slice(78, 99))
    clear, shaded = (
        rendered(replace(bald, skin=Skin(mouth_shade=shade)), make_shot()) for shade in (0.0, 1.0)
    )
    assert _mean(shaded.image, lip).mean() < _mean(clear.image, lip).mean() - 4
    np.testing.assert_array_equal(clear.regions, shaded.regions)
    np.testing.assert_array_equal(clear.image[FOREHEAD], shaded.image[FOREHEAD])


def test_oily_skin_shines(bald, make_shot, rendered):
    matt, oily = (
        rendered(replace(bald, skin=Skin(shine=shine)), make_shot()).image[FOREHEAD]
        for shine in (0, 1)
    )
    assert np.quantile(oily, 0.9) > np.quantile(matt, 0.9) + 3
