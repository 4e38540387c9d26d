import numpy as np
import pytest
import tensorflow as tf

from far_keras.datasets import degradation
from far_keras.datasets.augmentation import Augmentation, augment
from far_keras.datasets.degradation import degrade

COUNT = 64
CHANGES = ("_GAMMA", "_CAST", "_GREY", "_BLUR", "_ERASING", "_NOISE", "_JPEG")
SEED = tf.constant([3, 4])


def pictures(size=32):
    """Smooth coloured images with a fine pattern."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size][:, None, :, :, None] / size
    slopes = rng.uniform(-25, 25, (2, COUNT, 1, 1, 3))
    pattern = 20 * (-1.0) ** np.arange(size)[:, None]
    images = rng.uniform(100, 150, (COUNT, 1, 1, 3)) + slopes[0] * y + slopes[1] * x + pattern
    return images.astype(np.float32)  # within 30 to 220


def only(monkeypatch, name):
    """Images before and after one change that all of them get."""
    for change in CHANGES:
        monkeypatch.setattr(degradation, change, float(change == name))
    before = pictures()
    after = degrade(tf.constant(before), SEED).numpy()
    assert after.shape == before.shape and after.min() >= 0 and after.max() <= 255
    return before, after


def test_gamma_and_colours_follow_their_definitions(monkeypatch):
    before, after = only(monkeypatch, "_GAMMA")
    gamma = np.log(after / 255) / np.log(before / 255)
    each = gamma.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(
        gamma, np.broadcast_to(each[:, None, None, None], gamma.shape), rtol=0.02
    )
    assert 1 / 1.7 <= each.min() < 0.7 and 1.4 < each.max() <= 1.7
    before, after = only(monkeypatch, "_CAST")
    factors = np.median(after / before, axis=(1, 2))
    np.testing.assert_allclose(after, np.minimum(before * factors[:, None, None], 255), rtol=1e-3)
    assert 0.8 <= factors.min() < 0.85 and 1.2 < factors.max() <= 1.25


def test_grey_keeps_the_luma(monkeypatch):
    before, after = only(monkeypatch, "_GREY")
    luma = before @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(after, np.repeat(luma[..., None], 3, axis=3), atol=1e-2)


def test_blur_removes_the_pattern_and_keeps_the_rest(monkeypatch):
    before, after = only(monkeypatch, "_BLUR")
    inner = slice(4, -4)
    waves = [np.abs(np.diff(image, axis=2)).mean(axis=(1, 2, 3)) for image in (before, after)]
    assert (waves[1] < waves[0]).all() and (waves[1] / waves[0]).min() < 0.2
    means = [image[:, inner].mean(axis=(1, 2)) for image in (before, after)]
    np.testing.assert_allclose(*means, atol=2)


def test_a_rectangle_of_one_colour_is_erased(monkeypatch):
    before, after = only(monkeypatch, "_ERASING")
    changed = np.abs(after - before).max(axis=3) > 0.5
    for image, where in zip(after, changed, strict=True):
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert np.ptp(box.reshape(-1, 3), axis=0).max() < 1.1  # all of it, and nothing else
        assert max(len(rows), len(columns)) <= 32 / 3 + 1
    assert 0.02 < changed.mean() < 0.08  # (0.1 to 1/3)^2: 4.7% on average


def test_noise_and_jpeg_leave_the_picture_and_not_its_pixels(monkeypatch):
    before, after = only(monkeypatch, "_NOISE")
    deviations = (after - before).std(axis=(1, 2, 3))
    assert deviations.min() < 3 and 13 < deviations.max() < 17
    before, after = only(monkeypatch, "_JPEG")
    errors = np.abs(after - before).mean(axis=(1, 2, 3))
    assert errors.min() > 0.3 and errors.max() < 25
    assert np.ptp(errors) > 1  # qualities differ


def test_each_change_comes_to_its_share_of_the_pictures(monkeypatch):
    for change in CHANGES:
        monkeypatch.setattr(degradation, change, 0.0)
    images = tf.constant(pictures())
    np.testing.assert_array_equal(degrade(images, SEED), images)
    monkeypatch.setattr(degradation, "_GREY", 0.25)
    changed = np.abs(degrade(images, SEED) - images).max(axis=(1, 2, 3)) > 0
    assert changed.mean() == pytest.approx(0.25, abs=0.2)  # 4 standard deviations


def test_strong_augmentation_is_decided_by_the_seed_and_leaves_masks_alone():
    images = pictures()
    masks = np.random.default_rng(0).uniform(0, 1, (COUNT, 8, 8, 2)).astype(np.float32)
    strong = Augmentation(strong=True)
    first, moved = augment(images, masks, SEED, strong)
    again, _ = augment(images, masks, SEED, strong)
    plain, expected = augment(images, masks, SEED)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(moved, expected)
    assert (np.abs(first - plain).max(axis=(1, 2, 3)) > 1).mean() > 0.8
