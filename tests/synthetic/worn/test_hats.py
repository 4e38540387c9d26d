from __future__ import annotations

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.stage.scene import build_scene
from far_keras.synthetic.worn.hats import COVERS, hat_rim

KINDS = ("cap", "beanie", "brimmed", "bucket")
HAIRS = (
    {"style": "long", "volume": 1.0},
    {"style": "short", "wave": 0.9, "volume": 1.0, "male": True},
    {"style": "bun"},
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hair", HAIRS)
def test_hats_cover_the_hair(kind, hair, make_person, make_shot, regions_of):
    regions = regions_of(make_person(**hair), make_shot(hat=kind))
    hat, strands = regions == Region.HAT, regions == Region.HAIR
    assert hat.sum() > 1500
    columns = np.flatnonzero(hat.sum(0) > 8)
    top = hat.argmax(0)
    poking = sum(int(strands[: top[column], column].sum()) for column in columns)
    assert poking <= 5
    # Nor do hairs show through the cloth.
    inside = sum(
        int(strands[top[column] : top[column] + 25, column].sum()) for column in range(70, 108)
    )
    assert inside <= 10


@pytest.mark.parametrize("kind", KINDS)
def test_hats_stay_above_the_brows_and_in_the_image(kind, make_person, make_shot, regions_of):
    person = make_person(style="bun")
    bare, worn = regions_of(person, make_shot()), regions_of(person, make_shot(hat=kind))
    brows = [(r == Region.BROW).sum() for r in (bare, worn)]
    assert brows[1] > 0.6 * brows[0]
    assert (worn == Region.EYE).sum() > 0.9 * (bare == Region.EYE).sum()
    assert (worn[0] == Region.HAT).sum() < 40


@pytest.mark.parametrize("kind", COVERS)
def test_hoods_and_headscarves_leave_the_face_free(kind, make_person, make_shot, regions_of):
    person = make_person(style="short", volume=1.0)
    bare, covered = regions_of(person, make_shot()), regions_of(person, make_shot(hat=kind))
    assert (covered == Region.HAT).sum() > 2500
    for region in (Region.EYE, Region.NOSE, Region.LIPS):
        assert (covered == region).sum() > 0.9 * (bare == region).sum()
    if kind == "headscarf":
        assert not (covered == Region.HAIR).any()


def test_hair_shows_below_the_rim(make_person, make_shot, regions_of):
    person = make_person(style="long", volume=0.8)
    regions = regions_of(person, make_shot(hat="beanie"))
    assert (regions[110:] == Region.HAIR).sum() > 500


def test_a_bald_man_wears_one_too(make_person, make_shot, regions_of):
    regions = regions_of(make_person(male=True, style="bald"), make_shot(hat="cap"))
    assert (regions == Region.HAT).sum() > 1500
    assert not (regions == Region.HAIR).any()


def test_no_hat_has_no_rim(make_person, make_shot):
    assert hat_rim(build_scene(make_person(), make_shot(), (218, 178))) is None
