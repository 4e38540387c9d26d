import itertools
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage import data

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.errors import ImageError
from far_keras.faces.alignment import ALIGNED_EYES, eye_centers
from far_keras.faces.detector import BlazeFace, FaceDetector, _blocks
from far_keras.faces.landmarks import create_task, to_mediapipe_image


def paste(canvas, face, left, top, scale, turn=0.0):
    """Pastes a face; returns where its eyes then are, (2, 2)."""
    size = round(178 * scale), round(218 * scale)
    image = Image.fromarray(face).resize(size, Image.Resampling.LANCZOS)
    mask = Image.new("L", size, 255)
    turned, shape = (
        layer.rotate(turn, Image.Resampling.BILINEAR, expand=True) for layer in (image, mask)
    )
    canvas.paste(turned, (left, top), shape)
    angle = np.radians(-turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    from_center = np.array(ALIGNED_EYES) * scale - np.array(size) / 2
    return from_center @ rotation.T + np.array(turned.size) / 2 + (left, top)


def matches(faces, true_eyes, tolerance=0.35):
    """How many of `true_eyes` have a face whose eyes lie there, in shares of their distance."""
    count = 0
    for eyes in true_eyes:
        allowed = tolerance * np.linalg.norm(eyes[1] - eyes[0])
        count += any(np.abs(eye_centers(face.landmarks) - eyes).max() < allowed for face in faces)
    return count


@pytest.fixture(scope="module")
def group(render_face):
    """A wide image of twelve faces from 140 down to 28 pixels wide, some turned."""
    canvas = Image.new("RGB", (1500, 1000), (90, 110, 120))
    places = [
        (20, 20, 1.5, 0), (320, 40, 1.5, 12), (650, 30, 1.2, -15), (900, 20, 1.0, 25),
        (1120, 30, 0.8, 0), (1300, 40, 0.7, -8), (40, 420, 0.6, 10), (240, 480, 0.5, 0),
        (420, 520, 0.5, -20), (620, 500, 0.4, 5), (800, 480, 0.35, 0), (980, 500, 0.35, -10),
    ]  # fmt: skip
    eyes = [
        paste(canvas, render_face(1 + index % 6).image, left, top, scale, turn)
        for index, (left, top, scale, turn) in enumerate(places)
    ]
    return np.asarray(canvas), eyes


def test_every_face_of_a_group_once(detector, group):
    photograph, eyes = group
    faces = detector.find(photograph)
    assert matches(faces, eyes) == len(eyes)
    assert len(faces) == len(eyes)


def test_results_are_consistent_and_sorted(detector, group):
    photograph, _ = group
    faces = detector.find(photograph)
    areas = []
    for face in faces:
        assert face.landmarks.shape == (478, 3)
        assert face.box.shape == (4,)
        np.testing.assert_allclose(face.box[:2], face.landmarks[:, :2].min(0))
        np.testing.assert_allclose(face.box[2:], face.landmarks[:, :2].max(0))
        assert 0.5 <= face.confidence <= 1
        areas.append(np.prod(face.box[2:] - face.box[:2]))
    assert areas == sorted(areas, reverse=True)


def test_astronaut(detector):
    (face,) = detector.find(data.astronaut())
    # Marked by hand in the photograph, so to about a pixel.
    marked = [(204.4, 101.9), (247.1, 103.8)]
    np.testing.assert_allclose(eye_centers(face.landmarks), marked, atol=1.5)


@pytest.mark.parametrize("name", ["coffee", "rocket", "chelsea"])
def test_photographs_without_people(detector, name):
    assert detector.find(getattr(data, name)()) == []


@pytest.mark.parametrize("name", ["gravel", "colorwheel"])
@pytest.mark.parametrize("scale", [1, 2])
def test_textures_that_the_landmark_model_takes_for_faces(detector, name, scale):
    image = Image.fromarray(getattr(data, name)()).convert("RGB")
    assert (
        detector.find(np.asarray(image.resize((image.width * scale, image.height * scale)))) == []
    )


@pytest.mark.parametrize("scale", [1, 4])
def test_nothing_but_the_face_is_found_on_a_spacesuit(detector, scale):
    part = Image.fromarray(data.astronaut()).crop((50, 0, 390, 400))
    found = detector.find(np.asarray(part.resize((340 * scale, 400 * scale))))
    assert len(found) == 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 900, 3), (700, 2, 3), (30, 30, 3)])
def test_images_too_small_for_a_face(detector, shape):
    assert detector.find(np.full(shape, 128, np.uint8)) == []


def test_one_face_that_fills_the_image(detector, render_face):
    face = render_face(3).image[60:190, 20:158]
    large = np.asarray(Image.fromarray(face).resize((1380, 1300)))
    found = detector.find(large)
    assert len(found) == 1
    assert found[0].box[2] - found[0].box[0] > 600


def test_a_portrait_is_not_searched_for_passers_by(detector, render_face, monkeypatch):
    looked_at = []
    detect = detector._blaze_face.detect
    monkeypatch.setattr(
        detector._blaze_face,
        "detect",
        lambda image: looked_at.append(image.size // 3) or detect(image),
    )
    portrait = np.asarray(Image.fromarray(render_face(1).image).resize((1424, 1744)))
    assert len(detector.find(portrait)) == 1
    assert sum(looked_at) <= 25 * 128 * 128


def test_faces_are_followed_and_lost(detector):
    image = data.astronaut()
    faces = detector.find(image)
    moved = np.roll(image, (6, -10), axis=(0, 1))
    (followed,) = detector.follow(moved, faces)
    (found,) = detector.find(moved)
    np.testing.assert_allclose(followed.landmarks, found.landmarks, atol=3)
    assert detector.follow(np.full_like(image, 90), faces) == []
    assert detector.follow(image, []) == []
    # Two that follow the same face become one.
    assert len(detector.follow(image, faces * 2)) == 1


def test_face_at_the_border(detector, render_face):
    canvas = Image.new("RGB", (900, 700), (100, 90, 80))
    eyes = paste(canvas, render_face(2).image, -60, 200, 1.2)
    assert matches(detector.find(np.asarray(canvas)), [eyes]) == 1


def test_wrong_arguments():
    with pytest.raises(ValueError, match="min_size"):
        FaceDetector(min_size=0)
    detector = FaceDetector()
    with pytest.raises(ImageError, match="expected uint8 RGB"):
        detector.find(np.zeros((9, 9)))
    detector.close()
    detector.close()
    with pytest.raises(ValueError, match="closed"):
        detector.find(np.zeros((9, 9, 3), np.uint8))


# BlazeFace


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
    part = Image.fromarray(data.astronaut()).crop((130, 20, 330, 220))
    return np.asarray(part.resize((128, 128), Image.Resampling.BOX))


def test_blaze_face_finds_what_mediapipe_finds(blaze_face, content, face):
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
def test_blaze_face_finds_a_face_at_any_place(blaze_face, face, place):
    """Also across the border of blocks, which are 384 pixels wide."""
    small = np.asarray(Image.fromarray(face).resize((64, 64), Image.Resampling.BOX))
    (alone,) = blaze_face.detect(small)
    canvas = np.full((600, 800, 3), 120, np.uint8)
    top, left = place
    canvas[top : top + 64, left : left + 64] = small
    (row,) = blaze_face.detect(canvas)
    shift = np.array([left, top] * 8)
    # The surroundings are another grey than the black next to `small`.
    np.testing.assert_allclose(row[:16] - shift, alone[:16], atol=3)


def test_twelve_faces_are_twelve_detections(blaze_face, face):
    small = np.asarray(Image.fromarray(face).resize((64, 64), Image.Resampling.BOX))
    rows = blaze_face.detect(np.tile(small, (3, 4, 1)))
    assert len(rows) == 12
    assert (np.diff(rows[:, -1]) <= 0).all() and rows[:, -1].min() >= 0.5


def test_blaze_face_finds_nothing_in_uniform_images(blaze_face):
    for shape in ((1, 1, 3), (3, 700, 3), (200, 200, 3)):
        assert blaze_face.detect(np.full(shape, 90, np.uint8)).shape == (0, 17)


def test_few_interpreters_are_kept(blaze_face):
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


def test_detections_do_not_depend_on_previous_images(blaze_face, face):
    """The model's input is written in place: nothing of a larger image may remain."""
    first = blaze_face.detect(face[:100, :90])
    blaze_face.detect(np.full((128, 128, 3), 255, np.uint8))
    np.testing.assert_array_equal(blaze_face.detect(face[:100, :90]), first)
