from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.synthetic.hair.beard import beard_region
from far_keras.synthetic.hair.roots import face_samples
from far_keras.synthetic.parameters import Beard
from far_keras.synthetic.regions import Region

COLOR = (0.02, 0.012, 0.01)
FULL = Beard(mustache=1.0, goatee=1.0, cheeks=1.0, length=0.12, color=COLOR)


def _pixels(regions):
    return np.nonzero(regions == Region.BEARD)


@pytest.fixture
def beard_of(make_person, make_shot, regions_of):
    return lambda beard: regions_of(make_person(male=True, beard=beard), make_shot())


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


def test_a_beard_is_the_same_each_time(beard_of):
    np.testing.assert_array_equal(beard_of(FULL), beard_of(FULL))


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
