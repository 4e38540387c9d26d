"""Morph targets are linear, each trait moves what its name says, and lids open as far as stated."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.head.mesh import load_head
from far_keras.synthetic.head.morphs import (
    expression_weights,
    lid_opening,
    lid_rims,
    morph,
    old_fraction,
    shape_weights,
)
from far_keras.synthetic.parameters import Expression
from far_keras.synthetic.people.attributes import MARGINS


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


def _opened(person, **face):
    return replace(person, face=replace(person.face, **face))


def _opening(person, expression=None):
    """Height of both eyes' openings over the distance between the eyes."""
    mesh = load_head()
    weights = shape_weights(mesh, person)
    if expression:
        for name, value in expression_weights(expression, lid_opening(person)).items():
            weights[name] = weights.get(name, 0.0) + value
    vertices = morph(mesh, weights)
    left, right = (vertices[eye].mean(0)[0] for eye in mesh.eye_vertices)
    middles = lid_rims()[:, :, 4]  # of both edges
    upper = np.array([vertices[lid_rims()[eye, 0, 3], 1] for eye in (0, 1)])
    return (upper - vertices[middles[:, 1], 1]) / (right - left)


@pytest.mark.parametrize("male", [False, True])
@pytest.mark.parametrize("age", [25, 75])
@pytest.mark.parametrize("eye_opening", [-0.9, 0.0, 0.5])
def test_the_stated_opening_is_the_one_that_is_shaped(make_person, male, age, eye_opening):
    person = replace(_opened(make_person(male=male), eye_opening=eye_opening), age=age)
    # What makes the two halves of a face differ comes on top.
    assert np.abs(_opening(person) - lid_opening(person)).max() < 0.02


def test_rims_mirror_each_other():
    left, right = load_head().vertices[lid_rims()]
    np.testing.assert_allclose(left * (-1, 1, 1), right, atol=2e-3)
    assert (right[0, :, 1] >= right[1, :, 1]).all()


@pytest.mark.parametrize("male", [False, True])
def test_narrow_eyes_show_less_of_the_eyeball(make_person, make_shot, regions_of, male):
    most, least = MARGINS["Narrow_Eyes"].yes[1], MARGINS["Narrow_Eyes"].no[0]
    person = make_person(male=male, style="bald")
    narrow, wide = (
        (regions_of(_opened(person, eye_opening=value), make_shot()) == Region.EYE).sum()
        for value in (most, least)
    )
    assert narrow < 0.85 * wide
    assert wide > 60


def test_a_blink_closes_wide_and_narrow_eyes(make_person):
    for opening in (-1.0, 0.5):
        closed = _opening(_opened(make_person(), eye_opening=opening), Expression(blink=1.0))
        assert np.abs(closed).max() < 0.03
