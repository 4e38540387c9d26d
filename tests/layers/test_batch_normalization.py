import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.layers.batch_normalization import BatchNormalization, fuse


def pair(**arguments):
    plain = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, **arguments)
    fused = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, **arguments)
    fuse(fused)
    assert type(fused) is BatchNormalization
    return plain, fused


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return rng.normal(3.0, 2.0, (4, 5, 7, 6)).astype("float32")


def train_once(layer, x, weights):
    """Outputs, gradients of inputs, gamma and beta, and the moving statistics after one step."""
    layer.build(x.shape)
    layer.gamma.assign(np.linspace(0.5, 2.0, 6))
    layer.beta.assign(np.linspace(-1.0, 1.0, 6))
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(y * weights)
    gradients = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
    return [y, *gradients, layer.moving_mean, layer.moving_variance]


def test_it_trains_like_keras_own(pictures):
    weights = np.random.default_rng(1).normal(size=pictures.shape).astype("float32")
    expected, got = (train_once(layer, pictures, weights) for layer in pair())
    for ours, theirs in zip(got, expected, strict=True):
        # float32 sums over 140 positions, in another order
        np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("arguments", [{"scale": False}, {"center": False}, {"axis": 1}])
def test_what_the_kernel_cannot_do_is_left_to_keras(pictures, arguments):
    plain, fused = pair(**arguments)
    np.testing.assert_allclose(
        fused(pictures, training=True), plain(pictures, training=True), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(fused.moving_mean, plain.moving_mean, rtol=1e-6, atol=1e-7)


def test_a_frozen_one_keeps_its_statistics(pictures):
    _, fused = pair()
    fused.trainable = False
    before = fused(pictures, training=False)
    np.testing.assert_array_equal(fused(pictures, training=True), before)
    np.testing.assert_array_equal(fused.moving_mean, np.zeros(6))


def test_half_precision_keeps_float32_statistics(pictures):
    layer = keras.layers.BatchNormalization(momentum=0.0, dtype="mixed_bfloat16")
    fuse(layer)
    y = layer(pictures, training=True)
    assert y.dtype == "bfloat16"
    rounded = np.array(tf.cast(tf.cast(pictures, "bfloat16"), "float32"))
    np.testing.assert_allclose(layer.moving_variance, rounded.var(axis=(0, 1, 2)), rtol=1e-4)


def test_a_saved_network_keeps_it(tmp_path, pictures):
    x = keras.Input((5, 7, 6))
    layer = keras.layers.BatchNormalization()
    network = keras.Model(x, layer(x))
    fuse(layer)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    assert type(again.layers[1]) is BatchNormalization
    np.testing.assert_array_equal(again(pictures), network(pictures))
