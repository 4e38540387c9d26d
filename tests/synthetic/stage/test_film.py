"""The camera's marks on a plain image of light whose result is known, and the photograph's edge."""

from __future__ import annotations

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.labels import visible_labels
from far_keras.synthetic.parameters import Border, Camera, Finish, Shot
from far_keras.synthetic.people.staging import draw_staging
from far_keras.synthetic.stage.film import add_border, develop

SIZE = (218, 178)


def developed(light, camera=None, finish=None):
    shot = Shot(seed=0, camera=camera or Camera(), finish=finish or Finish())
    return develop(light.astype(np.float32), shot, np.random.default_rng(0)).astype(float)


def flat(*color):
    return np.broadcast_to(np.array(color), (*SIZE, 3))


def point():
    light = np.zeros((*SIZE, 3))
    light[109, 89] = 40
    return light


def deviation(image, axis):
    """Of a blurred point, in linear light; `axis` 0 counts rows."""
    weights = ((image / 255) ** 2.2).sum((1 - axis, 2))
    at = np.arange(len(weights)) - (weights * np.arange(len(weights))).sum() / weights.sum()
    return np.sqrt((weights * at**2).sum() / weights.sum())


def test_motion_blurs_along_its_direction_as_far_as_it_says():
    moved = developed(point(), Camera(motion=12, motion_angle=0))
    assert deviation(moved, 1) == pytest.approx(Camera(motion=12).spread, rel=0.15)
    assert deviation(moved, 0) < 0.8


@pytest.mark.parametrize("spread", [0.4, 1.2, 2.4])
def test_all_ways_of_blurring_are_drawn_with_the_spread_that_is_wanted(spread):
    rng = np.random.default_rng(1)
    cameras = [draw_staging(rng, spread, frozenset()).camera for _ in range(40)]
    assert {camera.blur > 0 for camera in cameras} == {True, False}
    assert {camera.motion > 0 for camera in cameras} == {True, False}
    assert {camera.resolution < 1 for camera in cameras} == {True, False}
    for camera in cameras:
        assert camera.spread == pytest.approx(spread)


def test_blurry_is_what_blurs_whatever_the_cause(make_person):
    def label(**camera):
        shot = Shot(seed=0, camera=Camera(**camera))
        names = visible_labels(make_person(), shot, np.zeros(SIZE, np.uint8))
        return names[10]  # Blurry in CelebA's order

    assert label() == 0 and label(resolution=0.9) == 0 and label(motion=2) == 0
    assert label(motion=9) == 1 and label(resolution=0.2) == 1 and label(blur=2) == 1
    assert label(motion=4) == -1 and label(resolution=0.4) == -1


def test_few_pixels_lose_fine_detail_and_keep_coarse():
    rows = np.arange(SIZE[0])[:, None, None]
    fine = np.broadcast_to(0.3 + 0.2 * (rows % 4 < 2), (*SIZE, 3))
    coarse = np.broadcast_to(0.3 + 0.2 * (rows % 80 < 40), (*SIZE, 3))
    small = Camera(resolution=0.25)
    assert developed(fine, small).std() < 0.2 * developed(fine).std()
    assert developed(coarse, small).std() > 0.9 * developed(coarse).std()


def test_finish_changes_colour_contrast_and_corners():
    red = flat(0.5, 0.2, 0.1)
    gray = developed(red, finish=Finish(saturation=0))
    assert np.ptp(gray[109, 89]) <= 1
    brown = developed(red, finish=Finish(saturation=0, toning=1.0))[109, 89]
    assert brown[0] > brown[1] > brown[2]
    vivid = developed(red, finish=Finish(saturation=1.4))[109, 89]
    assert np.ptp(vivid) > 1.3 * np.ptp(developed(red)[109, 89])
    steps = np.linspace(0.02, 0.7, SIZE[1])[None, :, None] * np.ones((*SIZE, 3))
    assert developed(steps, finish=Finish(contrast=1.4)).std() > 1.1 * developed(steps).std()
    assert developed(steps, finish=Finish(contrast=0.8)).std() < 0.95 * developed(steps).std()
    dark = developed(red, finish=Finish(vignette=0.7))
    assert dark[0, 0].sum() < 0.8 * dark[109, 89].sum()
    assert developed(0 * red, finish=Finish(fade=0.2)).min() > 30


@pytest.mark.parametrize("contrast", [0.8, 1.35, 1.9])
def test_contrast_keeps_black_white_and_the_order_between(contrast):
    steps = np.clip(np.linspace(-0.2, 3, SIZE[1]), 0, None)[None, :, None] * np.ones((*SIZE, 3))
    row = developed(steps, finish=Finish(contrast=contrast))[109, :, 1].astype(int)
    assert row[0] <= 1 and row[-1] >= 254
    assert np.diff(row).min() >= 0


def test_noise_is_finer_than_the_image_and_differs_from_pixel_to_pixel():
    noisy = developed(flat(0.3, 0.3, 0.3), Camera(noise=0.04))
    assert 4 < noisy.std() < 14
    assert developed(flat(0.3, 0.3, 0.3)).std() == 0


def bordered(border, roll=0.0):
    rows, columns = np.mgrid[:218, :178]
    image = np.stack([rows, columns, 0 * rows + 7], -1).astype(np.uint8)
    regions = np.full((218, 178), Region.SKIN, np.uint8)
    add_border(image, regions, Shot(seed=0, border=border, camera=Camera(roll=roll)))
    return image, regions


def test_nothing_changes_without_a_border():
    image, regions = bordered(None)
    assert (image[100, 50] == (100, 50, 7)).all() and (regions == Region.SKIN).all()


@pytest.mark.parametrize(
    ("fill", "row", "shown"), [("repeated", 5, 30), ("mirrored", 5, 54), ("blank", 5, 0)]
)
def test_what_lies_beyond_the_upper_edge(fill, row, shown):
    image, regions = bordered(Border(fill, top=30))
    assert abs(int(image[row, 60, 0]) - shown) <= 1
    assert (regions[:30] == Region.OCCLUDER).all() and (regions[31:] == Region.SKIN).all()
    assert (image[40, 60] == (40, 60, 7)).all()


def test_the_edge_is_turned_as_the_head_was():
    _, level = bordered(Border("blank", left=40))
    _, turned = bordered(Border("blank", left=40), roll=15)
    assert np.ptp((level == Region.OCCLUDER).sum(1)) == 0
    assert np.ptp((turned == Region.OCCLUDER).sum(1)) > 30
