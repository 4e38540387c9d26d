import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.layers import SplitAttention

RNG = np.random.default_rng(3)
X = RNG.normal(size=(2, 5, 6, 6)).astype("float32")  # (B, H, W, C)


def layer_with_weights(**arguments):
    layer = SplitAttention(4, **arguments)
    layer.build((None, None, None, 6))
    for weight in layer.weights:
        # Positive, as variances must be; the kernels of both signs.
        signed = weight.name in ("kernel", "bias", "beta", "moving_mean")
        weight.assign(RNG.uniform(-1 if signed else 0.5, 1, weight.shape))
    return layer


def reference(layer, x, radix):
    """Loops over splits and positions, from the formulas of the docstring."""

    def norm(value, part):
        gamma, beta, mean, variance = (np.asarray(weight) for weight in part.get_weights())
        return gamma * (value - mean) / np.sqrt(variance + layer.epsilon) + beta

    kernel = np.asarray(layer.kernel)
    size, filters = kernel.shape[0], layer.filters
    batch, height, width, channels = x.shape
    share, margin = channels // radix, size // 2
    u = np.zeros((batch, height, width, radix * filters))
    for r in range(radix):
        for row in range(height):
            for column in range(width):
                for i in range(size):
                    for j in range(size):
                        y, z = row + i - margin, column + j - margin
                        if 0 <= y < height and 0 <= z < width:
                            part = x[:, y, z, r * share : (r + 1) * share]
                            out = slice(r * filters, (r + 1) * filters)
                            u[:, row, column, out] += part @ kernel[i, j, :, out]
    u = np.maximum(norm(u, layer.splits_norm), 0)
    splits = [u[..., r * filters : (r + 1) * filters] for r in range(radix)]
    s = sum(splits).mean((1, 2))
    hidden, bias = layer.hidden.get_weights()
    z = np.maximum(norm(s @ hidden + bias, layer.hidden_norm), 0)
    attention, bias = layer.attention.get_weights()
    logits = np.split(z @ attention + bias, radix, axis=1)
    total = sum(np.exp(logit) for logit in logits)
    return sum(
        split * (np.exp(logit) / total)[:, None, None]
        for split, logit in zip(splits, logits, strict=True)
    )


@pytest.mark.parametrize(
    ("radix", "kernel_size"), [(2, 3), (3, 1), (2, 5)], ids=["usual", "three", "wide"]
)
def test_equals_the_reference(radix, kernel_size):
    layer = layer_with_weights(radix=radix, kernel_size=kernel_size)
    # float32 sums of up to 75 terms of about 1.
    np.testing.assert_allclose(layer(X), reference(layer, X, radix), rtol=1e-4, atol=1e-5)


def test_training_uses_the_batch_and_moves_the_averages():
    layer = layer_with_weights()
    before = layer.splits_norm.moving_mean.numpy(), layer.hidden_norm.moving_mean.numpy()
    still = layer(X, training=False)
    assert np.abs(layer(X, training=True) - still).max() > 1e-3
    after = layer.splits_norm.moving_mean.numpy(), layer.hidden_norm.moving_mean.numpy()
    assert all(np.any(old != new) for old, new in zip(before, after, strict=True))


def test_the_argument_training_is_inherited_from_the_model():
    inputs = keras.Input(X.shape[1:])
    model = keras.Model(inputs, layer_with_weights()(inputs))
    assert np.abs(model(X, training=True) - model(X, training=False)).max() > 1e-3
    np.testing.assert_allclose(model(X), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_equal_splits_are_halved():
    """Both splits alike: whatever the attention says, their weights add up to 1."""
    layer = layer_with_weights()
    layer.kernel.assign(np.tile(np.asarray(layer.kernel)[..., :4], 2))
    for weight in layer.splits_norm.weights:
        weight.assign(np.tile(np.asarray(weight)[:4], 2))
    alike = np.concatenate([X[..., :3]] * 2, axis=-1)
    changed = layer_with_weights()
    changed.set_weights(layer.get_weights())
    changed.attention.kernel.assign(-3 * np.asarray(layer.attention.kernel))
    np.testing.assert_allclose(layer(alike), changed(alike), rtol=1e-5, atol=1e-6)


def test_trains_in_a_plain_graph():
    """Without XLA, which a convolution with groups would bring into the graph."""
    layer = layer_with_weights()

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(X, training=True) ** 2)
        return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])

    assert all(np.isfinite(gradient).all() for gradient in gradients())
    operations = gradients.get_concrete_function().graph.get_operations()
    assert not [op.name for op in operations if "_XlaMustCompile" in op.node_def.attr]


def test_the_hidden_layer_has_the_reference_s_size():
    for channels, expected in [(64, 32), (128, 64), (256, 128)]:
        layer = SplitAttention(channels)
        layer.build((None, 8, 8, channels))
        assert layer.hidden.units == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 0},
        {"filters": 4, "radix": 1},
        {"filters": 4, "reduction": 0},
        {"filters": 4, "kernel_size": 2},
    ],
)
def test_refuses_bad_arguments(arguments):
    with pytest.raises(ValueError, match="Received"):
        SplitAttention(**arguments)


def test_refuses_channels_that_cannot_be_split():
    with pytest.raises(ValueError, match="multiple of radix=2"):
        SplitAttention(4)(X[..., :5])
