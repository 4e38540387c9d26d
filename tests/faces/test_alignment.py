import math

import numpy as np
import pytest
from PIL import Image
from skimage import data

from far_keras.faces.alignment import ALIGNED_EYES, AlignedFace, align, eye_centers
from far_keras.faces.face_mesh import NUM_LANDMARKS


def landmarks_with_eyes(left, right):
    """All points of an eye in its centre: only the eyes matter to alignment."""
    from far_keras.faces import alignment

    points = np.zeros((NUM_LANDMARKS, 3), np.float32)
    points[list(alignment.LEFT_EYE), :2] = left
    points[list(alignment.RIGHT_EYE), :2] = right
    points[:, 2] = 5
    return points


def spots(size, centers, radius):
    """Black image (H, W) with a white Gaussian spot at each of `centers`."""
    y, x = np.mgrid[: size[0], : size[1]]
    image = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2)) for cx, cy in centers)
    return np.repeat((image * 255).round().astype(np.uint8)[..., None], 3, -1)


def spot_center(image, near, radius=15):
    x0, y0 = (round(c) - radius for c in near)
    part = image[y0 : y0 + 2 * radius + 1, x0 : x0 + 2 * radius + 1, 0].astype(float)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]]
    return np.array([(x * part).sum(), (y * part).sum()]) / part.sum() + (x0, y0)


@pytest.mark.parametrize("distance", [20, 39, 60, 100, 300, 700])
@pytest.mark.parametrize("roll", [0, 17, -40, 90, 180])
def test_eyes_land_where_celeba_has_them(distance, roll):
    turn = distance / 2 * np.array([math.cos(math.radians(roll)), math.sin(math.radians(roll))])
    center = np.array([620.3, 540.8])
    eyes = center - turn, center + turn
    photograph = spots((1100, 1200), eyes, radius=distance / 16)
    aligned = align(photograph, landmarks_with_eyes(*eyes))
    assert aligned.image.shape == (218, 178, 3)
    assert aligned.image.dtype == np.uint8
    for eye in ALIGNED_EYES:
        # Pixels are sampled to well below a tenth; 8 bits and the spot's tail blur the centroid.
        np.testing.assert_allclose(spot_center(aligned.image, eye), eye, atol=0.1)


def test_landmarks_move_with_the_image():
    landmarks = landmarks_with_eyes((100, 200), (178, 200))  # twice CelebA's eye distance
    landmarks[1] = 139, 250, -40
    aligned = align(np.zeros((400, 300, 3), np.uint8), landmarks)
    np.testing.assert_allclose(eye_centers(aligned.landmarks), ALIGNED_EYES, atol=1e-4)
    np.testing.assert_allclose(aligned.landmarks[1], (89, 136, -20), atol=1e-4)


def test_matrix_takes_points_of_the_photograph_to_the_aligned_image():
    landmarks = landmarks_with_eyes((310.5, 220), (250, 290))
    landmarks[:, :2] += np.random.default_rng(0).normal(0, 30, (NUM_LANDMARKS, 2))
    aligned = align(np.zeros((500, 500, 3), np.uint8), landmarks)
    moved = landmarks[:, :2] @ aligned.matrix[:, :2].T + aligned.matrix[:, 2]
    np.testing.assert_allclose(aligned.landmarks[:, :2], moved, atol=1e-3)  # float32
    rotation = aligned.matrix[:, :2]
    np.testing.assert_allclose(
        rotation @ rotation.T, np.linalg.det(rotation) * np.eye(2), atol=1e-12
    )


def test_an_image_in_the_frame_stays_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (218, 178, 3), np.uint8)
    aligned = align(image, landmarks_with_eyes(*ALIGNED_EYES))
    np.testing.assert_array_equal(aligned.image, image)
    assert not np.shares_memory(aligned.image, image)


def test_beyond_the_photograph_its_border_is_repeated():
    image = np.full((60, 50, 3), 200, np.uint8)
    image[:, 25:] = 60
    aligned = align(image, landmarks_with_eyes((15, 30), (35, 30)))  # the frame is wider
    assert aligned.image.min() > 30  # no black padding; bicubic sampling overshoots at the edge
    assert (aligned.image[:, :50] == 200).all()
    assert (aligned.image[:, -50:] == 60).all()


def test_scaling_down_averages():
    checkers = (np.indices((1200, 1200)).sum(0) % 2 * 255).astype(np.uint8)
    image = np.repeat(checkers[..., None], 3, -1)
    aligned = align(image, landmarks_with_eyes((500, 600), (700, 610)))
    # Fine black and white becomes grey; single samples would give patterns of up to 0 and 255.
    assert np.abs(aligned.image.astype(int) - 127).max() < 20


def test_real_photograph(landmarker):
    photograph = data.astronaut()
    aligned = align(photograph, landmarker.detect(photograph)[0])
    assert isinstance(aligned, AlignedFace)
    (found,) = landmarker.detect(aligned.image)
    np.testing.assert_allclose(
        eye_centers(found), ALIGNED_EYES, atol=1.0
    )  # the model's own scatter


@pytest.mark.parametrize("size", [(300, 400), (3000, 4000)])
def test_tiny_and_huge_faces_give_one_size(size):
    photograph = np.asarray(Image.effect_noise(size[::-1], 60).convert("RGB"))
    for distance in (3, 0.9 * size[1]):
        middle = np.array(size[::-1]) / 2
        half = np.array([distance / 2, 0])
        eyes = middle - half, middle + half
        assert align(photograph, landmarks_with_eyes(*eyes)).image.shape == (218, 178, 3)


def test_impossible_landmarks():
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(ValueError, match="two eyes in different places"):
        align(image, landmarks_with_eyes((9, 9), (9, 9)))
    with pytest.raises(ValueError, match=r"expected shape \(478, 2\)"):
        align(image, np.zeros((468, 3)))
