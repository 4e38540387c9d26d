"""Morph targets: linear, named, and each trait moves what its name says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from far_keras.synthetic.head.mesh import load_head
from far_keras.synthetic.head.morphs import expression_weights, morph, old_fraction, shape_weights
from far_keras.synthetic.parameters import Expression


def _nearest(point):
    mesh = load_head()
    return int(np.argmin(np.linalg.norm(mesh.vertices - np.array(point), axis=1)))


MOUTH_CORNERS = _nearest((0.26, 6.61, 1.4)), _nearest((-0.26, 6.61, 1.4))
CHIN, NOSE_TIP = _nearest((0, 6.3, 1.48)), _nearest((0, 6.91, 1.68))


def _expressed(**expression):
    mesh = load_head()
    return morph(mesh, expression_weights(Expression(**expression)))


def test_no_weights_give_the_rest_pose():
    np.testing.assert_array_equal(morph(load_head(), {}), load_head().vertices)


def test_morphs_are_linear():
    mesh = load_head()
    a, b = {"head-oval": 0.4}, {"jawOpen": 0.3, "head-oval": 0.2}
    both = morph(mesh, {"head-oval": 0.6, "jawOpen": 0.3})
    np.testing.assert_allclose(both, morph(mesh, a) + morph(mesh, b) - mesh.vertices, atol=1e-5)


def test_unknown_target_is_an_error():
    with pytest.raises(KeyError, match="third-ear"):
        morph(load_head(), {"third-ear": 1.0})


def test_smile_lifts_and_widens_the_mouth():
    neutral, smiling = _expressed(), _expressed(smile=1.0)
    for corner in MOUTH_CORNERS:
        assert smiling[corner, 1] - neutral[corner, 1] > 0.05
        assert abs(smiling[corner, 0]) > abs(neutral[corner, 0])


def test_open_jaw_lowers_the_chin_only():
    moved = _expressed(jaw_open=0.6) - _expressed()
    assert moved[CHIN, 1] < -0.15
    assert np.abs(moved[NOSE_TIP]).max() < 0.02


def test_base_shapes_sum_to_one(make_person):
    mesh = load_head()
    for age in (20, 45, 80):
        weights = shape_weights(mesh, replace(make_person(), age=age))
        races = ("caucasian", "african", "asian")
        ancestry = sum(v for k, v in weights.items() if k.split("-")[0] in races)
        build = sum(v for k, v in weights.items() if k.startswith("universal-"))
        assert ancestry == pytest.approx(1) and build == pytest.approx(1)


def test_men_have_wider_jaws_and_necks(make_person):
    mesh = load_head()
    man = morph(mesh, shape_weights(mesh, make_person(male=True)))
    woman = morph(mesh, shape_weights(mesh, make_person(male=False)))
    for place in ((0.45, 6.45, 1.0), (0.45, 6.2, 0.3)):
        at = _nearest(place)
        assert man[at, 0] > woman[at, 0] * 1.04


@pytest.mark.parametrize(
    ("trait", "targets"),
    [
        ("nose_size", ("nose-volume-incr", "nose-volume-decr")),
        ("cheekbones", ("l-cheek-bones-incr", "l-cheek-bones-decr")),
    ],
)
def test_signed_traits_choose_the_target_of_their_sign(make_person, trait, targets):
    mesh, person = load_head(), make_person()
    more = shape_weights(mesh, replace(person, face=replace(person.face, **{trait: 1.0})))
    less = shape_weights(mesh, replace(person, face=replace(person.face, **{trait: -1.0})))
    assert more.get(targets[0], 0) > less.get(targets[0], 0)
    assert less.get(targets[1], 0) > more.get(targets[1], 0)


def test_variation_belongs_to_the_person(make_person):
    mesh = load_head()
    first = shape_weights(mesh, make_person(seed=1))
    assert first == shape_weights(mesh, make_person(seed=1))
    assert first != shape_weights(mesh, make_person(seed=2))


def test_old_fraction_rises_from_30_and_saturates():
    values = [old_fraction(age) for age in (18, 30, 40, 50, 60, 99)]
    assert values[0] == values[1] == 0
    assert all(a < b for a, b in pairwise(values[1:]))
    assert values[-1] == 1.3
