"""Head hair: each style covers the head and frees the face; hairline, waves, colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.face.anatomy import scalp_density
from far_keras.synthetic.hair.hair import draw_hair, grow_hair
from far_keras.synthetic.hair.strands import project_hairs, scalp_samples, strand_colors
from far_keras.synthetic.head.form import head_form
from far_keras.synthetic.parameters import Hair
from far_keras.synthetic.stage.scene import build_scene

STYLES = ("buzzed", "short", "medium", "long", "bun", "ponytail", "updo", "afro")
FOREHEAD = (slice(72, 86), slice(74, 104))  # rows, columns of an aligned face


def _hair_in(regions, box):
    return (regions[box] == Region.HAIR).mean()


def test_bald_people_have_no_hair(make_person, make_shot, regions_of):
    regions = regions_of(make_person(male=True, style="bald", bangs=1.0), make_shot())
    assert not (regions == Region.HAIR).any()


@pytest.mark.parametrize(
    ("style", "male"), [*((style, False) for style in STYLES), ("short", True), ("medium", True)]
)
def test_every_style_covers_the_head_and_leaves_the_face(
    style, male, make_person, make_shot, regions_of
):
    regions = regions_of(make_person(male=male, style=style), make_shot())
    assert (regions == Region.HAIR).sum() > 500
    face = (slice(100, 160), slice(69, 109))
    assert _hair_in(regions, face) < 0.03


def test_bangs_cover_the_forehead(make_person, make_shot, regions_of):
    covered = {
        bangs: _hair_in(regions_of(make_person(style="long", bangs=bangs), make_shot()), FOREHEAD)
        for bangs in (0.0, 1.0)
    }
    assert covered[1.0] > 0.6
    assert covered[0.0] < 0.15


def test_long_hair_hangs_below_the_chin(make_person, make_shot, regions_of):
    below = {
        style: (regions_of(make_person(style=style), make_shot())[190:] == Region.HAIR).sum()
        for style in ("short", "long")
    }
    assert below["short"] == 0
    assert below["long"] > 300


def test_a_receding_hairline_bares_the_temples():
    samples = scalp_samples()
    temple = np.abs(np.abs(samples.rest[:, 0]) - 0.45) < 0.1
    temple &= (samples.rest[:, 1] > 8.0) & (samples.rest[:, 2] > 0.95)
    hair = Hair("short", (0, 0, 0), 0, 0, 0, 0, 0.5, 0, 0.5, 0, (0, 0, 0))
    full = scalp_density(samples.rest, hair, True)
    receded = scalp_density(samples.rest, replace(hair, receding=0.8), True)
    assert temple.sum() > 50
    assert full[temple].mean() > 0.5
    assert receded[temple].mean() < 0.2
    assert (receded <= full + 1e-9).all()
    # Soft: one sample in twenty of the whole scalp is neither bare nor full.
    assert ((full > 0.05) & (full < 0.95)).mean() > 0.05


def test_a_high_forehead_is_bare_and_round():
    samples = scalp_samples()
    hair = Hair("bun", (0, 0, 0), 0, 0, 0, 0, 0.5, 0, 0.5, 0, (0, 0, 0))
    rest = samples.rest
    front = (np.abs(rest[:, 0]) < 0.3) & (rest[:, 1] > 7.95) & (rest[:, 1] < 8.1)
    low, high = (
        scalp_density(rest, replace(hair, hairline=line), False)[front].mean() for line in (-1, 1)
    )
    assert high < low - 0.15
    top = rest[:, 1] > 8.3
    thin = scalp_density(rest, replace(hair, thinning=1.0), False)
    assert thin[top].mean() < 0.3 * scalp_density(rest, hair, False)[top].mean()


def test_tips_and_loose_strands_show(make_person, make_shot, rendered):
    def long_haired(**hair):
        return rendered(make_person(style="long", **hair), make_shot())

    plain, faded = long_haired(), long_haired(tips=(0.7, 0.5, 0.3))
    rows = np.arange(218)[:, None] * np.ones((1, 178))
    for low, high, least in ((40, 80, -15), (170, 215, 15)):
        here = (plain.regions == Region.HAIR) & (rows > low) & (rows < high)
        change = faded.image[here].mean() - plain.image[here].mean()
        assert change > least and (least > 0 or change < 12)
    loose = long_haired(loose=1.0)
    assert (loose.regions != plain.regions).sum() > 30


def test_short_straight_hair_lies_on_the_head(make_person, make_shot):
    scene = build_scene(make_person(male=True, style="short"), make_shot(), (218, 178))
    points = grow_hair(scene)[0][0]
    form = head_form(scene.head.vertices)
    offset = points - form.center
    distance = np.linalg.norm(offset, axis=-1)
    height = distance - form.radius(offset / distance[..., None])
    # 3.2 cm: the thickest layer that a volume of 0.4 and a raised front allow.
    assert np.quantile(height, 0.99) < 0.32
    assert np.quantile(height, 0.01) > -0.06  # the form is smoothed


def test_hair_is_the_persons_own(make_person, make_shot):
    size = (218, 178)
    ann, bea = make_person(seed=5, style="long"), make_person(seed=6, style="long")
    first = grow_hair(build_scene(ann, make_shot(seed=1), size))[0][0]
    again = grow_hair(build_scene(ann, make_shot(seed=2), size))[0][0]
    other = grow_hair(build_scene(bea, make_shot(seed=1), size))[0][0]
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or np.abs(first - other).max() > 0.1


def test_waves_bend_hairs(make_person, make_shot):
    def bend(wave):
        scene = build_scene(make_person(style="long", wave=wave), make_shot(), (218, 178))
        steps = np.diff(grow_hair(scene)[0][0], axis=1)
        steps /= np.linalg.norm(steps, axis=-1, keepdims=True) + 1e-9
        cosine = (steps[:, 1:] * steps[:, :-1]).sum(-1)
        return np.arccos(np.clip(cosine[:, 6:], -1, 1)).mean()

    assert bend(0.02) < 0.6 * bend(0.4) < 0.6 * bend(0.9)


def test_hair_has_its_color(make_person, make_shot, rendered):
    def mean_color(color):
        rendering = rendered(make_person(style="long", color=color), make_shot())
        return rendering.image[rendering.regions == Region.HAIR].mean(0)

    black, blond = mean_color((0.006, 0.005, 0.005)), mean_color((0.6, 0.4, 0.2))
    assert black.mean() > 8  # not pure black
    assert blond.mean() > black.mean() + 60
    assert blond[0] > blond[2] + 20  # red over blue


def test_strands_vary_in_color():
    rng = np.random.default_rng(0)
    colors = strand_colors(np.array([0.1, 0.05, 0.03]), np.arange(2000) // 20, rng)
    assert 0.1 < colors[:, 0].std() / colors[:, 0].mean() < 0.4
    # Grey hair mixes dark and white strands.
    grey = strand_colors(np.array([0.4, 0.4, 0.4]), np.arange(2000) // 20, rng)
    assert grey[:, 0].std() / grey[:, 0].mean() > 1.3 * colors[:, 0].std() / colors[:, 0].mean()


def test_fast_projection_equals_the_scenes(make_person, make_shot):
    scene = build_scene(make_person(), make_shot(yaw=25.0), (218, 178))
    points = np.random.default_rng(0).normal([0, 6.8, 0.4], 0.8, (50, 9, 3))
    # 16 rotations are interpolated: a twentieth of a pixel.
    np.testing.assert_allclose(project_hairs(scene, points), scene.project(points), atol=0.06)


def test_drawing_twice_gives_the_same_image(make_person, make_shot):
    images = []
    for _ in range(2):
        scene = build_scene(make_person(style="medium", wave=0.4), make_shot(), (218, 178))
        draw_hair(scene)
        images.append(scene.framebuffer.color)
    np.testing.assert_array_equal(*images)
