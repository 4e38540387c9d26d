"""Exported SavedModels: outputs, signatures, and refusals of damaged ones."""

import io
import json
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage.data import astronaut
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from far_keras.calibration import Calibration, sigmoid
from far_keras.cli import main
from far_keras.errors import ImageError, ModelError
from far_keras.export import describe, export_saved_model, load_saved_model
from far_keras.export.saved_model import IMAGE_FEATURE, SIGNATURES, WARMUP_FILE
from far_keras.faces.alignment import align
from far_keras.faces.detector import FaceDetector
from far_keras.models.storage import LoadedModel, load_model, save_model
from far_keras.models.variants import VARIANTS, ModelConfig, build_model, pretrained_folder
from far_keras.schema import CELEBA
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render
from far_keras.tf_images import resize_images

SIZE = 64
CALIBRATION = Calibration({"Smiling": (0.7, 0.4), "Bald": (1.3, -1.0)})  # of `small_model` too
# Each takes 10 seconds, the large backbones most of a minute.
EVERY_VARIANT = [
    pytest.param(name, marks=() if name == "mgmtn_mobilenetv3small" else pytest.mark.slow)
    for name in VARIANTS
    if name not in ("baseline_resnest50", "baseline_resnet50")  # parts of mgmtn_*
]


@pytest.fixture(scope="session")
def faces():
    """uint8 (17, 218, 178, 3): a photograph and two rendered persons, each as several images."""
    photograph = astronaut()
    with FaceDetector() as detector:
        (face,) = detector.find(photograph)
    people = [align(photograph, face.landmarks).image]
    for identity in (1, 2):
        subject = Population(seed=5).identity(identity)
        people.append(render(subject.person, subject.shots[0], (218, 178)).image)
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(17):
        picture = people[number % 3].astype(float)
        picture = picture[:, ::-1] if number % 2 else picture
        pictures.append(np.roll(picture * rng.uniform(0.4, 1.2), number, axis=1))
    return np.clip(pictures, 0, 255).astype(np.uint8)


def network_input(faces, size=SIZE):
    """As training resizes: float32 whole numbers (N, size, size, 3)."""
    return np.round(np.clip(resize_images(faces, size), 0, 255))


def trained(variant, faces):
    """A network with weights as training leaves them: statistics of faces, and no constants.

    A deep network of random weights magnifies the last digit of its input a hundredfold. Normalised
    features that stay mostly above zero, as here, keep it calm; trained networks are calmer yet.
    """
    keras.utils.set_random_seed(1)
    config = ModelConfig(variant, {"image_size": SIZE})
    model = build_model(config)
    rng = np.random.default_rng(0)
    for layer in all_layers(model):
        if hasattr(layer, "momentum"):
            layer.momentum = 0.0  # so that one call sets the statistics
    drawn = {
        "gamma": lambda shape: rng.uniform(0.4, 0.6, shape),
        "beta": lambda shape: rng.normal(0.5, 0.2, shape),
        "bias": lambda shape: rng.normal(0.0, 0.2, shape),
    }
    for weight in model.weights:
        if (kind := weight.path.rsplit("/")[-1]) in drawn:
            weight.assign(drawn[kind](weight.shape))
    model(network_input(faces), training=True)
    thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
    return LoadedModel(model, CELEBA, thresholds, config, {}, CALIBRATION)


def all_layers(model):
    for layer in model.layers:
        yield from all_layers(layer) if isinstance(layer, keras.Model) else [layer]


def assert_equal_outputs(results, outputs, calibration=CALIBRATION):
    """Within 1e-5. Other sums of the same float32 numbers: batch normalisation is folded."""
    expected = {
        "attributes": calibration.probabilities(outputs["attributes"], CELEBA.attributes),
        "logits": outputs["attributes"],
    }
    if "masks" in outputs:
        expected["masks"] = sigmoid(outputs["masks"])
    assert set(results) == set(expected)
    for name, values in expected.items():
        assert results[name].dtype == np.float32
        # Of the sums behind a logit a float32 knows but seven digits.
        largest = np.abs(values).max() if name == "logits" else 1.0
        np.testing.assert_allclose(results[name], values, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_every_variant_predicts_as_its_model(variant, faces, tmp_path):
    loaded = trained(variant, faces)
    folder = export_saved_model(loaded, tmp_path / "model")
    exported = load_saved_model(folder)
    images = network_input(faces)
    for count in (1, 2, 17):
        outputs = loaded.model.predict(images[:count], verbose=0)
        # The comparison means something only if the images are answered differently.
        if count == 17:
            assert outputs["attributes"].std(axis=0).mean() > 0.05
            assert all(outputs[name].std(axis=0).mean() > 0.02 for name in outputs)
        assert_equal_outputs(exported(images[:count].astype(np.uint8)), outputs)
        assert_equal_outputs(exported(images[:count]), outputs)
    # Each weight once; with them the graph, its description and the warm-up requests.
    weights = sum(4 * int(np.prod(weight.shape)) for weight in loaded.model.weights)
    written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert 0.95 * weights < written < weights + 2e6


def test_trained_weights_predict_as_their_model(faces, tmp_path):
    loaded = load_model(pretrained_folder())
    exported = load_saved_model(export_saved_model(pretrained_folder(), tmp_path / "faces"))
    images = network_input(faces, loaded.image_size)
    for count in (1, 2, 17):
        outputs = loaded.model.predict(images[:count], verbose=0)
        assert_equal_outputs(exported(faces[:count]), outputs, loaded.calibration)
        assert_equal_outputs(exported(images[:count]), outputs, loaded.calibration)
    assert outputs["attributes"].std(axis=0).mean() > 0.5  # faces are answered differently
    assert exported.description.licence == "Apache-2.0"  # of its provenance


@pytest.mark.parametrize("shape", [(218, 178), (40, 31), (300, 211), (SIZE, 90), (1, 1)])
def test_pictures_of_any_size_are_resized_as_training_does(small_model, exported, faces, shape):
    pictures = np.stack(
        [np.asarray(Image.fromarray(face).resize(shape[::-1])) for face in faces[:3]]
    )
    outputs = small_model.model.predict(network_input(pictures), verbose=0)
    assert_equal_outputs(exported(pictures), outputs)
    assert_equal_outputs(exported(pictures.astype(np.float32)), outputs)


def test_recognition_resizes_to_within_a_grey_level(small_model, exported, faces):
    """Pillow rounds after each of the two directions, TensorFlow once."""
    resized = np.stack(
        [
            np.asarray(Image.fromarray(face).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
            for face in faces
        ]
    )
    assert np.abs(resized - network_input(faces)).max() <= 1
    difference = np.abs(exported(resized)["attributes"] - exported(faces)["attributes"])
    assert difference.max() < 0.01


def test_probabilities_are_calibrated(exported, faces):
    results = exported(faces)
    expected = CALIBRATION.probabilities(results["logits"], CELEBA.attributes)
    np.testing.assert_allclose(results["attributes"], expected, atol=1e-6)
    plain = sigmoid(results["logits"])
    changed = np.abs(results["attributes"] - plain).max(axis=0) > 0.01
    assert [n for n, c in zip(CELEBA.attributes, changed, strict=True) if c] == ["Bald", "Smiling"]


def test_networks_of_reduced_precision_are_exported_in_float32(small_model, faces, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_model(small_model.config)
        mixed.set_weights(small_model.model.get_weights())
        folder = export_saved_model(replace(small_model, model=mixed), tmp_path / "mixed")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"  # left as it was
    finally:
        keras.config.set_dtype_policy("float32")
    images = network_input(faces)
    assert_equal_outputs(
        load_saved_model(folder)(images), small_model.model.predict(images, verbose=0)
    )


def test_a_versions_files(small_model, version, exported):
    folder = version
    assert (exported.folder, exported.version) == (folder, 1)
    assert exported.description == describe(small_model, "faces")
    text = (folder / "far_keras.json").read_text()
    assert (folder / "assets" / "far_keras.json").read_text() == text
    assert json.loads(text)["name"] == "faces"
    (json_of_graph,) = exported.signatures["describe"](rows=tf.constant([0]))["json"].numpy()
    assert json.loads(json_of_graph) == json.loads(text)
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "assets", "assets.extra", "far_keras.json", "fingerprint.pb", "saved_model.pb",
        "variables",
    ]  # fmt: skip


def test_the_next_version_stands_beside_the_first(small_model, tmp_path):
    target = tmp_path / "deep" / "faces"
    assert export_saved_model(small_model, target) == target / "1"
    again = replace(small_model, thresholds={**small_model.thresholds, "Bald": 0.1})
    assert export_saved_model(again, target, "renamed") == target / "2"
    newest = load_saved_model(target)
    assert (newest.version, newest.description.name) == (2, "renamed")
    assert newest.description.thresholds["Bald"] == 0.1
    assert load_saved_model(target / "1").description.thresholds["Bald"] == 0.5
    with pytest.raises(ModelError, match="2: this version is there already"):
        export_saved_model(small_model, target, version=2)


def test_every_warm_up_request_is_answered(exported):
    records = tf.data.TFRecordDataset(str(exported.folder / WARMUP_FILE))
    sizes, kinds = set(), set()
    for record in records.as_numpy_iterator():
        log = PredictionLog.FromString(record)
        kinds.add(log.WhichOneof("log_type"))
        if log.WhichOneof("log_type") == "classify_log":
            examples = log.classify_log.request.input.example_list.examples
            name = log.classify_log.request.model_spec.signature_name
            inputs = {"inputs": tf.constant([e.SerializeToString() for e in examples])}
        else:
            request = log.predict_log.request
            name = request.model_spec.signature_name
            assert request.model_spec.name == "faces"
            inputs = {key: tf.constant(tf.make_ndarray(t)) for key, t in request.inputs.items()}
        count = len(next(iter(inputs.values())))
        sizes.add((name, count))
        outputs = exported.signatures[name](**inputs)
        assert all(len(value) == count for value in outputs.values())
    # Predict needs an input by name, Classify a list of examples: each its own kind of record.
    assert kinds == {"predict_log", "classify_log"}
    assert sizes == {(name, count) for name in SIGNATURES for count in (1, 4)}
    assert (exported.folder / WARMUP_FILE).stat().st_size < 100_000


def test_a_process_without_far_keras_and_keras_can_use_it(version, exported, faces, tmp_path):
    np.savez(tmp_path / "faces.npz", faces=faces[:2])
    script = textwrap.dedent(
        f"""
        import sys
        sys.modules["far_keras"] = sys.modules["keras"] = None  # importing them fails
        import numpy as np, tensorflow as tf
        model = tf.saved_model.load({str(version)!r})
        images = tf.constant(np.load({str(tmp_path / "faces.npz")!r})["faces"])
        outputs = model.signatures["serve_uint8"](images=images)
        np.savez({str(tmp_path / "answers.npz")!r}, **{{k: v.numpy() for k, v in outputs.items()}})
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    answers = np.load(tmp_path / "answers.npz")
    for name, expected in exported(faces[:2]).items():
        np.testing.assert_allclose(answers[name], expected, atol=1e-6)


def test_a_model_folder_is_exported_as_it_is_stored(small_model, exported, faces, tmp_path):
    save_model(
        small_model.model, tmp_path / "model", config=small_model.config, schema=CELEBA,
        calibration=CALIBRATION,
    )  # fmt: skip
    again = load_saved_model(export_saved_model(tmp_path / "model", tmp_path / "exported"))
    for name, expected in exported(faces[:2]).items():
        np.testing.assert_allclose(again(faces[:2])[name], expected, atol=1e-6)
    assert load_model(tmp_path / "model").calibration == again.description.calibration


def test_models_that_cannot_be_exported_are_named(small_model, tmp_path):
    with pytest.raises(ModelError, match="nowhere: expected the folder of a trained model"):
        export_saved_model(tmp_path / "nowhere", tmp_path / "exported")
    folder = save_model(
        small_model.model, tmp_path / "model", config=small_model.config, schema=CELEBA
    )
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"model\.weights\.h5: the file is truncated"):
        export_saved_model(folder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_targets_that_are_no_folder_of_versions_are_refused(small_model, tmp_path):
    folder = save_model(
        small_model.model, tmp_path / "model", config=small_model.config, schema=CELEBA
    )
    (tmp_path / "file").write_text("x")
    for target, said in (
        (tmp_path / "faces" / "3", "'3', which servers take for a version"),
        (folder, "the folder of a trained model"),
        (tmp_path / "file", "Received: a file"),
    ):
        with pytest.raises(ModelError, match=said):
            export_saved_model(small_model, target)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "model"]


@pytest.fixture(scope="module")
def signatures(exported):
    return exported.signatures


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (70, 60, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def example(name, *values):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    features = tf.train.Features(feature={name: feature})
    return tf.train.Example(features=features).SerializeToString()


def test_classify_names_each_attribute_with_its_probability(signatures):
    pictures = [png(seed) for seed in range(3)]
    answer = signatures["classify"](
        inputs=tf.constant([example(IMAGE_FEATURE, picture) for picture in pictures])
    )
    expected = signatures["serving_default"](image_bytes=tf.constant(pictures))["attributes"]
    # Another graph around the same network.
    np.testing.assert_allclose(answer["scores"], expected, rtol=0, atol=1e-6)
    assert answer["classes"].numpy().astype(str).tolist() == [list(CELEBA.attributes)] * 3


@pytest.mark.parametrize("given", [(), ("image", b""), (IMAGE_FEATURE, b"a", b"b")])
def test_classify_refuses_examples_without_one_picture(signatures, given):
    serialized = example(*given) if given else b"no example"
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["classify"](inputs=tf.constant([serialized]))


def test_describe_gives_a_description_a_row(signatures, version):
    texts = signatures["describe"](rows=tf.constant([7, -1, 0]))["json"].numpy()
    assert texts.shape == (3,) and len(set(texts)) == 1
    assert json.loads(texts[0]) == json.loads((version / "far_keras.json").read_text())


def test_everything_has_the_batch_first(signatures):
    """TF Serving with batching refuses to answer otherwise, and does not load the model."""
    assert set(signatures) == set(SIGNATURES)
    for function in signatures.values():
        _, inputs = function.structured_input_signature
        assert len(inputs) == 1
        for spec in (*inputs.values(), *function.structured_outputs.values()):
            assert spec.shape[0] is None


@pytest.fixture
def copy(version, tmp_path):
    """A copy of the version, to be damaged."""
    return shutil.copytree(version, tmp_path / "faces" / "1")


def test_a_folder_that_is_not_there_or_holds_no_version(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere: .*Received: nothing of that name"):
        load_saved_model(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="Received: a file"):
        load_saved_model(tmp_path / "file")
    (tmp_path / "latest").mkdir()
    with pytest.raises(ModelError, match=r"folders named 1, 2 and so on\. Received: none"):
        load_saved_model(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 10_000])
def test_a_truncated_graph_is_named(copy, kept):
    content = (copy / "saved_model.pb").read_bytes()
    (copy / "saved_model.pb").write_bytes(content[:kept])
    with pytest.raises(ModelError, match="1: the exported model is incomplete or damaged"):
        load_saved_model(copy.parent)


def test_a_version_without_its_graph_is_named(copy):
    (copy / "saved_model.pb").unlink()
    with pytest.raises(ModelError, match="1: the exported model is incomplete or damaged"):
        load_saved_model(copy.parent)


@pytest.mark.parametrize("content", [None, "", '{"format": 1, "name"', "[]", '{"format": 9}'])
def test_a_description_that_cannot_be_used_is_named(copy, content):
    path = copy / "far_keras.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ModelError, match=r"far_keras\.json: "):
        load_saved_model(copy)


def test_a_saved_model_of_others_is_refused(copy):
    graph = tf.Module()
    graph.answer = tf.function(lambda x: x, input_signature=[tf.TensorSpec((None,))])
    tf.saved_model.save(graph, str(copy), {"serving_default": graph.answer})
    with pytest.raises(ModelError, match="serve_uint8"):
        load_saved_model(copy)


def test_versions_are_numbers_not_texts(copy):
    copy.rename(copy.with_name("10"))
    (copy.parent / "9").mkdir()
    (copy.parent / ".abc.tmp").mkdir()
    loaded = load_saved_model(copy.parent)
    assert (loaded.version, loaded.folder.name) == (10, "10")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((1, 4, 4, 3)), "float64"),
        (np.zeros((4, 4, 3), np.uint8), r"\(4, 4, 3\)"),
        (np.zeros((1, 4, 4, 1), np.uint8), r"\(1, 4, 4, 1\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), "not empty"),
        ([], "list of 0"),
        (["photo.jpg"], "as bytes"),
        ("photo.jpg", "str of 9"),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused(version, images, said):
    with pytest.raises(ImageError, match=said):
        load_saved_model(version)(images)


def test_the_command_says_what_it_wrote_and_what_comes_next(small_model, tmp_path, capsys):
    folder = save_model(
        small_model.model, tmp_path / "model", config=small_model.config, schema=CELEBA
    )
    target = tmp_path / "saved_models" / "faces"
    for number in (1, 2):
        command = ["export", str(folder), "--to", str(target), "--licence", "CC0-1.0"]
        assert main(command) == 0
        written, following = capsys.readouterr().out.splitlines()
        assert written.startswith(f"wrote {target / str(number)} (")
        assert written.endswith(" MB)")
        assert following == f"Next: far-keras serve {target.parent}"
    assert load_saved_model(target).description.licence == "CC0-1.0"
    assert main(["export", str(tmp_path / "nowhere"), "--to", str(target)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"far-keras export: {tmp_path / 'nowhere'}: expected the folder")
    assert len(error.splitlines()) == 1
