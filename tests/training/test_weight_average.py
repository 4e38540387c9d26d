"""The average of the weights: by its formula, in a training, and over an interruption."""

import keras
import numpy as np
import pytest

from far_keras.datasets.pipeline import load_records
from far_keras.models.storage import load_model
from far_keras.training.losses import AttributeLoss
from far_keras.training.trainer import train
from far_keras.training.weight_average import WeightAverage

# Little to train, so that what is measured is the average.
SMALL = {"variant": "baseline_small", "model": {"dropout": 0.0}, "learning_rate": 0.02}


class Snapshots(keras.callbacks.Callback):
    """The weights after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())


def make_model():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(3, "tanh"), keras.layers.BatchNormalization(momentum=0.5)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.SGD(0.3), loss="mse", jit_compile=False)
    return model


def test_average_of_weights_and_statistics_equals_the_formula():
    model, seen = make_model(), Snapshots()
    average = WeightAverage(model, 0.8)
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(160, 4)), rng.normal(size=(160, 3))
    for half in (slice(0, 80), slice(80, 160)):  # as one `fit` an epoch
        model.fit(inputs[half], targets[half], batch_size=2, verbose=0, callbacks=[average, seen])
    assert len(seen.weights) == 80
    expected = [np.zeros_like(weight) for weight in seen.weights[0]]
    for step, weights in enumerate(seen.weights):
        momentum = min(0.8, step / (step + 9))
        for total, weight in zip(expected, weights, strict=True):
            total *= momentum
            total += (1 - momentum) * weight
    own = model.get_weights()
    with average.in_place():
        averaged = model.get_weights()
    assert len(averaged) == 6  # kernel, bias, gamma, beta, and both moving statistics
    for ours, theirs, last in zip(averaged, expected, own, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)  # 80 steps in float32
        assert np.abs(ours - last).max() > 1e-3
    for before, after in zip(own, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_own_weights_come_back_after_an_error():
    model = make_model()
    average = WeightAverage(model, 0.8)
    model.fit(np.ones((8, 4)), np.ones((8, 3)), batch_size=2, verbose=0, callbacks=[average])
    own = model.get_weights()
    with pytest.raises(ZeroDivisionError), average.in_place():
        raise ZeroDivisionError
    for before, after in zip(own, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_without_momentum_nothing_is_kept():
    model = make_model()
    average = WeightAverage(model, 0.0)
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0, callbacks=[average])
    assert average.variables == []
    own = model.get_weights()
    with average.in_place():
        for before, after in zip(own, model.get_weights(), strict=True):
            np.testing.assert_array_equal(after, before)


@pytest.fixture(scope="module")
def averaged(make_config, tmp_path_factory):
    """A training with an average that was not interrupted."""
    folder = tmp_path_factory.mktemp("averaged") / "model"
    return train(make_config(folder, **SMALL, ema=0.9), progress=False)


def test_the_average_is_validated_and_saved_but_not_trained(averaged, make_config, tmp_path):
    config = make_config(tmp_path / "plain", **SMALL)
    plain = train(config, progress=False)
    losses = [[row["loss"] for row in result.history] for result in (plain, averaged)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    losses = [[row["val_loss"] for row in result.history] for result in (plain, averaged)]
    assert losses[1] != pytest.approx(losses[0], rel=0.02)

    loaded = load_model(averaged.folder)
    assert loaded.provenance["config"]["ema"] == 0.9
    data = load_records(config.records, "valid", schema=loaded.schema, image_size=64, batch_size=10)
    images, targets = next(iter(data))
    loss = AttributeLoss()(
        targets["attributes"], loaded.model.predict(images, verbose=0)["attributes"]
    )
    best = averaged.history[averaged.best_epoch - 1]["val_loss"]
    assert float(loss) == pytest.approx(best, rel=1e-3)


def test_stopped_and_resumed_equals_uninterrupted(averaged, make_config, tmp_path, trainings):
    config = make_config(tmp_path / "model", **SMALL, ema=0.9)
    for method, count in (
        ("on_train_batch_end", 4),  # in the first epoch
        ("on_test_batch_end", 2),  # in its validation, where the average is in place
    ):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            trainings.interrupt_at(patch, method, count)
            train(config, progress=False)
    resumed = train(config, progress=False)
    trainings.assert_equal_models(averaged.folder, resumed.folder)
    for key in ("val_loss", "val_auc"):
        expected = [row[key] for row in averaged.history]
        assert [row[key] for row in resumed.history] == pytest.approx(expected, rel=1e-3)


def test_two_replicas_average_like_one(averaged, make_config, tmp_path, two_replicas):
    config = make_config(tmp_path / "two", **SMALL, ema=0.9, epochs=1)
    history = train(config, progress=False, strategy=two_replicas).history
    # Batch normalisation sees halves of a batch: near, not equal.
    assert history[0]["val_loss"] == pytest.approx(averaged.history[0]["val_loss"], rel=0.2)
