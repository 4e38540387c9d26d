"""The signatures with the names and shapes that TF Serving's Classify and batching want."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from far_keras.calibration import Calibration
from far_keras.export import export_saved_model
from far_keras.export.saved_model import IMAGE_FEATURE, SIGNATURES, WARMUP_FILE
from far_keras.models.storage import LoadedModel
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import CELEBA


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    config = ModelConfig("mgmtn_mobilenetv3small", {"image_size": 64})
    thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
    model = build_model(config, CELEBA)
    loaded = LoadedModel(
        model, CELEBA, thresholds, config, {}, Calibration({"Smiling": (2.0, 1.0)})
    )
    return export_saved_model(loaded, tmp_path_factory.mktemp("models") / "faces")


@pytest.fixture(scope="module")
def signatures(version):
    return tf.saved_model.load(str(version)).signatures


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


def test_every_signature_is_warmed_up(version):
    logs = [
        PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(version / WARMUP_FILE)).as_numpy_iterator()
    ]
    warmed = {
        getattr(log, log.WhichOneof("log_type")).request.model_spec.signature_name for log in logs
    }
    assert warmed == set(SIGNATURES)
    # Predict needs an input by name, Classify a list of examples: each its own kind of record.
    kinds = {log.WhichOneof("log_type") for log in logs}
    assert kinds == {"predict_log", "classify_log"}
