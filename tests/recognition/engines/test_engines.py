"""All engines answer the same, and say what is wrong with what they are given."""

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from far_keras.errors import ModelError
from far_keras.export.saved_model import export_saved_model
from far_keras.faces.alignment import align
from far_keras.faces.detector import FaceDetector
from far_keras.models.calibration import Calibration
from far_keras.models.storage import load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.engines.opening import open_engine
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import CELEBA

SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained model, calibrated so that a plain sigmoid would be noticed."""
    config = ModelConfig("mgmtn_efficientnetlite0", {"image_size": SIZE})
    scaling = {name: (0.5 + k / 40, k / 10 - 2) for k, name in enumerate(CELEBA.attributes)}
    return save_model(
        build_model(config),
        tmp_path_factory.mktemp("models") / "noise",
        config=config,
        schema=CELEBA,
        thresholds={name: 0.05 + k / 45 for k, name in enumerate(CELEBA.attributes)},
        calibration=Calibration(scaling),
        provenance={"untaught": ["Attractive"]},
    )


@pytest.fixture(scope="module")
def saved_model(folder, tmp_path_factory):
    return export_saved_model(folder, tmp_path_factory.mktemp("exported") / "noise").parent


@pytest.fixture(scope="module")
def aligned(found_face):
    """Photographs of a face, as the network sees them."""
    image = astronaut()
    with FaceDetector() as detector:
        mirrored = image[:, ::-1].copy()
        (other,) = detector.find(mirrored)
    faces = [found_face[1].image, align(mirrored, other.landmarks).image]
    faces.append((faces[0] * 0.6).astype(np.uint8))
    resized = [Image.fromarray(f).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for f in faces]
    return np.stack([np.asarray(face) for face in resized])


def check_same(engine, reference, images, tolerance):
    """Probabilities and masks within `tolerance`, one by one and in a batch."""
    expected = reference(images)
    assert engine.description.schema == reference.description.schema
    assert dict(engine.description.thresholds) == pytest.approx(
        dict(reference.description.thresholds)
    )
    for batch in (images, images[:1]):
        answers = engine(batch)
        assert answers.probabilities.shape == (len(batch), 40)
        assert answers.probabilities.dtype == answers.masks.dtype == np.float32
        for name in ("probabilities", "masks"):
            wanted = getattr(expected, name)[: len(batch)]
            np.testing.assert_allclose(getattr(answers, name), wanted, atol=tolerance, rtol=0)


def test_a_model_folder_answers_calibrated_probabilities(folder, aligned):
    loaded = load_model(folder)
    logits = loaded.model.predict_on_batch(aligned.astype(np.float32))
    answers = open_engine(folder)(aligned)
    slope, offset = zip(*loaded.calibration.scaling.values(), strict=True)
    expected = 1 / (1 + np.exp(-(logits["attributes"] * slope + offset)))
    # Float32 sums in another order.
    np.testing.assert_allclose(answers.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(answers.masks, 1 / (1 + np.exp(-logits["masks"])), atol=1e-5)


def test_a_saved_model_answers_the_same(folder, saved_model, aligned):
    reference = open_engine(folder)
    for path in (saved_model, saved_model / "1"):
        check_same(open_engine(path), reference, aligned, 1e-4)


def test_the_recogniser_decides_alike_with_every_engine(folder, saved_model):
    results = []
    for model in (load_model(folder), folder, saved_model):
        with Recognizer.load(model, sensitive=True) as recognizer:
            results.append(recognizer(astronaut()))
            assert recognizer.untaught == ("Attractive",)
    (first,) = results[0].faces
    for result in results[1:]:
        (face,) = result.faces
        assert face.probabilities == pytest.approx(first.probabilities, abs=1e-4)
        margins = [abs(p - first.thresholds[n]) for n, p in first.probabilities.items()]
        assert min(margins) > 1e-4  # else decisions might differ rightly
        assert face.decisions == first.decisions and face.not_visible == first.not_visible
        np.testing.assert_array_equal(face.box, first.box)


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (None, "nothing of that name"),
        ({}, "an empty folder"),
        ({"notes.txt": "", "1": None}, r"a folder with 1, notes\.txt"),
        ("text", "another file"),
    ],
)
def test_what_is_no_model_is_refused(content, received, tmp_path):
    path = tmp_path / "model"
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        path.mkdir()
        for name, text in content.items():
            (path / name).mkdir() if text is None else (path / name).write_text(text)
    with pytest.raises(ModelError, match=rf"model: expected the folder .* Received: {received}"):
        Recognizer.load(path)


def test_another_object_is_refused():
    with pytest.raises(ModelError, match="an object of type dict"):
        Recognizer.load({})
