"""Attributes: correlations, forced attributes, agreements, margins."""

import numpy as np
import pytest

from far_keras.errors import DatasetError
from far_keras.schema import CELEBA, MISSING
from far_keras.synthetic.people.attributes import MARGINS, AttributeSampler, Margin, check_force
from far_keras.synthetic.people.population import Population

DRAWS = 5000


def draw_many(count, seed=0, **arguments):
    """Attributes of `count` images of as many people."""
    rng, sampler = np.random.default_rng(seed), AttributeSampler(**arguments)
    return [sampler.draw_shot(rng, sampler.draw_person(rng)) for _ in range(count)]


def table_of(images):
    return {name: np.array([image[name] for image in images]) for name in images[0]}


@pytest.fixture(scope="module")
def people():
    return table_of(draw_many(DRAWS))


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
    table = table_of(draw_many(DRAWS, correlations="independent"))
    for first, second in (
        ("Male", "Wearing_Lipstick"),
        ("Smiling", "Mouth_Slightly_Open"),
        ("Young", "Eyeglasses"),
    ):
        # Four standard errors.
        assert abs(np.corrcoef(table[first], table[second])[0, 1]) < 4 / np.sqrt(DRAWS)


def test_reversed_draws_turn_the_sign_of_the_listed_pairs(people):
    table = table_of(draw_many(DRAWS, correlations="reversed"))
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
    assert {image[name] for image in draw_many(60, force={name: value})} == {value}


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


def test_forced_attributes_change_the_shares_of_sex_and_age():
    assert {image["Male"] for image in draw_many(100, force={"Goatee": 1})} == {1}
    gray = draw_many(300, force={"Gray_Hair": 1})
    # 71% of the freely drawn are young; standard error below 3%.
    assert np.mean([image["Young"] for image in gray]) < 0.3
    women = draw_many(20, force={"Goatee": 1, "Male": 0})
    assert {(image["Male"], image["Goatee"]) for image in women} == {(0, 1)}


def agreement(agreements):
    images = draw_many(400, seed=5, agreements=agreements)
    return np.mean([image["Smiling"] == image["Wavy_Hair"] for image in images])


@pytest.mark.parametrize("share", [0.97, 0.03])
def test_two_attributes_agree_with_the_given_probability(share):
    # 3.5 standard deviations of 400 draws
    assert agreement({"Smiling": ("Wavy_Hair", share)}) == pytest.approx(share, abs=0.03)


def test_without_a_tie_they_are_nearly_independent():
    assert 0.4 < agreement(None) < 0.6


def test_a_tie_changes_no_other_attribute():
    tied, free = (Population(5, agreements=ties) for ties in ({"Smiling": ("Bangs", 1.0)}, None))
    for identity in range(1, 30):
        assert tied.identity(identity).person == free.identity(identity).person


def test_what_is_forced_counts_first():
    images = draw_many(50, force={"Smiling": 1}, agreements={"Smiling": ("Wavy_Hair", 1.0)})
    assert all(image["Smiling"] for image in images)
    assert len({image["Wavy_Hair"] for image in images}) == 2


@pytest.mark.parametrize(
    ("agreements", "message"),
    [
        ({"Smiling": ("Frowning", 0.5)}, "'Frowning' is not drawn by itself"),
        ({"Attractive": ("Smiling", 0.5)}, "'Attractive' is not drawn by itself"),
        ({"Wavy_Hair": ("Smiling", 0.5)}, "Smiling must be drawn before Wavy_Hair"),
        ({"Smiling": ("Smiling", 0.5)}, "must be drawn before"),
        ({"Smiling": ("Wavy_Hair", 1.5)}, r"Received: 1.5"),
    ],
)
def test_invalid_agreements_are_refused(agreements, message):
    with pytest.raises(DatasetError, match=message):
        Population(0, agreements=agreements)


@pytest.mark.parametrize("name", sorted(MARGINS))
def test_what_is_drawn_is_read_back(name):
    margin, rng = MARGINS[name], np.random.default_rng(0)
    assert name in CELEBA.attributes
    for yes in (True, False):
        assert {margin.label(margin.draw(rng, yes)) for _ in range(200)} == {int(yes)}
    assert {margin.label(margin.draw(rng, True, doubtful=1.0)) for _ in range(200)} == {MISSING}


def test_a_falling_margin_counts_low_strengths_as_yes():
    margin = Margin(no=(0.2, 1.0), yes=(-1.0, -0.5))
    assert [margin.label(x) for x in (-2.0, -0.5, 0.0, 0.2, 3.0)] == [1, 1, MISSING, 0, 0]


def test_a_rising_margin_counts_high_strengths_as_yes():
    margin = Margin(no=(0.0, 0.2), yes=(0.6, 1.0))
    assert [margin.label(x) for x in (-1.0, 0.2, 0.4, 0.6, 2.0)] == [0, 0, MISSING, 1, 1]
