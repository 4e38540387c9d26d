"""All engines predict the same, and refuse other inputs with a reason."""

import dataclasses
import zipfile

import numpy as np
import pytest
from skimage.data import astronaut

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.errors import ModelError, RequestError, ServingError
from far_keras.export.saved_model import export_saved_model
from far_keras.faces.alignment import align
from far_keras.faces.detector import FaceDetector
from far_keras.images import resize_image
from far_keras.models.variants import pretrained_folder
from far_keras.recognition.engines import needs_tensorflow, open_engine
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import CELEBA, AttributeSchema, Group
from far_keras.serving.client import FarClient
from far_keras.serving.server.config import ServerConfig
from far_keras.serving.server.server import Server

SIZE = 64


@pytest.fixture(scope="module")
def saved_model(model_folder, tmp_path_factory):
    return export_saved_model(model_folder, tmp_path_factory.mktemp("exported") / "noise").parent


@pytest.fixture(scope="module")
def server(saved_model):
    with Server(ServerConfig(models=saved_model.parent, port=0, poll_seconds=0)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with FarClient(server.address, "noise", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def reference(model_folder):
    """The engine of the model folder: Keras."""
    return open_engine(model_folder)


@pytest.fixture(scope="module")
def aligned(found_face):
    """Photographs of a face, as the network receives them."""
    image = astronaut()
    with FaceDetector() as detector:
        mirrored = image[:, ::-1].copy()
        (other,) = detector.find(mirrored)
    faces = [found_face[1].image, align(mirrored, other.landmarks).image]
    faces.append((faces[0] * 0.6).astype(np.uint8))
    return np.stack([resize_image(face, SIZE) for face in faces])


def check_same(engine, reference, images, tolerance):
    """Probabilities and masks within `tolerance`, one by one and in a batch."""
    expected = reference(images)
    assert engine.description.schema == reference.description.schema
    assert dict(engine.description.thresholds) == pytest.approx(
        dict(reference.description.thresholds)
    )
    for batch in (images, images[:1]):
        predictions = engine(batch)
        assert predictions.probabilities.shape == (len(batch), 40)
        assert predictions.probabilities.dtype == predictions.masks.dtype == np.float32
        for name in ("probabilities", "masks"):
            wanted = getattr(expected, name)[: len(batch)]
            np.testing.assert_allclose(getattr(predictions, name), wanted, atol=tolerance, rtol=0)


def test_a_model_folder_predicts_calibrated_probabilities(celeba_model, reference, aligned):
    loaded = celeba_model
    logits = loaded.model.predict_on_batch(aligned.astype(np.float32))
    predictions = reference(aligned)
    slope, offset = zip(*loaded.calibration.scaling.values(), strict=True)
    expected = 1 / (1 + np.exp(-(logits["attributes"] * slope + offset)))
    # Float32 sums in another order.
    np.testing.assert_allclose(predictions.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(predictions.masks, 1 / (1 + np.exp(-logits["masks"])), atol=1e-5)


def test_a_saved_model_predicts_the_same(reference, saved_model, aligned):
    for path in (saved_model, saved_model / "1"):
        check_same(open_engine(path), reference, aligned, 1e-4)


def test_a_tflite_file_predicts_the_same(reference, tflite, aligned):
    check_same(open_engine(tflite), reference, aligned, 1e-4)


def test_tensorflow_is_loaded_only_where_it_is_needed(model_folder, saved_model, tflite, tmp_path):
    for source in (model_folder, str(model_folder), saved_model):
        assert needs_tensorflow(source)
    packaged = pretrained_folder()
    for source in (packaged, str(packaged), tflite, "grpc://127.0.0.1:8500/noise", tmp_path / "no"):
        assert not needs_tensorflow(source)


def test_a_server_predicts_the_same(reference, client, server, aligned):
    engine = open_engine(client)
    check_same(engine, reference, aligned, 1e-4)
    engine.close()
    assert client.is_ready()  # closing the engine leaves the caller's client open
    engine = open_engine(f"grpc://{server.address}/noise")
    check_same(engine, reference, aligned, 1e-4)
    engine.close()
    with pytest.raises(ServingError):
        engine(aligned)


def test_a_server_that_changes_to_another_schema_is_noticed(client, aligned):
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
    with pytest.raises(ModelError, match="replaced by one with another schema"):
        engine(aligned)


def test_decisions_are_the_same_with_every_engine(
    celeba_model, reference, saved_model, tflite, client
):
    results = []
    for model in (celeba_model, reference, saved_model, tflite, client):
        with Recognizer.load(model, sensitive=True) as recognizer:
            results.append(recognizer(astronaut()))
            assert recognizer.untrained == ("Attractive",)
    (first,) = results[0].faces
    for result in results[1:]:
        (face,) = result.faces
        assert face.probabilities == pytest.approx(first.probabilities, abs=1e-4)
        margins = [abs(p - first.thresholds[n]) for n, p in first.probabilities.items()]
        assert min(margins) > 1e-4  # else decisions may differ
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
def test_other_files_are_refused(content, received, tmp_path):
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
    elif harm == "bare":  # runs, but does not describe its outputs
        with zipfile.ZipFile(find_asset(FACE_LANDMARKER)) as bundle:
            path.write_bytes(bundle.read("face_detector.tflite"))
    with pytest.raises(ModelError, match=r"model\.tflite"):
        Recognizer.load(path)


@pytest.mark.parametrize("model", ["celeba_model", "saved_model", "tflite", "client"])
def test_another_schema_is_refused(model, request):
    wanted = AttributeSchema("own", ("Smiling",), (Group("Mouth", ("Smiling",), ("mouth",)),))
    source = request.getfixturevalue(model)
    with pytest.raises(
        ModelError,
        match=r"expected the attributes of the schema 'own'\. Received: the schema 'celeba'",
    ):
        Recognizer.load(source, schema=wanted)
    open_engine(source, CELEBA).close()


@pytest.mark.parametrize("address", ["grpc://", "grpc://host:1", "grpc:///noise", "grpc://h:1/a/b"])
def test_addresses_of_another_form_are_refused(address):
    with pytest.raises(RequestError, match="expected grpc://host:8500/model"):
        Recognizer.load(address)


def test_an_unreachable_server_is_named():
    client = FarClient("127.0.0.1:1", "noise", timeout=2, retries=0)
    with client, pytest.raises(ServingError, match=r"127\.0\.0\.1:1"):
        Recognizer.load(client)


def test_another_object_is_refused():
    with pytest.raises(ModelError, match="an object of type dict"):
        Recognizer.load({})
