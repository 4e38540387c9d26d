"""ResNeSt-50 against values of the authors' code, written by benchmarks/resnest_parity.py."""

import importlib.util
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from far_keras.models.backbones import pyramid
from far_keras.models.resnest import resnest, resnest50
from far_keras.models.variants import ModelConfig, build_model
from research.resnest_weights import reference_weights

GOLD = Path(__file__).with_name("resnest_gold.npz")
SMALL = {"widths": (4, 6), "blocks": (1, 2), "strides": (1, 2), "stem_width": 4}


@pytest.fixture(scope="module")
def parity():
    path = Path(__file__).parents[2] / "benchmarks" / "resnest_parity.py"
    spec = importlib.util.spec_from_file_location("resnest_parity", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network(parity):
    """ResNeSt-50 for any size, with the weights of the rule."""
    backbone = resnest50(keras.Input((None, None, 3)))
    for name, shape, weight in reference_weights(backbone):
        value = parity.rule_weight(name, shape)
        if len(shape) == 4:
            value = value.transpose(2, 3, 1, 0)
        weight.assign(value.reshape(weight.shape))
    return backbone


@pytest.mark.parametrize("size", [224, 227])
def test_equals_the_reference_implementation(network, parity, size):
    levels = ("P2", "P3", "P4", "P5")
    features = keras.Model(network.input, pyramid(network, levels))
    found = features(parity.rule_image(size), training=False)
    with np.load(GOLD) as gold:
        for level in levels:
            received = np.asarray(found[level])
            for key, value in parity.summary(received).items():
                expected = gold[f"{size}_C{level[1]}_{key}"]
                assert value.shape == expected.shape
                # The goal is 1e-3 of the mean magnitude; float32 gives 1e-5, and a wrong padding
                # or order of splits 1e-1 and more.
                np.testing.assert_allclose(
                    value, expected, rtol=0, atol=1e-4 * np.abs(received).mean(), err_msg=level
                )


def test_has_the_published_number_of_parameters(network):
    def count(weights):
        return sum(math.prod(weight.shape) for weight in weights)

    assert count(network.trainable_weights) == 25_434_240
    assert count(network.non_trainable_weights) == 64_576
    norms = [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) == 71 and {norm.epsilon for norm in norms} == {1e-5}


def test_every_weight_has_a_place_in_the_reference(network):
    places = list(reference_weights(network))
    assert len({name for name, _, _ in places}) == len(places)
    assert {id(weight) for _, _, weight in places} == {id(weight) for weight in network.weights}


@pytest.mark.parametrize("size", [32, 64, 65, 128, 227])
def test_levels_have_their_stride(size):
    backbone = resnest50(keras.Input((size, size, 3)))
    shapes = [tensor.shape[1:] for tensor in pyramid(backbone, ("P2", "P3", "P4", "P5")).values()]
    sides = [math.ceil(size / stride) for stride in (4, 8, 16, 32)]
    assert shapes == [
        (side, side, channels) for side, channels in zip(sides, (256, 512, 1024, 2048), strict=True)
    ]


def test_reloads_from_a_keras_file(tmp_path):
    backbone = resnest(keras.Input((32, 32, 3)), **SMALL)
    random = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign(random.uniform(0.1, 1, weight.shape))
    pictures = random.integers(0, 256, (2, 32, 32, 3)).astype("float32")
    assert backbone.pyramid_level_inputs == {"P2": "stack1_block1_out", "P3": "stack2_block2_out"}
    levels = keras.Model(backbone.input, pyramid(backbone, ("P2", "P3")))
    levels.save(tmp_path / "levels.keras")
    again = keras.models.load_model(tmp_path / "levels.keras").predict(pictures, verbose=0)
    np.testing.assert_array_equal(again["P3"], backbone.predict(pictures, verbose=0))


def test_learns_in_every_weight():
    import tensorflow as tf

    backbone = resnest(keras.Input((None, None, 3)), **SMALL)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(backbone(pictures, training=True) ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in backbone.trainable_weights])
    for weight, gradient in zip(backbone.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), weight.path
        if weight.path.endswith("hidden/bias"):
            continue  # the normalisation behind it takes any constant away
        assert np.any(gradient != 0), weight.path


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
