from __future__ import annotations

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.stage.scene import build_scene
from far_keras.synthetic.worn.jewellery import draw_earrings, draw_necklace

EARRINGS = ("stud", "hoop", "drop", "long", "chandelier")
GARMENTS = ("crew", "vneck", "shirt", "turtleneck", "straps")
NECKLACES = ("chain", "pendant", "beads", "choker", "cord", "layered", "statement")


def _count(regions, region):
    return int((regions == region).sum())


@pytest.mark.parametrize("kind", EARRINGS)
def test_earrings_hang_from_both_lobes(kind, make_person, make_shot, regions_of):
    regions = regions_of(make_person(style="bun"), make_shot(earrings=kind))
    rows, columns = np.nonzero(regions == Region.EARRING)
    for side in (columns < 89, columns >= 89):
        assert side.sum() >= 6
    lowest = 200 if kind in ("long", "chandelier") else 190
    assert rows.min() > 115 and rows.max() < lowest
    assert (np.abs(columns - 88.5) > 30).all()


def test_long_hair_hides_earrings(make_person, make_shot, regions_of):
    seen = {
        style: sum(
            _count(
                regions_of(
                    make_person(style=style, seed=seed, volume=0.7), make_shot(earrings="stud")
                ),
                Region.EARRING,
            )
            for seed in range(4)
        )
        for style in ("bun", "long")
    }
    assert seen["long"] < 0.5 * seen["bun"]


def test_what_is_nearer_hides_jewellery(make_person, make_shot):
    scene = build_scene(make_person(), make_shot(earrings="hoop", necklace="beads"), (218, 178))
    scene.framebuffer.depth[:] = 1.0
    draw_earrings(scene)
    draw_necklace(scene)
    assert (scene.framebuffer.region == Region.BACKGROUND).all()


@pytest.mark.parametrize(
    ("kind", "clothing"),
    [  # every kind and every garment in the fast tests, all pairs in the slow ones
        pytest.param(kind, clothing, marks=[] if i % len(GARMENTS) == j else pytest.mark.slow)
        for i, kind in enumerate(NECKLACES)
        for j, clothing in enumerate(GARMENTS)
    ],
)
def test_necklaces_lie_below_the_chin(kind, clothing, make_person, make_shot, regions_of):
    regions = regions_of(make_person(style="bun"), make_shot(necklace=kind, clothing=clothing))
    rows, columns = np.nonzero(regions == Region.NECKLACE)
    assert len(rows) >= 15
    assert rows.min() > 150
    assert columns.min() < 88 < columns.max()


def test_beads_cover_more_than_a_chain(make_person, make_shot, regions_of):
    chain, beads = (
        _count(regions_of(make_person(style="bun"), make_shot(necklace=kind)), Region.NECKLACE)
        for kind in ("chain", "beads")
    )
    assert beads > chain


def test_size_makes_earrings_larger_and_layers_cover_more(make_person, make_shot, regions_of):
    def covered(region, **worn):
        return _count(regions_of(make_person(style="bun"), make_shot(**worn)), region)

    small, large = (covered(Region.EARRING, earrings="hoop", earring_size=s) for s in (0.1, 0.9))
    assert large > 1.5 * small
    one, many = (
        covered(Region.NECKLACE, necklace=kind, clothing="strapless")
        for kind in ("chain", "layered")
    )
    assert many > 1.2 * one


def test_nothing_worn_nothing_drawn(make_person, make_shot, regions_of):
    regions = regions_of(make_person(style="bun"), make_shot())
    assert _count(regions, Region.EARRING) == _count(regions, Region.NECKLACE) == 0
