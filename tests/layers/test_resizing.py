import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.layers import AreaResize, Rescale, Resize

RNG = np.random.default_rng(5)


def test_area_resize_by_a_whole_factor_is_average_pooling():
    masks = RNG.uniform(size=(2, 32, 32, 3)).astype("float32")
    expected = masks.reshape(2, 4, 8, 4, 8, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(AreaResize(4, 4)(masks), expected, rtol=1e-5)  # float32


@pytest.mark.parametrize("size", [(57, 29), (57, 15), (29, 8), (5, 7)])
def test_area_resize_equals_averaging_after_exact_enlargement(size):
    source, target = size
    masks = RNG.uniform(size=(1, source, source, 2)).astype("float32")
    # Repeated `target` times a pixel, the grid is a multiple of the target's.
    fine = masks.repeat(target, axis=1).repeat(target, axis=2).astype("float64")
    expected = fine.reshape(1, target, source, target, source, 2).mean(axis=(2, 4))
    result = AreaResize(target, target)(masks)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)  # float32 weights


def test_area_resize_loses_no_pixel():
    masks = np.zeros((1, 32, 32, 1), "float32")
    masks[0, 13, 5] = 1
    result = np.asarray(AreaResize(4, 4)(masks))
    assert result[0, 1, 0, 0] == 1 / 64
    assert result.sum() == 1 / 64


def test_resize_keeps_a_linear_ramp_inside():
    ramp = np.arange(8, dtype="float32")[None, :, None, None] * np.ones((1, 8, 8, 1), "float32")
    result = np.asarray(Resize(16, 16)(ramp))[0, :, 0, 0]
    # Output centre i lies at (i + 0.5) / 2 - 0.5; outside the outermost centres it is clamped.
    np.testing.assert_allclose(result, np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7), atol=1e-6)


@pytest.mark.parametrize("sizes", [(4, 8), (5, 9), (6, 18), (8, 15), (15, 29), (7, 3)])
def test_resize_equals_tensorflows_compiled_or_not(sizes):
    """TensorFlow's own resizing is right when it is not compiled by XLA."""
    source, target = sizes
    x = tf.constant(RNG.normal(size=(2, source, source + 1, 3)), "float32")
    layer = Resize(target, 2 * target)
    expected = tf.image.resize(x, (target, 2 * target))
    # TensorFlow computes the positions in float32.
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    compiled = tf.function(layer.__call__, jit_compile=True)
    np.testing.assert_allclose(compiled(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", range(1, 33))
def test_doubling_compiled_with_xla_is_right(size):
    x = tf.constant(RNG.normal(size=(1, size, size, 1)), "float32")
    layer = Resize(2 * size, 2 * size)
    compiled = tf.function(layer.__call__, jit_compile=True)
    np.testing.assert_allclose(compiled(x), layer(x), rtol=1e-5, atol=1e-5)  # float32


def test_resize_does_not_put_later_layers_into_training_mode():
    x = keras.Input((4, 4, 3))
    y = keras.layers.BatchNormalization()(Resize(8, 8)(Rescale(127, 128)(x)))
    model = keras.Model(x, keras.layers.Dropout(0.5)(y))
    images = RNG.uniform(0, 255, size=(2, 4, 4, 3)).astype("float32")
    # `export` calls the model without `training`, like this.
    np.testing.assert_array_equal(model(images), model(images, training=False))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_rescale_takes_pixels_of_any_dtype(dtype, policy):
    pixels = np.arange(256).astype(dtype)
    result = keras.ops.cast(Rescale(127, 128, dtype=policy)(pixels), "float32")
    expected = (np.arange(256) - 127) / 128
    # bfloat16 has 8 bits: relative error 2^-8 of the scaled value, not of the pixel's 0..255.
    np.testing.assert_allclose(result, expected, rtol=0 if policy == "float32" else 2**-8)


@pytest.mark.parametrize("kind", [Resize, AreaResize])
def test_refuses_an_empty_size(kind):
    with pytest.raises(ValueError, match="Received: 0, 4"):
        kind(0, 4)


def test_rescale_refuses_to_divide_by_zero():
    with pytest.raises(ValueError, match="divisor must not be 0"):
        Rescale(0, 0)
