"""The paper's network as a whole; its backbone by itself is tested in test_resnest.py."""

import keras
import numpy as np
import pytest

from far_keras.models.storage import load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import CELEBA

RNG = np.random.default_rng(0)


def test_the_papers_network_is_built_as_documented():
    model = build_model(ModelConfig("mgmtn_resnest50"))
    assert model.input_shape == (None, 227, 227, 3)
    assert model.output["attributes"].shape == (None, 40)
    assert model.output["masks"].shape == (None, 227, 227, 8)
    levels = model.get_layer("backbone").output
    assert {level: tuple(value.shape[1:]) for level, value in levels.items()} == {
        "P3": (29, 29, 512),
        "P4": (15, 15, 1024),
        "P5": (8, 8, 2048),
    }


@pytest.mark.parametrize("network", ["mgmtn", "baseline"])
def test_folder_and_keras_file_give_equal_outputs(network, tmp_path):
    arguments = {"image_size": 64} | ({"unet_channels": [4, 6]} if network == "mgmtn" else {})
    config = ModelConfig(f"{network}_resnest50", arguments)
    model = build_model(config)
    images = RNG.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    expected = model.predict(images, verbose=0)
    save_model(model, tmp_path / "folder", config=config, schema=CELEBA)
    model.save(tmp_path / "model.keras")
    for again in (
        load_model(tmp_path / "folder").model,
        keras.models.load_model(tmp_path / "model.keras"),
    ):
        for key, value in again.predict(images, verbose=0).items():
            np.testing.assert_array_equal(value, expected[key])
