import numpy as np
import pytest

from far_keras.errors import DatasetError
from far_keras.synthetic.people.population import Population, draw_attributes


def drawn(agreements, count=400, force=None):
    """Smiling and Wavy_Hair of `count` images."""
    rng = np.random.default_rng(5)
    for _ in range(count):
        attributes = draw_attributes(rng, force, agreements=agreements)
        yield attributes["Smiling"], attributes["Wavy_Hair"]


def agreement(pairs):
    return np.mean([a == b for a, b in pairs])


@pytest.mark.parametrize("share", [0.97, 0.03])
def test_two_attributes_agree_as_often_as_asked(share):
    found = agreement(drawn({"Smiling": ("Wavy_Hair", share)}))
    assert found == pytest.approx(share, abs=0.03)  # 3.5 standard deviations of 400 draws


def test_without_a_tie_they_are_nearly_independent():
    assert 0.4 < agreement(drawn(None)) < 0.6


def test_a_tie_changes_nobody_else():
    tied, free = (Population(5, agreements=ties) for ties in ({"Smiling": ("Bangs", 1.0)}, None))
    for identity in range(1, 30):
        assert tied.subject(identity).person == free.subject(identity).person


def test_what_is_forced_counts_first():
    pairs = list(drawn({"Smiling": ("Wavy_Hair", 1.0)}, 50, force={"Smiling": 1}))
    assert all(smiling for smiling, _ in pairs)
    assert len(set(pairs)) == 2  # wavy or not


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
def test_ties_that_cannot_be_are_refused(agreements, message):
    with pytest.raises(DatasetError, match=message):
        Population(0, agreements=agreements)


def test_agreements_are_part_of_a_sets_provenance(tmp_path):
    from far_keras.synthetic.dataset import synthesize

    ties = {"Smiling": ("Wavy_Hair", 0.97)}
    synthesize(tmp_path / "set", 2, negatives=0.0, workers=1, agreements=ties)
    assert synthesize(tmp_path / "set", 2, negatives=0.0, workers=1, agreements=ties).rendered == 0
    with pytest.raises(DatasetError, match="agreements"):
        synthesize(tmp_path / "set", 2, negatives=0.0, workers=1)
