import numpy as np
import pytest
import tensorflow as tf

from far_keras.layers import MixStyle

RNG = np.random.default_rng(0)
# Images of quite different means and deviations.
FEATURES = (
    RNG.normal(size=(16, 6, 5, 3)) * RNG.uniform(1, 4, (16, 1, 1, 3))
    + RNG.normal(0, 20, (16, 1, 1, 3))
).astype("float32")


def statistics(x):
    return np.mean(x, axis=(1, 2), keepdims=True), np.std(x, axis=(1, 2), keepdims=True)


def normalised(x):
    mean, deviation = statistics(x)
    return (x - mean) / deviation


def test_nothing_is_changed_without_training():
    layer = MixStyle(1.0)
    np.testing.assert_array_equal(layer(FEATURES), FEATURES)
    np.testing.assert_array_equal(layer(FEATURES, training=False), FEATURES)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "xla"])
def test_statistics_are_mixed_with_the_neighbours_and_nothing_else_is(compiled):
    layer = MixStyle(1.0, alpha=1.0, seed=1)
    call = tf.function(layer.__call__, jit_compile=True) if compiled else layer
    mixed = np.asarray(call(tf.constant(FEATURES), training=True))
    np.testing.assert_allclose(normalised(mixed), normalised(FEATURES), atol=1e-3)
    (mean, deviation), (new_mean, new_deviation) = statistics(FEATURES), statistics(mixed)
    other_mean, other_deviation = np.roll(mean, 1, axis=0), np.roll(deviation, 1, axis=0)
    # One share an image for the means and deviations of all of its channels, told by the means.
    share = np.median((new_mean - other_mean) / (mean - other_mean), axis=3, keepdims=True)
    assert share.min() > -0.01 and share.max() < 1.01 and share.std() > 0.15
    np.testing.assert_allclose(
        new_mean, share * mean + (1 - share) * other_mean, rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(
        new_deviation, share * deviation + (1 - share) * other_deviation, rtol=1e-3
    )


def test_the_probability_is_that_of_a_picture():
    features = RNG.normal(size=(2000, 2, 2, 1)).astype("float32")
    mixed = np.asarray(MixStyle(0.3, alpha=5.0, seed=0)(features, training=True))
    changed = np.abs(mixed - features).max(axis=(1, 2, 3)) > 1e-4
    assert changed.mean() == pytest.approx(0.3, abs=0.04)  # 4 standard deviations


def test_no_gradient_flows_through_the_statistics():
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(features)
        mixed = MixStyle(1.0, alpha=1.0, seed=1)(features, training=True)
        total = tf.reduce_sum(mixed)
    factor = statistics(mixed.numpy())[1] / statistics(FEATURES)[1]
    np.testing.assert_allclose(
        tape.gradient(total, features), np.broadcast_to(factor, FEATURES.shape), rtol=1e-3
    )


def test_mixed_precision_computes_statistics_in_float32():
    # In float16 the sum over 64 x 64 positions would overflow.
    features = RNG.normal(100, 30, (4, 64, 64, 2)).astype("float16")
    layer = MixStyle(1.0, seed=1, dtype="mixed_float16")
    full = MixStyle(1.0, seed=1)
    mixed = layer(features, training=True)
    assert mixed.dtype == "float16"
    expected = full(features.astype("float32"), training=True)
    np.testing.assert_allclose(np.asarray(mixed), expected, rtol=2e-3, atol=0.1)


def test_the_same_seed_draws_alike_and_each_call_anew():
    one, two = (MixStyle(1.0, seed=5) for _ in range(2))
    first = [np.asarray(layer(FEATURES, training=True)) for layer in (one, two)]
    np.testing.assert_array_equal(*first)
    assert np.abs(np.asarray(one(FEATURES, training=True)) - first[0]).max() > 0.1


@pytest.mark.parametrize("arguments", [{"probability": 1.1}, {"alpha": 0}, {"epsilon": 0}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        MixStyle(**arguments)
