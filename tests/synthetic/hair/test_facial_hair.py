"""Beards and brows: where they grow, and what changes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.hair.facial_hair import INNER, OUTER, beard_region, brow_line
from far_keras.synthetic.hair.strands import face_samples
from far_keras.synthetic.parameters import Beard, Expression
from far_keras.synthetic.renderer import render

COLOR = (0.02, 0.012, 0.01)
FULL = Beard(mustache=1.0, goatee=1.0, cheeks=1.0, length=0.12, color=COLOR)


def _pixels(regions):
    return np.nonzero(regions == Region.BEARD)


@pytest.fixture
def beard_of(make_person, make_shot, regions_of):
    """Regions of a bald man with a beard: no head hair to grow, and none that hides it."""
    return lambda beard: regions_of(make_person(male=True, beard=beard, style="bald"), make_shot())


@pytest.fixture
def lips_row(beard_of):
    return np.nonzero(beard_of(Beard()) == Region.LIPS)[0].mean()


def test_no_beard_no_pixels(beard_of):
    assert len(_pixels(beard_of(Beard(shadow=1.0, mustache=0.1, goatee=0.1)))[0]) == 0


def test_a_mustache_is_over_the_lips(beard_of, lips_row):
    rows, columns = _pixels(beard_of(Beard(mustache=1.0, length=0.08, color=COLOR)))
    assert len(rows) > 60
    assert np.quantile(rows, 0.9) < lips_row + 4 and rows.min() > lips_row - 30
    assert abs(columns.mean() - 88.5) < 4


def test_a_goatee_is_below_the_lips(beard_of, lips_row):
    rows, columns = _pixels(beard_of(Beard(goatee=1.0, length=0.08, color=COLOR)))
    assert len(rows) > 100
    assert np.median(rows) > lips_row + 5
    assert np.ptp(columns) < 60


def test_a_full_beard_reaches_the_cheeks_and_frees_the_lips(beard_of):
    shaven, full, goatee = (beard_of(b) for b in (Beard(), FULL, Beard(goatee=1.0, color=COLOR)))
    assert (full == Region.BEARD).sum() > 1.4 * (goatee == Region.BEARD).sum()
    lips = [(regions == Region.LIPS).sum() for regions in (shaven, full)]
    assert lips[1] > 0.7 * lips[0]


def test_sideburns_grow_before_the_ears(make_person, make_shot, regions_of):
    regions = regions_of(make_person(male=True, sideburns=1.0), make_shot())
    rows, columns = _pixels(regions)
    assert len(rows) > 30
    assert (np.abs(columns - 88.5) > 25).all()
    assert rows.min() > 90 and rows.max() < 165


@pytest.mark.parametrize("kind", ["mustache", "goatee", "cheeks", "sideburns"])
def test_regions_are_soft_symmetric_and_bounded(kind):
    rest = face_samples().rest
    density = beard_region(rest, kind)
    mirrored = beard_region(rest * np.array([-1, 1, 1]), kind)
    np.testing.assert_allclose(density, mirrored, atol=1e-4)  # float32
    assert density.min() >= 0 and density.max() > 0.9
    grown = density > 0
    assert ((density > 0.02) & (density < 0.9))[grown].mean() > 0.15


def test_a_beard_is_the_same_each_time(make_person, make_shot):
    person = make_person(male=True, beard=FULL, style="bald")
    first, second = (render(person, make_shot()).regions for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_shapes_of_mustaches_and_goatees_differ(beard_of):
    def area(**beard):
        return len(_pixels(beard_of(Beard(length=0.08, color=COLOR, **beard)))[0])

    by_mustache = {
        style: area(mustache=1.0, mustache_style=style)
        for style in ("natural", "chevron", "pencil")
    }
    assert by_mustache["pencil"] < by_mustache["natural"] <= by_mustache["chevron"]
    assert area(goatee=1.0, goatee_style="chin") < area(goatee=1.0, goatee_style="circle")


def test_a_patchy_beard_leaves_skin(beard_of):
    full, patchy = (beard_of(replace(FULL, patchy=patchy)) for patchy in (0.0, 1.0))
    assert len(_pixels(patchy)[0]) < 0.85 * len(_pixels(full)[0])


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
    person = make_person(male=male, seed=seed, style="bald", brow_thickness=0.4, brow_arch=0.2)
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
        (regions_of(make_person(brow_thickness=t, style="bald"), make_shot()) == Region.BROW).sum()
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
    person, shot = make_person(style="bald"), make_shot()
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
        return _brow(regions_of(make_person(style="bald", **hair), make_shot()), "left")[1]

    assert columns(brow_gap=0.0).min() < columns(brow_gap=1.0).min()
    assert columns(brow_length=1.0).max() > columns(brow_length=0.0).max() + 2
    assert len(columns(brow_fill=1.0)) > 1.1 * len(columns(brow_fill=0.0))
