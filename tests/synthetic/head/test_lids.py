"""Lids: the stated opening decides how wide eyes are, whoever's they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.synthetic.head.lids import lid_opening, lid_rims
from far_keras.synthetic.head.mesh import load_head
from far_keras.synthetic.head.morphs import expression_weights, morph, shape_weights
from far_keras.synthetic.parameters import Expression
from far_keras.synthetic.people.attributes import MARGINS
from far_keras.synthetic.regions import Region


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
    person = make_person(male=male, style="bun")
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
