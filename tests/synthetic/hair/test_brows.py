from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.synthetic.hair.brows import INNER, OUTER, brow_line
from far_keras.synthetic.parameters import Expression
from far_keras.synthetic.regions import Region

EYE_ROW = 111


def _brow(regions, side):
    """Rows and columns of one brow's pixels, columns counted from the nose outwards."""
    rows, columns = np.nonzero(regions == Region.BROW)
    here = columns < 89 if side == "left" else columns >= 89
    return rows[here], np.abs(columns[here] - 88.5)


@pytest.mark.parametrize("male", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_neutral_brows_sit_above_the_eyes_and_do_not_frown(
    male, seed, make_person, make_shot, regions_of
):
    person = make_person(male=male, seed=seed, style="bun", brow_thickness=0.4, brow_arch=0.2)
    regions = regions_of(person, make_shot())
    for side in ("left", "right"):
        rows, out = _brow(regions, side)
        assert len(rows) > 60
        assert rows.max() < EYE_ROW and rows.min() > EYE_ROW - 32
        inner = rows[out < np.quantile(out, 0.2)].mean()
        outer = rows[out > np.quantile(out, 0.8)].mean()
        # A frown's inner end is lower than the outer one by 5 pixels and more.
        assert inner - outer < 4


def test_bushy_brows_cover_more(make_person, make_shot, regions_of):
    thin, bushy = (
        (regions_of(make_person(brow_thickness=t, style="bun"), make_shot()) == Region.BROW).sum()
        for t in (0.1, 1.0)
    )
    assert bushy > 1.5 * thin


def test_arch_and_sex_move_the_line(make_person):
    x = np.linspace(INNER, OUTER, 30)
    flat, arched = (make_person(brow_arch=a).hair for a in (0.0, 1.0))
    low, high = brow_line(x, flat, False), brow_line(x, arched, False)
    assert high.max() - high[0] > 2 * (low.max() - low[0])
    assert (brow_line(x, flat, True) < low).all()
    # Relaxed: the inner end is not the lowest point.
    assert low[0] > low[-1] and high[0] > high[-1]


def test_raised_brows_rise(make_person, make_shot, regions_of):
    person, shot = make_person(style="bun"), make_shot()
    raised = replace(shot, expression=Expression(brow_raise=1.0))
    rows = [np.nonzero(regions_of(person, s) == Region.BROW)[0].mean() for s in (shot, raised)]
    assert rows[1] < rows[0] - 1


def test_a_fringe_hides_brows(make_person, make_shot, regions_of):
    seen = [
        (regions_of(make_person(style="long", bangs=b), make_shot()) == Region.BROW).sum()
        for b in (0.0, 1.0)
    ]
    assert seen[1] < seen[0]


def test_length_gap_and_filling_change_the_brows(make_person, make_shot, regions_of):
    def columns(**hair):
        return _brow(regions_of(make_person(style="bun", **hair), make_shot()), "left")[1]

    assert columns(brow_gap=0.0).min() < columns(brow_gap=1.0).min()
    assert columns(brow_length=1.0).max() > columns(brow_length=0.0).max() + 2
    assert len(columns(brow_fill=1.0)) > 1.1 * len(columns(brow_fill=0.0))
