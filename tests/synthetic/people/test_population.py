"""Populations: identities, their images, negatives."""

from itertools import islice

import numpy as np

from far_keras.synthetic.labels import hair_color_labels
from far_keras.synthetic.people.attributes import MARGINS
from far_keras.synthetic.people.population import Population


def test_an_identity_does_not_depend_on_those_drawn_before():
    population = Population(seed=5)
    assert population.identity(7) == Population(seed=5).identity(7)
    assert population.identity(7) != Population(seed=6).identity(7)


def test_images_of_an_identity_share_the_person_and_differ_in_the_shot():
    population = Population(seed=2)
    sizes = []
    for number in range(1, 200):
        identity = population.identity(number)
        sizes.append(identity.num_images)
        assert len(set(identity.shots)) == len(identity.shots)
    assert set(sizes) == {1, 2, 3, 4, 5}
    assert 2.7 < np.mean(sizes) < 3.3  # mean 3, standard error 0.1


def test_images_are_a_prefix_of_a_longer_sequence():
    population = Population(seed=1, negatives=0.2)
    shorter = [(identity.number, i) for identity, i in population.images(20)]
    longer = [(identity.number, i) for identity, i in islice(population.images(50), 20)]
    assert len(shorter) == 20
    assert shorter == longer


def test_share_of_negatives():
    images = Population(seed=0, negatives=0.1).images(3000)
    share = np.mean([identity.person is None for identity, _ in images])
    assert abs(share - 0.1) < 0.02  # three standard errors
    assert all(identity.person for identity, _ in Population(seed=0).images(200))


def test_ages_and_colours_agree_with_the_forced_attributes():
    for number in range(1, 60):
        young = Population(force={"Young": 1, "Blond_Hair": 1}).identity(number).person
        old = Population(force={"Young": 0, "Gray_Hair": 1}).identity(number).person
        assert MARGINS["Young"].label(young.age) == 1
        assert MARGINS["Young"].label(old.age) == 0
        assert hair_color_labels(young.hair.color)["Blond_Hair"] == 1
        assert hair_color_labels(old.hair.color)["Gray_Hair"] == 1
