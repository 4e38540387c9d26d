"""Rewritten networks have the same outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from far_keras.calibration import Calibration
from far_keras.export.inference_graph import fold_batch_normalization, phone_model
from far_keras.models.storage import LoadedModel, compile_forward
from far_keras.models.variants import ModelConfig, build_model

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 1, (3, 12, 12, 4)).astype(np.float32)


def network(build):
    """A model around `build`, with weights and statistics that are no constants."""
    image = keras.Input((12, 12, 4))
    model = keras.Model(image, build(image))
    for weight in model.weights:
        low, high = (0.5, 2.0) if "variance" in weight.path else (-1.0, 1.0)
        weight.assign(RNG.uniform(low, high, weight.shape))
    return model


def folded_outputs(model):
    weights = fold_batch_normalization(model)
    assert len(weights.values) == len(weights.used) == len(model.variables)
    before = [np.array(variable) for variable in model.variables]
    values = {id(v): tf.constant(x) for v, x in zip(model.variables, weights.values, strict=True)}
    outputs, _ = model.stateless_call(
        [values[id(v)] for v in model.trainable_variables],
        [values[id(v)] for v in model.non_trainable_variables],
        IMAGES,
        training=False,
    )
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)  # the model itself is left alone
    return outputs, weights


def normalised(*inputs, **options):
    return layers.BatchNormalization(epsilon=0.01, **options)(*inputs)


FOLDED = {
    "without a bias": lambda x: normalised(layers.Conv2D(5, 3, use_bias=False)(x)),
    "with a bias": lambda x: normalised(layers.Conv2D(5, 3, strides=2)(x)),
    "depthwise": lambda x: normalised(layers.DepthwiseConv2D(3, use_bias=False)(x)),
    "depthwise with a multiplier": lambda x: normalised(
        layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    ),
    "without gamma": lambda x: normalised(layers.Conv2D(5, 3)(x), scale=False),
    "without beta": lambda x: normalised(layers.Conv2D(5, 3)(x), center=False),
    "without both": lambda x: normalised(layers.Conv2D(5, 3)(x), scale=False, center=False),
    "followed by an activation": lambda x: keras.ops.relu(normalised(layers.Conv2D(5, 3)(x))),
}


@pytest.mark.parametrize("kind", FOLDED)
def test_a_normalisation_is_folded_into_its_convolution(kind):
    model = network(FOLDED[kind])
    outputs, weights = folded_outputs(model)
    assert weights.count == 1
    np.testing.assert_allclose(outputs, model(IMAGES, training=False), rtol=1e-4, atol=1e-5)
    for variable, value, folded in zip(
        model.variables, weights.values, weights.folded, strict=True
    ):
        assert folded == ("normalization" in variable.path or variable.name == "bias")
        if variable.name == "gamma":
            assert (value == 1).all()
        if variable.name == "moving_variance":  # the factor is 1 to the last digit
            assert (value + np.float32(0.01) == 1).all()


def two_uses(x):
    convolved = layers.Conv2D(5, 3)(x)
    return normalised(convolved) + convolved


def two_normalizations(x):
    convolved = layers.Conv2D(5, 3)(x)
    return normalised(convolved) + normalised(convolved)


def one_kernel_twice(x):
    convolution = layers.Conv2D(4, 3, padding="same")
    return normalised(convolution(normalised(convolution(x))))


KEPT = {
    "the convolution is used elsewhere too": two_uses,
    "it has two normalisations": two_normalizations,
    "its kernel is used twice": one_kernel_twice,
    "an activation lies between": lambda x: normalised(keras.ops.relu(layers.Conv2D(5, 3)(x))),
    "there is no convolution": normalised,
    # Keras hides these in a function of their own.
    "the convolution is in groups": lambda x: normalised(layers.Conv2D(6, 3, groups=2)(x)),
    "a factor that is no normalisation": lambda x: layers.Conv2D(5, 3)(x) * 2.0,
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_cannot_be_folded_is_left_alone(kind):
    model = network(KEPT[kind])
    outputs, weights = folded_outputs(model)
    assert (weights.count, any(weights.folded)) == (0, False)
    np.testing.assert_array_equal(outputs, model(IMAGES, training=False))


def test_weights_that_no_output_needs():
    def build(x):
        return layers.Dropout(0.5)(layers.Conv2D(5, 3)(x))  # has a seed

    weights = fold_batch_normalization(network(build))
    assert weights.used == [True, True, False]


@pytest.mark.parametrize("variant", ["mgmtn_mobilenetv3small", "baseline_efficientnetlite0"])
def test_most_normalisations_of_a_variant_are_folded(variant):
    model = build_model(ModelConfig(variant, {"image_size": 64}))
    there = sum(isinstance(x, layers.BatchNormalization) for x in model._flatten_layers())
    # In the mask decoder something else may follow.
    assert fold_batch_normalization(model).count >= 0.9 * there > 10


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
def test_the_phone_model_has_the_same_outputs(small_model_of, make_images, arguments):
    loaded: LoadedModel = small_model_of(**arguments)
    images = make_images(4, loaded.image_size)
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


def test_the_network_is_left_as_it_was(small_model_of, make_images):
    loaded = small_model_of(global_path=False)
    images = make_images(3, loaded.image_size)
    before = compile_forward(loaded.model)(images)
    names = [layer.name for layer in loaded.model.layers]
    phone_model(loaded.model, loaded.calibration, loaded.schema.attributes)
    assert [layer.name for layer in loaded.model.layers] == names
    after = compile_forward(loaded.model)(images)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)


def test_an_empty_mask_gives_numbers(small_model_of, make_images):
    loaded = small_model_of(global_path=False)
    head = loaded.model.get_layer("masks")
    head.kernel.assign(head.kernel * 0)
    head.bias.assign(head.bias * 0 - 1000.0)
    model = phone_model(loaded.model, loaded.calibration, loaded.schema.attributes)
    answers = model(make_images(1, loaded.image_size).astype(np.float32), training=False)
    assert (np.asarray(answers["masks"]) == 0).all()
    assert np.isfinite(answers["attributes"]).all()
