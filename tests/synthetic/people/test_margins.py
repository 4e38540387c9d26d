import numpy as np
import pytest

from far_keras.schema import CELEBA, MISSING
from far_keras.synthetic.people.margins import MARGINS, Margin


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
