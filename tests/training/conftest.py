"""A small set of records with something to learn, and networks small enough to learn in seconds."""

import io
import os
import signal
import textwrap
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from far_keras.datasets.records import FaceRecord, Manifest, Shard, write_shard
from far_keras.models.backbones import BACKBONES
from far_keras.models.storage import load_model
from far_keras.models.variants import VARIANTS
from far_keras.schema import REGIONS, AttributeSchema, Group
from far_keras.training.callbacks import StopAtStep
from far_keras.training.config import TrainConfig

# Also run in the process that is killed, which cannot import this file.
SMALL_BACKBONE = textwrap.dedent(
    """
    import keras

    def small_backbone(pixels):
        x = keras.layers.Rescaling(1 / 255)(pixels)
        levels = {}
        for n in range(1, 6):
            x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
            x = keras.layers.BatchNormalization()(x)
            x = keras.layers.Activation("relu", name=f"level_{n}")(x)
            levels[f"P{n}"] = f"level_{n}"
        network = keras.Model(pixels, x)
        network.pyramid_level_inputs = levels
        return network
    """
)
exec(SMALL_BACKBONE)

SCHEMA = AttributeSchema(
    "three",
    ("Bright", "Red", "Unknown"),
    (Group("Top", ("Red", "Unknown"), ("hair",)), Group("All", ("Bright",), ("object", "mouth"))),
)


def make_record(rng: np.random.Generator, index: int) -> FaceRecord:
    """An image that is bright or dark and reddish or bluish, with its hair in the upper third."""
    bright, red = rng.integers(0, 2, 2)
    image = rng.normal(100 + 60 * bright, 20, (218, 178, 3))
    image[:70, :, 0 if red else 2] += 60
    pixels = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype("uint8")).save(pixels, "JPEG")
    masks = np.zeros((218, 178), "uint8")
    masks[:70] |= 1 << REGIONS.index("hair")
    masks[20:200, 20:160] |= 1 << REGIONS.index("object")
    png = io.BytesIO()
    Image.fromarray(masks).save(png, "PNG")
    labels = np.array([bright, red, -1], "int8")
    # Every fifth image has no mask, as if no face had been found.
    return FaceRecord(
        f"{index}.jpg", pixels.getvalue(), labels, b"" if index % 5 == 4 else png.getvalue()
    )


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Folder with 24 training, 10 validation and 4 test images of `SCHEMA`, and its file."""
    folder = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    shards = []
    for split, count in (("train", 24), ("valid", 10), ("test", 4)):
        name = f"{split}-00000-of-00001.tfrecord"
        size = write_shard(folder / name, [make_record(rng, index) for index in range(count)])
        shards.append(Shard(name, split, count, size))
    Manifest("toy", SCHEMA.attributes, False, "toy", tuple(shards)).write(folder)
    return folder


@pytest.fixture(scope="session")
def schema_file(tmp_path_factory):
    """`SCHEMA` as a file."""
    import json

    path = tmp_path_factory.mktemp("schema") / "schema.json"
    path.write_text(json.dumps(SCHEMA.to_dict()))
    return path


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for all tests: TensorFlow's CPU collectives mix up those of several."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="module")
def small_variants():
    """Named variants on a small backbone; the code that defines it is returned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "small", small_backbone)  # noqa: F821
        patch.setitem(VARIANTS, "mgmtn_small", ("mgmtn", "small"))
        patch.setitem(VARIANTS, "baseline_small", ("baseline", "small"))
        yield SMALL_BACKBONE


@pytest.fixture(scope="module")
def make_config(records, schema_file, small_variants):
    """Makes configurations that differ from one another in what is given.

    The training split is 24 images, in batches of 4: 6 steps an epoch.
    """

    def make(output, **changes):
        defaults = {
            "records": records,
            "output": output,
            "variant": "mgmtn_small",
            "schema": schema_file,
            "image_size": 64,
            "model": {"levels": ["P4"], "mask_level": "P3", "fusion_units": 8},
            "batch_size": 4,
            "epochs": 2,
            "imagenet": False,
        }
        return TrainConfig(**{**defaults, **changes})

    return make


def interrupt_at(monkeypatch, method, count):
    """Sends this process Ctrl-C's signal in the count-th call of a callback's method."""
    original, calls = getattr(StopAtStep, method), []

    def hook(self, batch, logs=None):
        calls.append(batch)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, batch, logs)

    monkeypatch.setattr(StopAtStep, method, hook)


def outputs_of(folder):
    """What a saved model answers to three images of noise, and masks where it takes them."""
    model, rng = load_model(folder).model, np.random.default_rng(0)
    images = rng.uniform(0, 255, (3, 64, 64, 3)).astype("float32")
    if len(model.inputs) == 1:
        return model.predict(images, verbose=0)
    masks = rng.uniform(0, 1, (3, 8, 8, 2)).astype("float32")
    return model.predict({"image": images, "masks": masks}, verbose=0)


def assert_equal_models(first, second):
    """Two saved models answer alike."""
    expected, outputs = outputs_of(first), outputs_of(second)
    assert set(outputs) == set(expected)
    for key, value in outputs.items():
        # Threads may add up in another order; a lost or repeated step changes the first digits.
        np.testing.assert_allclose(value, expected[key], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="session")
def trainings():
    """What tests of trainings share: `interrupt_at`, `outputs_of` and `assert_equal_models`."""
    return types.SimpleNamespace(
        interrupt_at=interrupt_at, outputs_of=outputs_of, assert_equal_models=assert_equal_models
    )
