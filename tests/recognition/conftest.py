"""Shared by all tests of recognition: one small untrained network, whose predictions are noise."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from far_keras.calibration import Calibration
from far_keras.export.tflite import export_tflite
from far_keras.faces.alignment import align
from far_keras.faces.child_shape import ChildShape
from far_keras.faces.detector import FaceDetector
from far_keras.models.storage import load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import CELEBA

FRAMES, RATE = 24, 12.0
LEFT, SECOND = 40, 330  # where the two stand at first


def frame(number):
    """Frame of 480 x 240: uint8 RGB."""
    image = np.full((240, 480, 3), 80, np.uint8)
    x = LEFT + 2 * number
    image[:, x : x + 220] = astronaut()[10:250, 120:340]
    if number < FRAMES // 2:
        small = cv2.resize(astronaut()[10:250, 340:120:-1], (110, 120))
        image[100:220, SECOND : SECOND + 110] = small
    return image


def write(path, frames, rate=RATE, codec="MJPG"):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    for image in frames:
        writer.write(np.ascontiguousarray(image[:, :, ::-1]))
    writer.release()
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """An untrained model, calibrated so that a plain sigmoid would be noticed."""
    config = ModelConfig("mgmtn_efficientnetlite0", {"image_size": 64})
    scaling = {name: (0.5 + k / 40, k / 10 - 2) for k, name in enumerate(CELEBA.attributes)}
    return save_model(
        build_model(config),
        tmp_path_factory.mktemp("models") / "noise",
        config=config,
        schema=CELEBA,
        thresholds={name: 0.05 + k / 45 for k, name in enumerate(CELEBA.attributes)},
        calibration=Calibration(scaling),
        provenance={"untrained": ["Attractive"]},
    )


@pytest.fixture(scope="session")
def tflite(model_folder, tmp_path_factory):
    """The same model as a .tflite file, which loads fast and without TensorFlow."""
    files = export_tflite(model_folder, tmp_path_factory.mktemp("phone"), precisions=["float32"])
    return files["float32"]


@pytest.fixture(scope="session")
def celeba_model(model_folder):
    return load_model(model_folder)


@pytest.fixture(scope="session")
def noise_recognizer(tflite):
    with Recognizer.load(tflite) as recognizer:
        yield recognizer


@pytest.fixture(scope="session")
def found_face():
    """The astronaut's, detected and aligned."""
    image = astronaut()
    with FaceDetector() as detector:
        (face,) = detector.find(image)
    return face, align(image, face.landmarks)


@pytest.fixture(scope="session")
def child(found_face):
    """The same image, with landmarks of a child's proportions."""
    face, aligned = found_face
    shape = ChildShape.load()
    direction = shape.weights / np.linalg.norm(shape.weights)
    points = np.concatenate([shape.mean + 0.05 * direction, np.zeros((10, 3))])
    return replace(face, landmarks=100 * points), aligned


@pytest.fixture
def photographs(tmp_path):
    """A folder with the astronaut, mirrored too, no face, and a broken file."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    small = Image.fromarray(astronaut()[:300, 80:380])
    small.save(folder / "a.png")
    small.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "b.jpg", quality=95)
    (folder / "broken.jpg").write_bytes((folder / "b.jpg").read_bytes()[:5000])
    Image.new("RGB", (200, 200), (90, 90, 90)).save(folder / "nobody.png")
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A short video: a person who moves to and fro, and one who leaves half-way."""
    path = tmp_path_factory.mktemp("videos") / "clip.avi"
    return write(path, [frame(number) for number in range(FRAMES)])
