import contextlib
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.training.losses import AttributeLoss, MaskLoss

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (6, 5)).astype("float32")
LABELS = RNG.integers(-1, 2, (6, 5)).astype("float32")
MASK_LOGITS = RNG.normal(0, 3, (4, 7, 6, 3)).astype("float32")
MASKS = RNG.uniform(0, 1, (4, 7, 6, 3)).astype("float32")
MASKS[2] = -1


def cross_entropy(target, logits):
    probability = 1 / (1 + np.exp(-logits.astype("float64")))
    return -(target * np.log(probability) + (1 - target) * np.log(1 - probability))


def test_attribute_loss_is_the_mean_over_known_labels():
    known = LABELS >= 0
    expected = cross_entropy(LABELS, LOGITS)[known].mean()
    np.testing.assert_allclose(AttributeLoss()(LABELS, LOGITS), expected, rtol=1e-5)  # float32


def test_attribute_loss_takes_int8_labels():
    np.testing.assert_allclose(
        AttributeLoss()(LABELS.astype("int8"), LOGITS), AttributeLoss()(LABELS, LOGITS)
    )


def test_missing_labels_have_no_gradient():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = AttributeLoss()(LABELS, logits)
    gradient = tape.gradient(loss, logits).numpy()
    np.testing.assert_array_equal(gradient != 0, LABELS >= 0)


@pytest.mark.parametrize(
    "loss, logits",
    [(AttributeLoss(), LOGITS), (MaskLoss(), MASK_LOGITS)],
    ids=["labels", "masks"],
)
def test_nothing_known_gives_zero_and_a_zero_gradient(loss, logits):
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(-np.ones(logits.shape), logits)
    assert value == 0
    np.testing.assert_array_equal(tape.gradient(value, logits), np.zeros(logits.shape))


@pytest.mark.parametrize(
    "loss, shape", [(AttributeLoss(), (2, 3)), (MaskLoss(), (2, 4, 4, 3))], ids=["labels", "masks"]
)
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_extreme_logits_stay_finite(loss, shape, logit):
    logits = tf.Variable(np.full(shape, logit, "float32"))
    with tf.GradientTape() as tape:
        value = loss(np.ones(shape), logits)
    assert np.isfinite(value)
    assert np.all(np.isfinite(tape.gradient(value, logits)))


def test_mask_loss_equals_the_reference():
    values = []
    for target, logits in zip(MASKS, MASK_LOGITS, strict=True):
        if target.min() < 0:
            continue
        p = 1 / (1 + np.exp(-logits.astype("float64")))
        overlap = (p * target).sum(axis=(0, 1))
        total = (p + target).sum(axis=(0, 1))
        dice = 1 - (2 * overlap + 1) / (total + 1)
        values.append(cross_entropy(target, logits).mean() + np.mean(dice))
    assert len(values) == 3
    result = MaskLoss()(MASKS, MASK_LOGITS)
    np.testing.assert_allclose(result, np.mean(values), rtol=1e-5)  # float32 sums


def test_a_perfect_empty_mask_costs_nothing():
    result = MaskLoss()(np.zeros((1, 4, 4, 1)), np.full((1, 4, 4, 1), -50.0))
    np.testing.assert_allclose(result, 0, atol=1e-6)


def test_losses_reload_from_their_config():
    loss = MaskLoss(name="mine")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, MaskLoss) and copy.name == "mine"
    copy = keras.losses.deserialize(keras.losses.serialize(AttributeLoss(name="other")))
    assert isinstance(copy, AttributeLoss) and copy.name == "other"


@pytest.mark.parametrize(
    "loss, shape", [(AttributeLoss(), (8, 3)), (MaskLoss(), (8, 2, 2, 3))], ids=["labels", "masks"]
)
def test_two_replicas_step_like_one(two_replicas, loss, shape):
    inputs = RNG.normal(size=(8, 4)).astype("float32")
    targets = RNG.integers(0, 2, shape).astype("float32")
    results = []
    for strategy in (None, two_replicas):
        keras.utils.set_random_seed(0)
        with strategy.scope() if strategy else contextlib.nullcontext():
            x = keras.Input((4,))
            y = keras.layers.Reshape(shape[1:])(keras.layers.Dense(math.prod(shape[1:]))(x))
            model = keras.Model(x, y)
            model.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=False)
        history = model.fit(inputs, targets, batch_size=8, shuffle=False, verbose=0).history
        results.append([history["loss"][0], *model.get_weights()])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)  # float32 sums of halves
