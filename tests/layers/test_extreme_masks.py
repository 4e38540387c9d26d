"""From masks to answers with masks of zeros, of ones and of one pixel: no NaN, no 0/0."""

import numpy as np
import pytest
import tensorflow as tf

from far_keras.layers import AreaResize, GroupedHead, GroupGlobalFusion, GroupPooling

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(2, 4, 4, 5)).astype("float32")  # (B, H, W, C)
MASKS = {
    "zeros": np.zeros((2, 9, 9, 3), "float32"),
    "ones": np.ones((2, 9, 9, 3), "float32"),
    "one pixel": np.eye(81, dtype="float32")[40].reshape(1, 9, 9, 1) * np.ones((2, 1, 1, 3), "f"),
}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("fusion", ["concat", "gated", "sum"])
@pytest.mark.parametrize("pooling", ["average", "product"])
@pytest.mark.parametrize("kind", MASKS)
def test_answers_and_gradients_are_finite(kind, pooling, fusion, policy):
    resize = AreaResize(4, 4, dtype=policy)
    pool = GroupPooling(pooling, dtype=policy)
    fuse = GroupGlobalFusion(6, fusion, dtype=policy)
    head = GroupedHead([2, 0, 1, 0], dtype=policy)
    masks, features = tf.constant(MASKS[kind]), tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch([masks, features])
        group = pool([features, resize(masks)])
        whole = tf.reduce_mean(tf.cast(features, group.dtype), axis=(1, 2))
        logits = tf.cast(head(fuse([group, whole])), "float32")
        loss = tf.reduce_sum(logits**2)
    assert logits.shape == (2, 4) and np.all(np.isfinite(logits))
    weights = [*fuse.trainable_variables, *head.trainable_variables]
    sources = [masks, features, *(weight.value for weight in weights)]
    for gradient in tape.gradient(loss, sources):
        assert np.all(np.isfinite(tf.cast(gradient, "float32")))


@pytest.mark.parametrize("pooling", ["average", "product"])
@pytest.mark.parametrize("kind", MASKS)
def test_compiled_with_xla_they_are_the_same(kind, pooling):
    resize, pool = AreaResize(4, 4), GroupPooling(pooling)
    masks, features = tf.constant(MASKS[kind]), tf.constant(FEATURES)
    compiled = tf.function(lambda f, m: pool([f, resize(m)]), jit_compile=True)
    expected = np.asarray(pool([features, resize(masks)]))
    result = np.asarray(compiled(features, masks))
    assert np.all(np.isfinite(result))
    # The epsilon of 1e-6 beside one pixel's 16/81 of a cell, and another order of summation.
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)
