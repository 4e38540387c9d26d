"""What is forced is seen in the rendered image, and strengths keep clear of doubt."""

import numpy as np
import pytest

from far_keras.schema import CELEBA, MISSING
from far_keras.synthetic.labels import visible_labels
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render

FORCED = (
    "Smiling",
    "Mouth_Slightly_Open",
    "Wearing_Hat",
    "Eyeglasses",
    "Wearing_Earrings",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Bald",
    "Bangs",
    "Goatee",
    "Blond_Hair",
    "Wavy_Hair",
)


@pytest.mark.parametrize("value", [1, 0])
@pytest.mark.parametrize("name", FORCED)
@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_forced_attribute_is_labelled_from_what_is_visible(number, name, value):
    identity = Population(seed=11, force={name: value}).identity(number)
    rendering = render(identity.person, identity.shots[0])
    labels = visible_labels(identity.person, identity.shots[0], rendering.regions)
    assert labels[CELEBA.index(name)] == value


def test_several_forced_at_once():
    force = {"Male": 0, "Smiling": 1, "Wearing_Hat": 1, "Black_Hair": 1, "Eyeglasses": 0}
    identity = Population(seed=4, force=force).identity(5)
    for shot in identity.shots:
        regions = render(identity.person, shot).regions
        labels = visible_labels(identity.person, shot, regions)
        for name in ("Male", "Smiling", "Wearing_Hat", "Eyeglasses"):
            assert labels[CELEBA.index(name)] == force[name], name
        # Below a hat too little hair may show to name its colour.
        assert labels[CELEBA.index("Black_Hair")] in (1, MISSING)


def test_parameters_are_within_their_ranges():
    for number in range(1, 150):
        identity = Population(seed=9).identity(number)
        person = identity.person
        assert sum(person.face.ancestry) == pytest.approx(1)
        assert 18 <= person.age <= 85
        assert 0 <= person.melanin <= 1
        for color in (person.hair.color, person.hair.brow_color, person.iris_color):
            assert all(0 <= channel <= 1 for channel in color)
        for shot in identity.shots:
            assert abs(shot.camera.yaw) <= 45
            assert np.linalg.norm(shot.light.key_direction) == pytest.approx(1)
            assert 0 < shot.camera.jpeg_quality <= 100
            assert 0 <= shot.expression.jaw_open < 0.6


def test_men_wear_no_trace_of_makeup():
    traces = [
        shot.makeup.lipstick
        for number in range(1, 200)
        for shot in Population(seed=2, force={"Male": 1, "Wearing_Lipstick": 0})
        .identity(number)
        .shots
    ]
    assert max(traces) <= 0.1
    unforced = [
        shot.makeup.lipstick
        for number in range(1, 200)
        for shot in Population(seed=2, force={"Male": 1}).identity(number).shots
    ]
    assert np.mean(np.array(unforced) > 0.1) < 0.03


def test_eyes_and_lips_of_women_stand_out_more():
    people = {}
    for male in (0, 1):
        population = Population(seed=3, force={"Male": male, "Pale_Skin": 0})
        people[male] = [population.identity(number) for number in range(1, 400)]
    women, men = people[0], people[1]

    def difference(measure):
        return np.mean([measure(one) for one in women]) - np.mean([measure(one) for one in men])

    # The standard error of the mean melanin's difference is 0.016.
    assert -0.13 < difference(lambda one: one.person.melanin) < -0.02
    assert 0.5 < difference(lambda one: one.person.skin.lip_depth) < 0.65
    assert difference(lambda one: one.person.face.nose_size) < -0.2
    assert min(shot.makeup.lashes for one in women for shot in one.shots) >= 0.1
    assert np.median([shot.makeup.lashes for one in men for shot in one.shots]) < 0.08


def test_most_strengths_are_clear_and_some_are_doubtful():
    doubtful = [
        0.1 < shot.expression.smile < 0.5
        for number in range(1, 400)
        for shot in Population(seed=6).identity(number).shots
    ]
    assert 0.02 < np.mean(doubtful) < 0.06  # 4%, standard error 0.6%
