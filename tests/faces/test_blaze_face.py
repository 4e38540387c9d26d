import itertools
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.faces.blaze_face import BlazeFace, _blocks
from far_keras.faces.mediapipe_tasks import create_task, to_mediapipe_image


@pytest.fixture(scope="module")
def content():
    with zipfile.ZipFile(find_asset(FACE_LANDMARKER)) as bundle:
        return bundle.read("face_detector.tflite")


@pytest.fixture(scope="module")
def blaze_face(content):
    return BlazeFace(content)


@pytest.fixture(scope="module")
def face():
    """The astronaut's face in 128 x 128 pixels."""
    part = Image.fromarray(astronaut()).crop((130, 20, 330, 220))
    return np.asarray(part.resize((128, 128), Image.Resampling.BOX))


def test_it_finds_what_mediapipe_finds(blaze_face, content, face):
    task = create_task("FaceDetector", content)
    (hit,) = task.detect(to_mediapipe_image(face)).detections
    task.close()
    (row,) = blaze_face.detect(face)
    box = hit.bounding_box
    corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
    np.testing.assert_allclose(row[:4], corners, atol=2)  # cut to whole pixels, twice
    points = np.array([(point.x, point.y) for point in hit.keypoints]) * 128
    np.testing.assert_allclose(row[4:16].reshape(6, 2), points, atol=0.3)  # half precision inside
    assert row[16] == pytest.approx(hit.categories[0].score, abs=0.01)


@pytest.mark.parametrize("place", [(0, 0), (300, 40), (333, 500), (472, 700)])
def test_a_face_is_found_wherever_it_is(blaze_face, face, place):
    """Also across the border of blocks, which are 384 pixels wide."""
    small = np.asarray(Image.fromarray(face).resize((64, 64), Image.Resampling.BOX))
    (alone,) = blaze_face.detect(small)
    canvas = np.full((600, 800, 3), 120, np.uint8)
    top, left = place
    canvas[top : top + 64, left : left + 64] = small
    (row,) = blaze_face.detect(canvas)
    shift = np.array([left, top] * 8)
    # The surroundings are another grey than the black beside `small`.
    np.testing.assert_allclose(row[:16] - shift, alone[:16], atol=3)


def test_twelve_faces_are_twelve_detections(blaze_face, face):
    small = np.asarray(Image.fromarray(face).resize((64, 64), Image.Resampling.BOX))
    rows = blaze_face.detect(np.tile(small, (3, 4, 1)))
    assert len(rows) == 12
    assert (np.diff(rows[:, -1]) <= 0).all() and rows[:, -1].min() >= 0.5


def test_nothing_in_nothing(blaze_face):
    for shape in ((1, 1, 3), (3, 700, 3), (200, 200, 3)):
        assert blaze_face.detect(np.full(shape, 90, np.uint8)).shape == (0, 17)


def test_few_shapes_stay_prepared(blaze_face):
    for side in range(40, 900, 60):
        blaze_face.detect(np.zeros((side, 90, 3), np.uint8))
        blaze_face.detect(np.zeros((300, side, 3), np.uint8))
    assert len(blaze_face._interpreters) <= 16


@pytest.mark.parametrize("length", [1, 128, 384, 385, 448, 449, 546, 900, 2048])
def test_blocks_cover_all_and_overlap(length):
    blocks = _blocks(length)
    assert blocks[0][0] == 0 and sum(blocks[-1]) == length
    for (start, size), (following, _) in itertools.pairwise(blocks):
        assert start + size - following >= 64


def test_a_picture_is_looked_at_in_the_same_way_whatever_was_before(blaze_face, face):
    """The model's input is written in place: nothing of a larger image may stay in it."""
    first = blaze_face.detect(face[:100, :90])
    blaze_face.detect(np.full((128, 128, 3), 255, np.uint8))
    np.testing.assert_array_equal(blaze_face.detect(face[:100, :90]), first)
