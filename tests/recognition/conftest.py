"""An untrained network: what it answers is noise, where it looks and what is written is not."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from far_keras.faces.alignment import align
from far_keras.faces.child_shape import ChildShape
from far_keras.faces.detector import FaceDetector
from far_keras.models.storage import load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import CELEBA


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "noise"
    config = ModelConfig("mgmtn_efficientnetlite0", {"image_size": 64})
    return save_model(
        build_model(config),
        folder,
        config=config,
        schema=CELEBA,
        thresholds=dict.fromkeys(CELEBA.attributes, 0.5),
        provenance={"untrained": ["Attractive"]},
    )


@pytest.fixture(scope="session")
def celeba_model(model_folder):
    return load_model(model_folder)


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
    """A folder with the astronaut, mirrored too, nobody, and a broken file."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    small = Image.fromarray(astronaut()[:300, 80:380])
    small.save(folder / "a.png")
    small.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "b.jpg", quality=95)
    (folder / "broken.jpg").write_bytes((folder / "b.jpg").read_bytes()[:5000])
    Image.new("RGB", (200, 200), (90, 90, 90)).save(folder / "nobody.png")
    return folder
