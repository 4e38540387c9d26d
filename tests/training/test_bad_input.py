"""Trainings on little, on nothing, and on what is no number."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from far_keras.datasets.manifest import read_manifest
from far_keras.datasets.records import read_shard, write_shard
from far_keras.errors import DatasetError
from far_keras.models.backbones import BACKBONES
from far_keras.models.mgmtn import mgmtn
from far_keras.models.storage import load_model
from far_keras.models.variants import VARIANTS
from far_keras.schema import AttributeSchema, Group
from far_keras.training.config import TrainConfig
from far_keras.training.losses import AttributeLoss, MaskLoss
from far_keras.training.trainer import train

RNG = np.random.default_rng(0)


def tiny_backbone(pixels):
    x = keras.layers.Rescaling(1 / 255)(pixels)
    levels = {}
    for n in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("relu", name=f"level_{n}")(x)
        levels[f"P{n}"] = f"level_{n}"
    network = keras.Model(pixels, x)
    network.pyramid_level_inputs = levels
    return network


@pytest.fixture
def one_of(monkeypatch, tmp_path):
    """Makes the file of a schema with one group that has one attribute."""
    monkeypatch.setitem(BACKBONES, "tiny", tiny_backbone)
    monkeypatch.setitem(VARIANTS, "mgmtn_tiny", ("mgmtn", "tiny", 32))

    def make(attribute):
        schema = AttributeSchema("one", (attribute,), (Group("Top", (attribute,), ("hair",)),))
        path = tmp_path / "one.json"
        path.write_text(json.dumps(schema.to_dict()))
        return path

    return make


@pytest.fixture
def compiled():
    """A network on two attributes of one group, ready for training."""
    schema = AttributeSchema("two", ("A", "B"), (Group("Top", ("A", "B"), ("hair",)),))
    model = mgmtn(tiny_backbone(keras.Input((32, 32, 3))), schema, 32)
    model.compile("sgd", {"attributes": AttributeLoss(), "masks": MaskLoss()}, jit_compile=False)
    return model


def batch(count=2, mask_size=8):
    images = RNG.uniform(0, 255, (count, 32, 32, 3)).astype("float32")
    targets = {
        "attributes": np.ones((count, 2), "float32"),
        "masks": np.ones((count, mask_size, mask_size, 1), "float32"),
    }
    return images, targets


def test_one_attribute_and_a_batch_of_one_train(records, one_of, tmp_path):
    result = train(
        TrainConfig(
            records=records,
            output=tmp_path / "model",
            variant="mgmtn_tiny",
            schema=one_of("Bright"),
            batch_size=1,
            epochs=1,
            imagenet=False,
        ),
        progress=False,
    )
    assert np.isfinite(result.history[0]["val_loss"])
    loaded = load_model(result.folder)
    assert loaded.image_size == 32 and list(loaded.thresholds) == ["Bright"]


def test_masks_alone_from_pictures_without_masks_is_an_error(records, one_of, tmp_path):
    bare = tmp_path / "bare"
    manifest, shards = read_manifest(records), []
    for shard in manifest.shards:
        made = [replace(record, masks=b"") for record in read_shard(records / shard.file)]
        shards.append(replace(shard, size=write_shard(bare / shard.file, made)))
    replace(manifest, shards=tuple(shards)).write(bare)
    config = TrainConfig(
        records=bare,
        output=tmp_path / "model",
        variant="mgmtn_tiny",
        task="masks",
        schema=one_of("Bright"),
        batch_size=4,
        epochs=1,
        imagenet=False,
    )
    with pytest.raises(DatasetError, match="no training image with 'landmarks' masks"):
        train(config, progress=False)


def test_an_attribute_without_any_label_trains_and_is_named(records, one_of, tmp_path):
    result = train(
        TrainConfig(
            records=records,
            output=tmp_path / "model",
            variant="mgmtn_tiny",
            schema=one_of("Unknown"),
            batch_size=4,
            epochs=1,
            imagenet=False,
        ),
        progress=False,
    )
    loaded = load_model(result.folder)
    assert loaded.provenance["untrained"] == ["Unknown"]
    assert loaded.thresholds == {"Unknown": 0.5}


def test_a_batch_without_labels_and_masks_moves_no_weight(compiled):
    images, targets = batch()
    missing = {key: np.full_like(value, -1) for key, value in targets.items()}
    before = [np.asarray(weight) for weight in compiled.trainable_variables]
    assert float(np.max(compiled.train_on_batch(images, missing))) == 0
    for weight, old in zip(compiled.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_pixels_that_are_no_numbers_show_in_the_loss(compiled):
    images, targets = batch()
    images[0, 3, 3] = np.nan
    assert np.isnan(compiled.train_on_batch(images, targets)[0])


@pytest.mark.parametrize("mask_size", [1, 16])
def test_masks_of_another_size_are_refused(compiled, mask_size):
    images, targets = batch(mask_size=mask_size)
    expected = rf"expected \(B, h, w, G\) = \(B, 8, 8, 1\).*Received: \(B, {mask_size}, {mask_size}"
    with pytest.raises(ValueError, match=expected):
        compiled.train_on_batch(images, targets)


def test_pictures_of_another_size_are_refused(compiled):
    _, targets = batch()
    with pytest.raises(ValueError, match="32, 32, 3"):
        compiled.train_on_batch(np.zeros((2, 64, 64, 3), "float32"), targets)
