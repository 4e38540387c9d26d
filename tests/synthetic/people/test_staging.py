"""Lights, lenses and backgrounds as they are drawn: their shares, and what forcing forbids."""

from __future__ import annotations

import numpy as np
import pytest

from far_keras.synthetic.labels import MOST_CAST
from far_keras.synthetic.people.staging import (
    BACKGROUNDS,
    LIGHT_SHARES,
    NORMAL_LEVEL,
    TELLING_LIGHTS,
    color_cast,
    draw_light,
    draw_staging,
    face_level,
)
from far_keras.synthetic.stage.background import KINDS


@pytest.fixture(scope="module")
def stagings():
    rng = np.random.default_rng(0)
    return [draw_staging(rng, 0.3, frozenset()) for _ in range(1500)]


def share(stagings, true):
    return np.mean([bool(true(staging)) for staging in stagings])


def test_shares_sum_to_one_and_name_what_there_is():
    assert sum(LIGHT_SHARES.values()) == pytest.approx(1)
    assert BACKGROUNDS.keys() == LIGHT_SHARES.keys()
    for shares in BACKGROUNDS.values():
        assert sum(shares.values()) == pytest.approx(1)
        assert shares.keys() <= KINDS.keys()


@pytest.mark.parametrize("kind", LIGHT_SHARES)
def test_every_light_is_exposed_for_the_face(kind):
    rng = np.random.default_rng(2)
    levels = [face_level(draw_light(rng, kind)) / NORMAL_LEVEL for _ in range(30)]
    low, high = {"dim": (0.25, 0.7), "backlit": (0.42, 1.13)}.get(kind, (0.87, 1.13))
    assert low < min(levels) and max(levels) < high


def test_lights_that_tell_colours_are_nearly_white():
    rng = np.random.default_rng(3)
    for kind in TELLING_LIGHTS:
        assert max(color_cast(draw_light(rng, kind)) for _ in range(100)) < MOST_CAST
    coloured = [color_cast(draw_light(rng, "coloured")) for _ in range(100)]
    assert np.mean(np.array(coloured) > MOST_CAST) > 0.3


def test_most_images_are_normal_and_strong_effects_a_few_percent(stagings):
    assert 0.05 < share(stagings, lambda s: s.occluder) < 0.11
    assert 0.03 < share(stagings, lambda s: s.border) < 0.08
    assert 0.02 < share(stagings, lambda s: s.finish.saturation == 0) < 0.06
    assert 0.08 < share(stagings, lambda s: abs(s.camera.yaw) > 25) < 0.2
    assert share(stagings, lambda s: abs(s.camera.yaw) > 45) == 0
    assert 0.07 < share(stagings, lambda s: s.camera.distance < 7) < 0.17
    assert 0.6 < share(stagings, lambda s: 0.75 < s.camera.exposure < 1.3) < 0.98


def test_what_is_forced_is_not_hidden():
    rng = np.random.default_rng(4)
    for _ in range(300):
        staging = draw_staging(rng, 0.3, frozenset({"Smiling"}))
        assert staging.occluder is None and staging.border is None
        assert staging.finish.saturation > 0.5
        assert color_cast(staging.light) < MOST_CAST
        assert face_level(staging.light) * staging.camera.exposure > 0.55 * NORMAL_LEVEL
