"""Folded weights give the same answers, and are folded only where they may be."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from far_keras.export.inference_graph import fold_batch_normalization
from far_keras.models.variants import VARIANTS, ModelConfig, build_model

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


def folded_answers(model):
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
    outputs, weights = folded_answers(model)
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


def two_normalisations(x):
    convolved = layers.Conv2D(5, 3)(x)
    return normalised(convolved) + normalised(convolved)


def one_kernel_twice(x):
    convolution = layers.Conv2D(4, 3, padding="same")
    return normalised(convolution(normalised(convolution(x))))


KEPT = {
    "the convolution is used elsewhere too": two_uses,
    "it has two normalisations": two_normalisations,
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
    outputs, weights = folded_answers(model)
    assert (weights.count, any(weights.folded)) == (0, False)
    np.testing.assert_array_equal(outputs, model(IMAGES, training=False))


def test_weights_that_no_answer_needs_are_told():
    def build(x):
        return layers.Dropout(0.5)(layers.Conv2D(5, 3)(x))  # has a seed

    weights = fold_batch_normalization(network(build))
    assert weights.used == [True, True, False]


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "resne" not in name])
def test_most_normalisations_of_a_variant_are_folded(variant):
    model = build_model(ModelConfig(variant, {"image_size": 64}))
    there = sum(isinstance(x, layers.BatchNormalization) for x in model._flatten_layers())
    # In the mask decoder something else may follow.
    assert fold_batch_normalization(model).count >= 0.9 * there > 10
