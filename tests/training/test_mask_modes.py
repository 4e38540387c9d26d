"""Training with masks that are given, or learned before the attributes."""

import numpy as np
import pytest

from far_keras.datasets.pipeline import load_records
from far_keras.errors import ModelError
from far_keras.models.mgmtn import mgmtn
from far_keras.models.storage import load_model
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import AttributeSchema, Group
from far_keras.training.config import ConfigError
from far_keras.training.trainer import train


def test_given_masks_train_and_matter(make_config, tmp_path):
    result = train(make_config(tmp_path / "model", mask_mode="given", epochs=4), progress=False)
    assert all("iou" not in key for row in result.history for key in row)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    loaded = load_model(result.folder)
    assert [tensor.name for tensor in loaded.model.inputs] == ["image", "masks"]
    assert set(loaded.model.output) == {"attributes"}
    assert loaded.provenance["config"]["mask_mode"] == "given"
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    top, bottom = np.zeros((2, 2, 8, 8, 2), "float32")
    top[:, :4], bottom[:, 4:] = 1, 1
    answers = [
        loaded.model.predict({"image": images, "masks": masks}, verbose=0)["attributes"]
        for masks in (top, bottom)
    ]
    assert np.abs(answers[0] - answers[1]).max() > 1e-3


def test_a_picture_without_masks_is_given_masks_of_ones(make_config):
    config = make_config("unused")
    options = {
        "schema": AttributeSchema.from_file(config.schema),
        "image_size": 64,
        "mask_size": 8,
        "batch_size": 10,
    }
    _, targets = next(iter(load_records(config.records, "valid", **options)))
    inputs, others = next(iter(load_records(config.records, "valid", masks_as="input", **options)))
    masks, given = targets["masks"].numpy(), inputs["masks"].numpy()
    missing = (masks < 0).all(axis=(1, 2, 3))
    assert missing.tolist() == [False, False, False, False, True] * 2
    assert (given[missing] == 1).all()
    np.testing.assert_array_equal(given[~missing], masks[~missing])
    assert set(others) == {"attributes"}


def test_a_network_with_given_masks_does_not_recognise(make_config, tmp_path):
    result = train(make_config(tmp_path / "model", mask_mode="given", epochs=1), progress=False)
    with pytest.raises(ModelError, match=r"recognition needs .* 'mgmtn_small' with mask_mode"):
        Recognizer.load(result.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_mode": "magic"}, r"mask_mode: expected one of .*'given'.* Received: 'magic'"),
        ({"mask_mode": "given", "variant": "baseline_small"}, r"expected one of \('joint',\)"),
        ({"model": {"masks": "given"}}, "model: expected masks to be left to mask_mode"),
        ({"model": {"masks": "ones"}, "mask_mode": "given"}, "left to mask_mode"),
    ],
)
def test_modes_that_cannot_be_are_refused(make_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config("unused", **changes)


def test_given_masks_of_another_size_or_number_are_refused():
    groups = (Group("Top", ("A",), ("hair",)), Group("Middle", ("B",), ("nose",)))
    schema = AttributeSchema("two", ("A", "B"), groups)
    model = mgmtn("mobilenetv3small", schema, 64, masks="given")
    images = np.zeros((1, 64, 64, 3), "float32")
    for shape in ((1, 8, 8, 2), (1, 16, 16, 3)):
        with pytest.raises(ValueError, match="16, 16, 2"):
            model.predict({"image": images, "masks": np.ones(shape, "float32")}, verbose=0)
