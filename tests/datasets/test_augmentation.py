import numpy as np
import pytest
import tensorflow as tf
from skimage.color import rgb2yiq

from far_keras.datasets.augmentation import Augmentation, affine, augment, color_jitter

NONE = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
SEED = tf.constant([3, 4])


def random_batch(count=6, size=64, mask_size=16, groups=3, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 255, (count, size, size, 3)).astype(np.float32)
    masks = rng.uniform(0, 1, (count, mask_size, mask_size, groups)).astype(np.float32)
    return images, masks


def test_flip_mirrors_image_and_masks_exactly():
    images, masks = random_batch()
    amounts = Augmentation(1.0, *[0.0] * 7)
    moved_images, moved_masks = augment(images, masks, SEED, amounts)
    # The colour matrix rounds in float32: 2e-3 of 255 grey levels. The masks are copied.
    np.testing.assert_allclose(moved_images, images[:, :, ::-1], atol=2e-3)
    np.testing.assert_array_equal(moved_masks, masks[:, :, ::-1])


def test_flips_are_about_half():
    images, masks = random_batch(count=400, size=4, mask_size=2)
    moved, _ = augment(images, masks, SEED, Augmentation(0.5, *[0.0] * 7))
    mirrored = np.abs(moved - images[:, :, ::-1]).max(axis=(1, 2, 3)) < 0.01
    kept = np.abs(moved - images).max(axis=(1, 2, 3)) < 0.01
    assert (mirrored ^ kept).all()
    # Standard deviation of 400 draws: 0.025.
    assert mirrored.mean() == pytest.approx(0.5, abs=0.1)


def test_nothing_changes_with_all_amounts_at_zero():
    images, masks = random_batch()
    same_images, same_masks = augment(images, masks, SEED, NONE)
    np.testing.assert_allclose(same_images, images, atol=2e-3)
    np.testing.assert_array_equal(same_masks, masks)


def centre_of_mass(image):
    """Position (x, y) as parts of the width and height."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width] + 0.5
    return np.array([(x * image).sum() / width, (y * image).sum() / height]) / image.sum()


def test_a_dot_moves_alike_in_image_and_masks():
    count, size, mask_size = 32, 128, 32
    images = np.zeros((count, size, size, 3), np.float32)
    masks = np.zeros((count, mask_size, mask_size, 2), np.float32)
    images[:, 80:88, 40:48] = 255.0  # the same 8 x 8 pixels are 2 x 2 cells
    masks[:, 20:22, 10:12] = 1.0
    amounts = Augmentation(0.5, 10.0, 0.1, 0.05, 0.0, 0.0, 0.0, 0.0)
    moved_images, moved_masks = augment(images, masks, SEED, amounts)
    start = centre_of_mass(images[0, :, :, 0])
    travelled = 0.0
    for image, mask in zip(moved_images.numpy(), moved_masks.numpy(), strict=True):
        in_image = centre_of_mass(image[:, :, 0])
        # Bilinear reading of a dot of 2 x 2 cells shifts its centre by up to a tenth of a cell.
        np.testing.assert_allclose(centre_of_mass(mask[:, :, 0]), in_image, atol=0.15 / mask_size)
        travelled = max(travelled, np.abs(in_image - start).max())
    assert travelled > 0.05


def test_rotation_keeps_the_proportions_of_the_unsquashed_face():
    # A circle in CelebA's frame of 178 x 218 is an ellipse in the square; turned, it is the same.
    y, x = np.mgrid[:128, :128] + 0.5
    ellipse = np.hypot((x / 128 - 0.5) * 178, (y / 128 - 0.5) * 218) < 60
    image = np.repeat(ellipse[None, :, :, None], 3, axis=3).astype(np.float32) * 255
    masks = np.zeros((1, 1, 1, 0), np.float32)
    for seed in range(5):
        turned, _ = augment(
            image, masks, tf.constant([seed, 0]), Augmentation(0.0, 45.0, *[0.0] * 6)
        )
        changed = np.mean(np.abs(turned - image) > 128)
        assert changed < 0.01  # only pixels of the outline; a turned ellipse changes 6%


def test_affine_follows_its_definition():
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(1, 9, 7, 1)).astype(np.float32)
    matrix = np.eye(2, dtype=np.float32)[None]
    shift = np.array([[1 / 7, -2 / 9]], np.float32)  # one pixel right of, two above the position
    moved = affine(image, matrix, shift).numpy()[0, :, :, 0]
    np.testing.assert_allclose(moved[2:, :-1], image[0, :-2, 1:, 0], atol=1e-5)
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-5)  # the border is repeated


def test_missing_masks_stay_missing():
    images, masks = random_batch()
    masks[[1, 4]] = -1.0
    _, moved = augment(images, masks, SEED)
    assert (moved.numpy()[[1, 4]] == -1.0).all()
    others = moved.numpy()[[0, 2, 3, 5]]
    assert others.min() >= 0.0
    assert others.max() <= 1.0


def test_the_seed_decides():
    images, masks = random_batch()
    first = augment(images, masks, SEED)
    again = augment(images, masks, SEED)
    other = augment(images, masks, tf.constant([3, 5]))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert np.abs(first[0] - other[0]).max() > 10


def test_color_jitter_against_its_definition():
    rng = np.random.default_rng(1)
    image = rng.uniform(100, 150, (1, 5, 4, 3)).astype(np.float32)  # far from clipping
    jitter = lambda b, c, s, h: color_jitter(  # noqa: E731
        image, *(tf.constant([value], tf.float32) for value in (b, c, s, h))
    ).numpy()
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(jitter(7, 1, 1, 0), image + 7, atol=1e-3)
    mean = luma.mean()
    np.testing.assert_allclose(jitter(0, 1.2, 1, 0), mean + 1.2 * (image - mean), atol=1e-2)
    grey = luma[..., None] + 0.5 * (image - luma[..., None])
    np.testing.assert_allclose(jitter(0, 1, 0.5, 0), grey, atol=2e-2)
    before, after = rgb2yiq(image), rgb2yiq(jitter(0, 1, 1, 0.1))
    angles = np.angle((after[..., 1] + 1j * after[..., 2]) / (before[..., 1] + 1j * before[..., 2]))
    np.testing.assert_allclose(angles, 2 * np.pi * 0.1, atol=0.02)
    np.testing.assert_allclose(after[..., 0], before[..., 0], atol=0.05)


def test_colors_stay_in_range():
    images, masks = random_batch()
    moved, _ = augment(images, masks, SEED, Augmentation(brightness=0.9, contrast=0.9))
    assert moved.numpy().min() == 0.0
    assert moved.numpy().max() == 255.0
