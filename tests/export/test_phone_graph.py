import numpy as np
import pytest

from far_keras.calibration import Calibration
from far_keras.export.inference_graph import phone_model
from far_keras.models.storage import LoadedModel, compile_forward

WITH_GLOBAL = {"levels": ["P3", "P4", "P5"], "global_path": True}


@pytest.mark.parametrize(
    "arguments",
    [
        {"global_path": False},
        {"global_path": False, "levels": ["P3", "P4"], "pooling": "product"},
        WITH_GLOBAL,
        {**WITH_GLOBAL, "fusion": "sum"},
        {**WITH_GLOBAL, "fusion": "gated", "pooling": "product"},
        {**WITH_GLOBAL, "global_shortcut": False},
        {"group_path": False, "global_path": True},
        {"masks": "ones"},
        # Masks of 72x72 and features of 9x9, then sizes that do not divide: 67, 9, 5.
        {"mask_network": "unet", "unet_channels": [4, 6], "image_size": 72},
        {"mask_network": "unet", "unet_channels": [4, 6], "image_size": 67},
    ],
)
def test_it_computes_what_the_network_computes(small_model_of, pictures, arguments):
    loaded: LoadedModel = small_model_of(**arguments)
    images = pictures(4, loaded.image_size)
    logits = compile_forward(loaded.model)(images)
    calibration = Calibration({"Young": (0.5, 1.0)})
    model = phone_model(loaded.model, calibration, loaded.schema.attributes)
    assert model.inputs[0].shape[0] == 1
    # float32, and another order of sums
    for image, attributes, masks in zip(images, logits["attributes"], logits["masks"], strict=True):
        answers = model(image[None].astype(np.float32), training=False)
        expected = calibration.probabilities(attributes, loaded.schema.attributes)
        np.testing.assert_allclose(answers["attributes"][0], expected, atol=1e-5)
        np.testing.assert_allclose(answers["masks"][0], 1 / (1 + np.exp(-masks)), atol=1e-5)
    spread = logits["attributes"].std(axis=0).mean()
    assert spread > 0.02  # the images are told apart


def test_the_network_is_left_as_it_was(small_model_of, pictures):
    loaded = small_model_of(global_path=False)
    images = pictures(3, loaded.image_size)
    before = compile_forward(loaded.model)(images)
    names = [layer.name for layer in loaded.model.layers]
    phone_model(loaded.model, loaded.calibration, loaded.schema.attributes)
    assert [layer.name for layer in loaded.model.layers] == names
    after = compile_forward(loaded.model)(images)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)


def test_an_empty_mask_gives_numbers(small_model_of, pictures):
    loaded = small_model_of(global_path=False)
    head = loaded.model.get_layer("masks")
    head.kernel.assign(head.kernel * 0)
    head.bias.assign(head.bias * 0 - 1000.0)
    model = phone_model(loaded.model, loaded.calibration, loaded.schema.attributes)
    answers = model(pictures(1, loaded.image_size).astype(np.float32), training=False)
    assert (np.asarray(answers["masks"]) == 0).all()
    assert np.isfinite(answers["attributes"]).all()
