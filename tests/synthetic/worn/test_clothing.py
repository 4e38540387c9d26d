"""Clothes: cloth below the neckline, the necktie in the image."""

from __future__ import annotations

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.stage.scene import build_scene
from far_keras.synthetic.worn.clothing import drape_of, neckline

GARMENTS = ("crew", "vneck", "shirt", "suit", "turtleneck", "hoodie")


@pytest.mark.parametrize("garment", GARMENTS)
@pytest.mark.parametrize("male", [False, True])
def test_cloth_fills_the_bottom_and_leaves_the_face(
    make_person, make_shot, garment, male, rendered
):
    person = make_person(male=male, style="bald")
    regions = rendered(person, make_shot(clothing=garment)).regions
    cloth = regions == Region.CLOTHING
    assert cloth[-8:].mean() > 0.4
    assert not cloth[:165].any()
    assert not (regions == Region.NECKTIE).any()


def test_colors_are_those_asked_for(make_person, make_shot, rendered):
    for color, channel in (((0.6, 0.05, 0.05), 0), ((0.05, 0.05, 0.6), 2)):
        shot = make_shot(clothing="crew", clothing_color=color)
        rendering = rendered(make_person(style="bald"), shot)
        cloth = rendering.image[rendering.regions == Region.CLOTHING].mean(0)
        assert cloth.argmax() == channel and cloth[channel] > 1.8 * np.delete(cloth, channel).max()


def test_turtleneck_covers_more_neck_than_a_v_neck(make_person, make_shot, rendered):
    neck = {
        garment: (rendered(make_person(style="bald"), make_shot(clothing=garment)).regions
                  == Region.NECK).sum()
        for garment in ("turtleneck", "vneck")
    }  # fmt: skip
    assert neck["turtleneck"] < 0.6 * neck["vneck"]


def test_bare_shoulders_show_skin_and_straps_cross_it(make_person, make_shot, rendered):
    person = make_person(style="bald")
    cloth = {
        garment: (rendered(person, make_shot(clothing=garment)).regions == Region.CLOTHING)[-12:]
        for garment in ("crew", "scoop", "straps", "strapless")
    }
    assert cloth["scoop"].sum() < 0.75 * cloth["crew"].sum()
    assert not cloth["strapless"].any()
    strapped = cloth["straps"].any(0)
    assert strapped[:89].any() and strapped[89:].any() and not strapped[80:98].any()


@pytest.mark.parametrize("pattern", ["stripes", "checks", "dots", "floral"])
def test_patterns_show_both_colors(make_person, make_shot, pattern, rendered):
    worn = {"clothing_color": (0.6, 0.6, 0.6), "pattern_color": (0.02, 0.02, 0.02)}
    plain, patterned = (
        rendered(make_person(style="bald"), make_shot(pattern=kind, **worn))
        for kind in ("plain", pattern)
    )
    cloth = plain.regions == Region.CLOTHING
    spread = [rendering.image[cloth].std() for rendering in (plain, patterned)]
    assert spread[1] > 1.5 * spread[0]


@pytest.mark.parametrize("garment", ["shirt", "suit"])
@pytest.mark.parametrize("male", [False, True])
def test_necktie_is_inside_the_image(make_person, make_shot, garment, male, rendered):
    shot = make_shot(clothing=garment, necktie=True, necktie_color=(0.5, 0.0, 0.0))
    tie = rendered(make_person(male=male, style="bald"), shot).regions == Region.NECKTIE
    assert tie.sum() > 60
    rows, columns = np.nonzero(tie)
    assert rows.min() < 205  # the knot, not only the blade
    assert abs(columns.mean() - 89) < 6


def test_no_necktie_without_a_collar_to_wear_it_with(make_person, make_shot, rendered):
    regions = rendered(make_person(), make_shot(clothing="crew", necktie=True)).regions
    assert not (regions == Region.NECKTIE).any()


def test_neckline_opens_in_front():
    front, side = np.array([[0.0, 5.8, 0.7]]), np.array([[0.6, 5.9, 0.2]])
    assert neckline("vneck", front)[0] < neckline("crew", front)[0]
    assert neckline("vneck", side)[0] == pytest.approx(neckline("crew", side)[0], abs=0.03)
    assert neckline("shirt", front, open_collar=True)[0] < neckline("shirt", front)[0]


def test_drape_follows_the_body(make_person, make_shot):
    head = build_scene(make_person(), make_shot(), (218, 178)).head
    drape = drape_of(head)
    angle = np.linspace(-np.pi, np.pi, 40)
    on_skin = drape.around(angle, np.full(40, 6.05), 0.0)
    distance = np.linalg.norm(on_skin[:, None] - head.vertices[None], axis=-1).min(1)
    assert distance.max() < 0.12  # the mesh's vertices on a neck are 0.2 apart
    lifted = drape.around(angle, np.full(40, 6.05), 0.1)
    np.testing.assert_allclose(np.linalg.norm(lifted - on_skin, axis=1), 0.1, rtol=1e-4)
