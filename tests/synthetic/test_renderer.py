"""Whole images: deterministic, complete, and true to their parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.parameters import Background, Camera, Expression, Light
from far_keras.synthetic.renderer import SIZE, render
from far_keras.synthetic.stage.background import KINDS


@pytest.fixture
def bald(make_person):
    return make_person(style="bald", brow_thickness=0.0)


def _center(regions, region):
    rows, columns = np.nonzero(regions == region)
    return columns.mean(), rows.mean()


def test_shapes_and_types(bald, make_shot):
    rendering = render(bald, make_shot())
    assert rendering.image.shape == (*SIZE, 3) and rendering.image.dtype == np.uint8
    assert rendering.regions.shape == SIZE and rendering.regions.dtype == np.uint8
    assert np.isin(rendering.regions, [int(region) for region in Region]).all()
    assert render(bald, make_shot(), size=(109, 89)).image.shape == (109, 89, 3)


@pytest.mark.parametrize("worn", [{"glasses": "round"}, {"hat": "brimmed"}, {"earrings": "drop"}])
def test_same_arguments_same_bytes(make_person, make_shot, worn):
    first, second = (render(make_person(style="bun"), make_shot(**worn)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.regions, second.regions)


def test_seed_changes_the_image_but_not_the_person(bald, make_shot, rendered):
    first, second = (rendered(bald, make_shot(seed=s)) for s in (3, 4))
    assert (first.image != second.image).any()
    face = (first.regions == Region.SKIN) & (second.regions == Region.SKIN)
    change = np.abs(first.image.astype(int) - second.image)[face].mean()
    assert change < 12  # the aligning detector's jitter moves edges by up to a pixel


def test_frontal_bald_head_shows_every_part(bald, make_shot, rendered):
    regions = rendered(bald, make_shot()).regions
    least = {
        Region.SKIN: 6000,
        Region.NECK: 600,
        Region.NOSE: 400,
        Region.LIPS: 150,
        Region.EYE: 120,
        Region.EAR: 200,
        Region.BACKGROUND: 8000,
        Region.CLOTHING: 500,
    }
    for region, pixels in least.items():
        assert (regions == region).sum() > pixels, region.name
    for region in (Region.GLASSES, Region.HAT, Region.NECKTIE, Region.EARRING, Region.BEARD):
        assert not (regions == region).any(), region.name


def test_parts_are_where_they_belong(bald, make_shot, rendered):
    regions = rendered(bald, make_shot()).regions
    x, y = _center(regions, Region.EYE)
    assert x == pytest.approx(89, abs=2) and y == pytest.approx(111, abs=3)
    nose, lips = _center(regions, Region.NOSE), _center(regions, Region.LIPS)
    assert abs(nose[0] - 89) < 2 and abs(lips[0] - 89) < 2
    assert 115 < nose[1] < 140 < lips[1] < 165
    ears = np.nonzero(regions == Region.EAR)[1]
    assert (ears < 60).any() and (ears > 118).any()


def test_turned_head_hides_the_far_ear(bald, make_shot, rendered):
    ears = np.nonzero(rendered(bald, make_shot(yaw=30)).regions == Region.EAR)[1]
    # Facing the image's right, the ear at the image's left is towards us.
    assert (ears < 89).sum() > 8 * max((ears > 89).sum(), 1)


def test_smile_moves_the_mouth_corners_up(bald, make_shot, rendered):
    def corners(expression):
        lips = rendered(bald, replace(make_shot(), expression=expression)).regions == Region.LIPS
        columns = np.nonzero(lips.any(0))[0]
        ends = [np.nonzero(lips[:, c])[0].mean() for c in (columns[1], columns[-2])]
        middle = np.nonzero(lips[:, 88:91].any(1))[0].mean()
        return np.mean(ends) - middle, np.ptp(columns)

    neutral, smiling = corners(Expression()), corners(Expression(smile=1.0))
    assert smiling[0] < neutral[0] - 1.0  # higher against the lips' middle, in pixels
    assert smiling[1] > neutral[1] + 2  # and farther apart


def test_open_mouth_shows_its_inside(bald, make_shot, rendered):
    closed = rendered(bald, make_shot()).regions == Region.MOUTH_INSIDE
    shot = replace(make_shot(), expression=Expression(jaw_open=0.5))
    opened = rendered(bald, shot).regions == Region.MOUTH_INSIDE
    assert opened.sum() > 80 + closed.sum()


def test_a_grin_bares_bright_teeth(bald, make_shot, rendered):
    shot = replace(make_shot(), expression=Expression(smile=0.9, grin=0.9, jaw_open=0.1))
    yellow, white = (
        rendered(replace(bald, skin=replace(bald.skin, teeth=teeth)), shot) for teeth in (0.0, 1.0)
    )
    inside = white.regions == Region.MOUTH_INSIDE
    assert inside.sum() > 40
    skin = white.image[white.regions == Region.SKIN].mean()
    assert np.quantile(white.image[inside].mean(1), 0.8) > 0.85 * skin
    blue = [rendering.image[inside][:, 2].mean() for rendering in (yellow, white)]
    assert blue[1] > blue[0] + 15


def test_lids_follow_a_lowered_gaze(bald, make_shot, rendered):
    def eye(upward):
        shot = replace(make_shot(), expression=Expression(gaze=(0.0, upward)))
        return (rendered(bald, shot).regions == Region.EYE).sum()

    assert eye(-20.0) < 0.8 * eye(0.0)


def test_blink_closes_the_eyes(bald, make_shot, rendered):
    def eye(blink):
        shot = replace(make_shot(), expression=Expression(blink=blink))
        return (rendered(bald, shot).regions == Region.EYE).sum()

    assert eye(1.0) < 0.5 * eye(0.0)


def test_key_light_lights_its_side(bald, make_shot, rendered):
    def balance(x):
        light = Light(key_direction=(x, 0.3, 0.6))
        image = rendered(bald, replace(make_shot(), light=light)).image.astype(float)
        return image[120:150, 100:125].mean() - image[120:150, 53:78].mean()

    assert balance(0.8) > 15 and balance(-0.8) < -15


def test_camera_marks(bald, make_shot, rendered):
    def image(**camera):
        return rendered(bald, replace(make_shot(), camera=Camera(**camera))).image.astype(float)

    plain, forehead = image(), (slice(70, 84), slice(75, 103))
    assert image(exposure=0.5)[forehead].mean() < 0.85 * plain[forehead].mean()
    warm, cool = image(white_balance=1.0)[forehead], image(white_balance=-1.0)[forehead]
    assert warm[..., 0].mean() > cool[..., 0].mean() and warm[..., 2].mean() < cool[..., 2].mean()
    assert (
        np.abs(np.diff(image(noise=0.04)[forehead], axis=1)).mean()
        > 2 * np.abs(np.diff(plain[forehead], axis=1)).mean()
    )
    assert (
        np.abs(np.diff(image(blur=3.0), axis=1)).mean()
        < 0.6 * np.abs(np.diff(plain, axis=1)).mean()
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_backgrounds_are_not_flat_and_vary(bald, make_shot, kind, rendered):
    corners = []
    for seed in (1, 2):
        rendering = rendered(bald, replace(make_shot(seed=seed), background=Background(kind)))
        empty = rendering.regions == Region.BACKGROUND
        corners.append(rendering.image[:60, :40].astype(float))
        assert rendering.image[empty].std(0).max() > 2
    assert np.abs(corners[0] - corners[1]).mean() > 5
