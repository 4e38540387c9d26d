"""Children: what of an adult they keep, and how their faces differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.synthetic.head.mesh import load_head
from far_keras.synthetic.head.morphs import morph, shape_weights
from far_keras.synthetic.parameters import Beard, Makeup
from research.pretraining.children import OLDEST, YOUNGEST, as_child

BEARD = Beard(mustache=1.0, goatee=1.0, length=0.1)


def _proportions(person):
    """The chin's distance below the eyes and the nose's height, in distances between the eyes."""
    mesh = load_head()
    vertices = morph(mesh, shape_weights(mesh, person))
    eyes = np.stack([vertices[eye].mean(0) for eye in mesh.eye_vertices])
    distance = np.linalg.norm(eyes[0] - eyes[1])
    middle = np.abs(mesh.vertices[:, 0]) < 0.05
    chin = middle & (np.abs(mesh.vertices[:, 1] - 6.3) < 0.06) & (mesh.vertices[:, 2] > 1.0)
    nose = middle & (np.abs(mesh.vertices[:, 1] - 6.85) < 0.06) & (mesh.vertices[:, 2] > 1.3)
    below = [eyes[:, 1].mean() - vertices[part, 1].mean() for part in (chin, nose)]
    return np.array(below) / distance


@pytest.mark.parametrize("male", [False, True])
def test_a_child_has_a_short_chin_and_nose_the_more_the_younger(make_person, make_shot, male):
    person = make_person(male=male)
    ages = [_proportions(as_child(person, make_shot(), age)[0]) for age in (YOUNGEST, OLDEST)]
    steps = [*ages, _proportions(person)]
    assert (np.diff(steps, axis=0) > 0.02).all()


def test_a_child_has_no_beard_make_up_grey_or_bald_head(make_person, make_shot):
    old = replace(make_person(male=True, style="bald", receding=0.8, beard=BEARD), age=70.0)
    old = replace(old, hair=replace(old.hair, color=(0.5, 0.5, 0.48)))
    shot = replace(make_shot(), makeup=Makeup(lipstick=1.0, eyeshadow=1.0))
    child, image_shot = as_child(old, shot)
    assert child.age == YOUNGEST and child.beard == Beard() and image_shot.makeup == Makeup()
    assert child.hair.style == "short" and child.hair.receding == 0
    red, green, blue = child.hair.color
    assert red > 1.3 * green > 1.3 * blue
    assert child.melanin == old.melanin and image_shot.light == shot.light


def test_a_child_keeps_the_colour_of_its_hair(make_person, make_shot):
    for color in ((0.004, 0.004, 0.004), (0.06, 0.03, 0.015), (0.6, 0.4, 0.2)):
        assert as_child(make_person(color=color), make_shot())[0].hair.color == color
