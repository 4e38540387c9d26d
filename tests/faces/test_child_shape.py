import numpy as np
import pytest

from far_keras.faces.child_shape import ChildShape, align_shapes


@pytest.fixture(scope="module")
def child_shape():
    return ChildShape.load()


@pytest.fixture(scope="module")
def landmarks(landmarker, render_face):
    (face,) = landmarker.detect(render_face(3).image)
    return face


def turned(points, seed=0):
    """Turned in space by any angle, moved and made larger."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    return points @ rotation * 3.7 + rng.normal(size=3) * 100


@pytest.mark.parametrize("seed", range(3))
def test_place_size_and_pose_do_not_count(child_shape, landmarks, seed):
    expected = child_shape.log_odds(landmarks[None])
    np.testing.assert_allclose(
        child_shape.log_odds(turned(landmarks.astype(float), seed)[None]), expected, atol=1e-6
    )


def test_shape_counts_and_a_mirror_image_is_another(child_shape, landmarks):
    points = landmarks.astype(float)
    expected = child_shape.log_odds(points[None])[0]
    assert abs(child_shape.log_odds((points * [1, 1.1, 1])[None])[0] - expected) > 0.5
    aligned = align_shapes((points * [-1, 1, 1])[None], child_shape.mean)[0]
    assert np.linalg.norm(aligned - child_shape.mean) > 0.5  # not turned inside out to fit


def test_the_irises_do_not_count(child_shape, landmarks):
    looking = landmarks.copy()
    looking[468:] += 5
    assert child_shape(looking) == child_shape(landmarks)


def test_the_probability_grows_along_the_weights(child_shape):
    odds = []
    for step in (-0.01, 0.0, 0.01):
        shape = child_shape.mean + step * child_shape.weights / np.linalg.norm(child_shape.weights)
        face = np.concatenate([shape, np.zeros((10, 3))])
        odds.append(child_shape.log_odds(face[None])[0])
        assert child_shape(face) == pytest.approx(1 / (1 + np.exp(-odds[-1])))
    assert odds[0] < odds[1] < odds[2]


def test_a_written_one_is_read_again(child_shape, tmp_path):
    path = tmp_path / "other.npz"
    child_shape.save(path)
    other = ChildShape.load(path)
    for name in ("mean", "weights"):
        np.testing.assert_array_equal(getattr(other, name), getattr(child_shape, name))
    assert other.bias == child_shape.bias and ChildShape.load() is child_shape
