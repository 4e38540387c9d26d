import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.errors import AssetError, ImageError, SystemLibraryError
from far_keras.faces.alignment import eye_centers
from far_keras.faces.face_mesh import NUM_LANDMARKS
from far_keras.faces.landmarks import FaceLandmarker, create_task
from far_keras.faces.region_map import Region


def test_finds_a_face_in_an_aligned_crop(landmarker, render_face):
    rendering = render_face(1)
    (landmarks,) = landmarker.detect(rendering.image)
    assert landmarks.shape == (NUM_LANDMARKS, 3)
    assert landmarks.dtype == np.float32
    for center, columns in zip(eye_centers(landmarks), (slice(0, 89), slice(89, 178)), strict=True):
        y, x = np.nonzero(rendering.regions[:, columns] == Region.EYE)
        true_center = x.mean() + columns.start, y.mean()
        np.testing.assert_allclose(center, true_center, atol=2.5)  # of an eye of some 18 pixels


def test_depth_is_negative_towards_the_camera(landmarker, render_face):
    (landmarks,) = landmarker.detect(render_face(1).image)
    nose_tip, ears = landmarks[1, 2], landmarks[[234, 454], 2]
    assert (nose_tip < ears - 30).all()


def test_whole_numbers_are_pixel_centres(landmarker, render_face):
    # A point and its mirror image add up to width - 1. The model itself prefers one side by a
    # share of the face's width, so two sizes are compared: only the constant part counts.
    pairs = [(33, 263), (263, 33), (61, 291), (291, 61), (1, 1), (168, 168), (468, 473), (473, 468)]
    widths = np.array([132, 178, 267, 356, 534])
    constants = []
    for identity in range(1, 7):
        image = Image.fromarray(render_face(identity).image)
        sums = []
        for width in widths:
            array = np.asarray(image.resize((width, width * 218 // 178), Image.LANCZOS))
            (face,), (mirrored,) = (landmarker.detect(a) for a in (array, array[:, ::-1]))
            sums.append(np.mean([face[i, 0] + mirrored[j, 0] for i, j in pairs]))
        constants.append(np.polyfit(widths, np.array(sums) - widths, 1)[1])
    # One person's scatters by 0.3; were x counted from the pixel's edge, it would be 0.
    assert abs(np.mean(constants) + 1) < 0.4


@pytest.mark.parametrize("shape", [(218, 178, 3), (1, 1, 3), (1, 400, 3)])
def test_no_face(landmarker, shape):
    assert landmarker.detect(np.full(shape, 90, np.uint8)) == []


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9)), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)]
)
def test_other_arrays_are_refused(landmarker, image):
    with pytest.raises(ImageError, match="expected uint8 RGB"):
        landmarker.detect(image)


def test_several_faces(render_face):
    pair = np.concatenate([render_face(1).image, render_face(2).image], 1)
    with FaceLandmarker(max_faces=2) as landmarker:
        faces = landmarker.detect(pair)
    assert sorted(face[1, 0] > 178 for face in faces) == [False, True]


def test_closed_and_wrong_arguments(tmp_path):
    landmarker = FaceLandmarker()
    landmarker.close()
    landmarker.close()
    with pytest.raises(ValueError, match="closed"):
        landmarker.detect(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="max_faces"):
        FaceLandmarker(max_faces=0)
    with pytest.raises(ValueError, match="min_presence"):
        FaceLandmarker(min_presence=1.5)
    wrong = tmp_path / "wrong.task"
    wrong.write_bytes(b"not a model")
    with pytest.raises(AssetError, match=r"wrong\.task"):
        FaceLandmarker(wrong)


def test_cannot_be_pickled(landmarker):
    with pytest.raises((TypeError, ValueError, pickle.PicklingError, AttributeError)):
        pickle.dumps(landmarker)


def test_another_process_prints_nothing_and_does_not_import_tensorflow():
    code = (
        "import sys, numpy as np\n"
        "from far_keras.faces.detector import FaceDetector\n"
        "detector = FaceDetector()\n"
        "print(detector.find(np.zeros((50, 50, 3), np.uint8)), 'tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
    assert done.stderr == ""


@pytest.mark.parametrize("library", ["libGL.so.1", "libEGL.so.1"])
def test_a_missing_system_library_is_named(monkeypatch, library):
    # The message of the dynamic linker, as Python passes it on.
    message = f"{library}: cannot open shared object file: No such file or directory"

    def fail(*arguments, **options):
        raise OSError(message)

    from mediapipe.tasks.python import vision

    monkeypatch.setattr(vision.FaceLandmarker, "create_from_options", fail)
    with pytest.raises(SystemLibraryError) as caught:
        create_task("FaceLandmarker", find_asset(FACE_LANDMARKER))
    assert "apt-get install libegl1 libgles2 libgl1" in str(caught.value)
    assert str(caught.value).endswith(f"Missing here: {library}")
    assert isinstance(caught.value, ImportError)
