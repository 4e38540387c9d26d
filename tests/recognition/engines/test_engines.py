"""All engines answer the same, and say what is wrong with what they are given."""

import dataclasses
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.calibration import Calibration
from far_keras.errors import ModelError, RequestError, ServingError
from far_keras.export.saved_model import export_saved_model
from far_keras.export.tflite import export_tflite
from far_keras.faces.alignment import align
from far_keras.faces.detector import FaceDetector
from far_keras.models.storage import load_model, save_model
from far_keras.models.variants import ModelConfig, build_model, pretrained_folder
from far_keras.recognition.engines.opening import needs_tensorflow, open_engine
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import CELEBA, AttributeSchema, Group
from far_keras.serving.client import FarClient
from far_keras.serving.server.config import ServerConfig
from far_keras.serving.server.server import Server

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
        provenance={"untrained": ["Attractive"]},
    )


@pytest.fixture(scope="module")
def saved_model(folder, tmp_path_factory):
    return export_saved_model(folder, tmp_path_factory.mktemp("exported") / "noise").parent


@pytest.fixture(scope="module")
def tflite(folder, tmp_path_factory):
    files = export_tflite(folder, tmp_path_factory.mktemp("phone"), precisions=["float32"])
    return files["float32"]


@pytest.fixture(scope="module")
def server(saved_model):
    with Server(ServerConfig(models=saved_model.parent, port=0, poll_seconds=0)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with FarClient(server.address, "noise", timeout=60) as client:
        yield client


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


def test_a_tflite_file_answers_the_same(folder, tflite, aligned):
    check_same(open_engine(tflite), open_engine(folder), aligned, 1e-4)


def test_tensorflow_is_loaded_for_what_needs_it_alone(folder, saved_model, tflite, tmp_path):
    for source in (folder, str(folder), saved_model):
        assert needs_tensorflow(source)
    packaged = pretrained_folder()
    for source in (packaged, str(packaged), tflite, "grpc://127.0.0.1:8500/noise", tmp_path / "no"):
        assert not needs_tensorflow(source)


def test_a_server_answers_the_same(folder, client, server, aligned):
    reference = open_engine(folder)
    engine = open_engine(client)
    check_same(engine, reference, aligned, 1e-4)
    engine.close()
    assert client.is_ready()  # closing the engine leaves the caller's client open
    engine = open_engine(f"grpc://{server.address}/noise")
    check_same(engine, reference, aligned, 1e-4)
    engine.close()
    with pytest.raises(ServingError):
        engine(aligned)


def test_a_server_that_goes_over_to_another_model_is_noticed(client, aligned):
    class Changed:
        target = client.target
        description = client.description
        predict_aligned = client.predict_aligned

    server = Changed()
    engine = open_engine(server)
    moved = {**server.description.thresholds, "Smiling": 0.987}
    server.description = dataclasses.replace(server.description, thresholds=moved)
    engine(aligned)
    assert engine.description.thresholds["Smiling"] == 0.987
    other = AttributeSchema("other", ("A",), (Group("Hair", ("A",), ("hair",)),))
    server.description = dataclasses.replace(server.description, schema=other)
    with pytest.raises(ModelError, match="replaced by one that answers something else"):
        engine(aligned)


def test_the_recogniser_decides_alike_with_every_engine(folder, saved_model, tflite, client):
    results = []
    for model in (load_model(folder), folder, saved_model, tflite, client):
        with Recognizer.load(model, sensitive=True) as recognizer:
            results.append(recognizer(astronaut()))
            assert recognizer.untrained == ("Attractive",)
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


@pytest.mark.parametrize("harm", ["truncated", "headless", "bare", "no file"])
def test_a_damaged_tflite_file_is_refused(harm, tflite, tmp_path):
    content = tflite.read_bytes()
    path = tmp_path / "model.tflite"
    if harm == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "headless":
        path.write_bytes(b"TFL" + content[3:5000])
    elif harm == "bare":  # runs, but nobody knows what it answers
        with zipfile.ZipFile(find_asset(FACE_LANDMARKER)) as bundle:
            path.write_bytes(bundle.read("face_detector.tflite"))
    with pytest.raises(ModelError, match=r"model\.tflite"):
        Recognizer.load(path)


@pytest.mark.parametrize("model", ["folder", "saved_model", "tflite", "client"])
def test_another_schema_than_the_one_wanted_is_refused(model, request):
    wanted = AttributeSchema("own", ("Smiling",), (Group("Mouth", ("Smiling",), ("mouth",)),))
    source = request.getfixturevalue(model)
    with pytest.raises(ModelError, match="answers the schema 'celeba', not 'own'"):
        Recognizer.load(source, schema=wanted)
    open_engine(source, CELEBA).close()


@pytest.mark.parametrize("address", ["grpc://", "grpc://host:1", "grpc:///noise", "grpc://h:1/a/b"])
def test_addresses_of_another_form_are_refused(address):
    with pytest.raises(RequestError, match="expected grpc://host:8500/model"):
        Recognizer.load(address)


def test_a_server_that_is_not_there_is_named():
    client = FarClient("127.0.0.1:1", "noise", timeout=2, retries=0)
    with client, pytest.raises(ServingError, match=r"127\.0\.0\.1:1"):
        Recognizer.load(client)


def test_another_object_is_refused():
    with pytest.raises(ModelError, match="an object of type dict"):
        Recognizer.load({})
