from collections import defaultdict
from itertools import islice

import numpy as np
import pytest

from far_keras.errors import DatasetError
from far_keras.schema import CELEBA
from far_keras.synthetic.labels import hair_color_labels
from far_keras.synthetic.people.margins import MARGINS
from far_keras.synthetic.people.population import Population, check_force, draw_attributes

DRAWS = 5000


def draw_many(correlations="people"):
    rng = np.random.default_rng(0)
    table = defaultdict(list)
    for _ in range(DRAWS):
        for name, value in draw_attributes(rng, correlations=correlations).items():
            table[name].append(value)
    return {name: np.array(values) for name, values in table.items()}


@pytest.fixture(scope="module")
def people():
    return draw_many()


@pytest.mark.parametrize(
    ("first", "second", "sign"),
    [
        ("Male", "No_Beard", -1),
        ("Male", "Wearing_Lipstick", -1),
        ("Male", "Heavy_Makeup", -1),
        ("Male", "Wearing_Earrings", -1),
        ("Male", "Wearing_Necktie", 1),
        ("Male", "Big_Nose", 1),
        ("Male", "Bushy_Eyebrows", 1),
        ("Male", "Bald", 1),
        ("Male", "Young", -1),
        ("Young", "Gray_Hair", -1),
        ("Young", "Receding_Hairline", -1),
        ("Young", "Bags_Under_Eyes", -1),
        ("Young", "Double_Chin", -1),
        ("Young", "Eyeglasses", -1),
        ("Smiling", "Mouth_Slightly_Open", 1),
        ("Smiling", "High_Cheekbones", 1),
        ("Wearing_Lipstick", "Heavy_Makeup", 1),
        ("Chubby", "Double_Chin", 1),
        ("Goatee", "Mustache", 1),
        ("Sideburns", "No_Beard", -1),
    ],
)
def test_attributes_go_together_as_among_people(people, first, second, sign):
    correlation = np.corrcoef(people[first], people[second])[0, 1]
    # Independent draws have a standard error of 1 / sqrt(5000) = 0.014.
    assert sign * correlation > 0.06


def test_every_attribute_but_one_is_drawn_and_none_is_rare(people):
    assert set(CELEBA.attributes) - set(people) == {"Attractive"}
    for name in set(CELEBA.attributes) - {"Attractive"}:
        assert 0.04 < people[name].mean() < 0.8, name


def test_nothing_is_deterministic_that_is_not_by_definition(people):
    """Women with short hair and men without a beard, old men without glasses: all occur."""
    women, men = people["Male"] == 0, people["Male"] == 1
    assert 0.05 < (people["Wearing_Lipstick"][women] == 0).mean() < 0.6
    assert (people["No_Beard"][men] == 1).mean() > 0.3
    assert (people["Wearing_Earrings"][men] == 1).any()
    assert (people["Gray_Hair"][people["Young"] == 1] == 1).any()


def test_independent_draws_do_not_correlate():
    table = draw_many("independent")
    for first, second in (
        ("Male", "Wearing_Lipstick"),
        ("Smiling", "Mouth_Slightly_Open"),
        ("Young", "Eyeglasses"),
    ):
        # Four standard errors.
        assert abs(np.corrcoef(table[first], table[second])[0, 1]) < 4 / np.sqrt(DRAWS)


def test_reversed_draws_turn_the_sign_of_the_listed_pairs(people):
    table = draw_many("reversed")
    for first, second in (
        ("Male", "Wearing_Lipstick"),
        ("Smiling", "Mouth_Slightly_Open"),
        ("Young", "Eyeglasses"),
        ("Chubby", "Double_Chin"),
    ):
        usual = np.corrcoef(people[first], people[second])[0, 1]
        turned = np.corrcoef(table[first], table[second])[0, 1]
        assert usual * turned < 0, (first, second)


@pytest.mark.parametrize("name", [name for name in CELEBA.attributes if name != "Attractive"])
@pytest.mark.parametrize("value", [0, 1])
def test_a_forced_attribute_is_drawn_as_forced(name, value):
    rng = np.random.default_rng(1)
    assert {draw_attributes(rng, {name: value})[name] for _ in range(60)} == {value}


@pytest.mark.parametrize(
    "force",
    [
        {"Bald": 1, "Bangs": 1},
        {"Goatee": 1, "No_Beard": 1},
        {"5_o_Clock_Shadow": 1, "No_Beard": 1},
        {"Black_Hair": 1, "Blond_Hair": 1},
        {"Straight_Hair": 1, "Wavy_Hair": 1},
        {"Bald": 1, "Wearing_Hat": 1},
        {"Straight_Hair": 0, "Wavy_Hair": 0},
        {"No_Beard": 0, "Goatee": 0, "Mustache": 0, "5_o_Clock_Shadow": 0},
    ],
)
def test_contradictions_are_refused(force):
    with pytest.raises(DatasetError, match="force:"):
        Population(force=force)


def test_unknown_names_values_and_attractive_are_refused():
    with pytest.raises(DatasetError, match="unknown attribute 'Smile'"):
        check_force({"Smile": 1})
    with pytest.raises(DatasetError, match="Received: 2"):
        check_force({"Smiling": 2})
    with pytest.raises(DatasetError, match="Attractive"):
        check_force({"Attractive": 1})
    with pytest.raises(DatasetError, match="correlations"):
        Population(correlations="sideways")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="seed"):
        Population(seed=-1)


def test_a_subject_does_not_depend_on_who_was_drawn_before():
    population = Population(seed=5)
    assert population.subject(7) == Population(seed=5).subject(7)
    assert population.subject(7) != Population(seed=6).subject(7)


def test_pictures_of_an_identity_share_the_person_and_differ_in_the_shot():
    population = Population(seed=2)
    sizes = []
    for identity in range(1, 200):
        subject = population.subject(identity)
        sizes.append(subject.num_pictures)
        assert len(set(subject.shots)) == len(subject.shots)
    assert set(sizes) == {1, 2, 3, 4, 5}
    assert 2.7 < np.mean(sizes) < 3.3  # mean 3, standard error 0.1


def test_pictures_are_a_prefix_of_a_longer_sequence():
    population = Population(seed=1, negatives=0.2)
    shorter = [(s.identity, i) for s, i in population.pictures(20)]
    longer = [(s.identity, i) for s, i in islice(population.pictures(50), 20)]
    assert len(shorter) == 20
    assert shorter == longer


def test_share_of_negatives():
    subjects = [subject for subject, _ in Population(seed=0, negatives=0.1).pictures(3000)]
    share = np.mean([subject.person is None for subject in subjects])
    assert abs(share - 0.1) < 0.02  # three standard errors
    assert all(subject.person for subject, _ in Population(seed=0).pictures(200))


def test_ages_and_colours_agree_with_the_forced_attributes():
    for identity in range(1, 60):
        young = Population(force={"Young": 1, "Blond_Hair": 1}).subject(identity).person
        old = Population(force={"Young": 0, "Gray_Hair": 1}).subject(identity).person
        assert MARGINS["Young"].label(young.age) == 1
        assert MARGINS["Young"].label(old.age) == 0
        assert hair_color_labels(young.hair.color)["Blond_Hair"] == 1
        assert hair_color_labels(old.hair.color)["Gray_Hair"] == 1


def test_what_is_forced_tells_of_sex_and_age():
    rng = np.random.default_rng(3)
    bearded = [draw_attributes(rng, {"Goatee": 1}) for _ in range(100)]
    assert {drawn["Male"] for drawn in bearded} == {1}
    gray = [draw_attributes(rng, {"Gray_Hair": 1}) for _ in range(300)]
    # 71% of the freely drawn are young; standard error below 3%.
    assert np.mean([drawn["Young"] for drawn in gray]) < 0.3
    women = [draw_attributes(rng, {"Goatee": 1, "Male": 0}) for _ in range(20)]
    assert {(drawn["Male"], drawn["Goatee"]) for drawn in women} == {(0, 1)}
