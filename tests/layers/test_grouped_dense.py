import numpy as np
import pytest

from far_keras.layers import GroupedDense

RNG = np.random.default_rng(3)


def test_equals_one_dense_layer_a_group():
    x = RNG.normal(size=(5, 3, 4)).astype("float32")
    layer = GroupedDense(2, activation="relu")
    layer(x)
    kernel, bias = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 2))
    layer.set_weights([kernel, bias])
    expected = np.stack([np.maximum(x[:, g] @ kernel[g] + bias[g], 0) for g in range(3)], axis=1)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)  # float32


def test_each_group_starts_like_a_dense_layer_of_its_own():
    layer = GroupedDense(60)
    layer.build((None, 8, 300))
    kernel = np.asarray(layer.kernel)
    glorot = np.sqrt(6 / (300 + 60))
    assert np.abs(kernel).max() <= glorot
    # The deviation of a uniform distribution; 18,000 values a group estimate it within 1%.
    np.testing.assert_allclose(kernel.std(axis=(1, 2)), glorot / np.sqrt(3), rtol=0.02)
    assert not np.allclose(kernel[0], kernel[1])


def test_refuses_no_units():
    with pytest.raises(ValueError, match=r"units must be at least 1\. Received: 0"):
        GroupedDense(0)
