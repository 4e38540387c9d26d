import keras
import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.training.callbacks import Checkpoint


def make_model(units=3):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
    )
    model.compile(keras.optimizers.AdamW(0.1), "mse", metrics=["mae"], jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


class InterruptIn(keras.callbacks.Callback):
    """Ends a training in the n-th call of a method, as `StopAtStep` does."""

    def __init__(self, method, count):
        super().__init__()
        self.left = count
        setattr(self, method, self.count)

    def count(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise InterruptedError


def fit(path, *callbacks):
    """Trains 2 epochs of 4 steps from where the checkpoint is; returns it and all variables."""
    model = make_model()
    checkpoint = Checkpoint(path, {"seed": 0})
    checkpoint.restore(model)
    checkpoint.start_stage(4, score="val_mae")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    state = checkpoint.state
    model.evaluate(x, x[:, :3], verbose=0)  # builds the metrics
    try:
        while state.epoch < 2:
            model.fit(
                x[2 * state.step :],
                x[2 * state.step :, :3],
                batch_size=2,
                shuffle=False,
                initial_epoch=state.epoch,
                epochs=state.epoch + 1 if state.step else 2,
                validation_data=(x, x[:, :3]),
                verbose=0,
                callbacks=[checkpoint, *callbacks],
            )
    except InterruptedError:
        checkpoint.save()
    model_variables = [*model.variables, *model.optimizer.variables]
    return checkpoint, [np.asarray(variable) for variable in model_variables]


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole") / "c.npz")


@pytest.mark.parametrize(
    ("method", "count", "step"),
    [
        ("on_train_batch_end", 2, 2),
        ("on_train_batch_end", 4, 3),  # the last step is repeated, since it leads to a validation
        ("on_test_batch_end", 1, 3),
        ("on_train_batch_end", 7, 3),
    ],
)
def test_an_interrupted_training_resumes_exactly(whole, tmp_path, method, count, step):
    path = tmp_path / "c.npz"
    interrupted, _ = fit(path, InterruptIn(method, count))
    assert len(interrupted.state.history) == int(count == 7)
    assert Checkpoint(path, {}).state.step == step
    resumed, variables = fit(path)
    assert resumed.resumes and not whole[0].resumes
    # Weights, optimizer and the dropout's random generator.
    assert len(variables) == len(whole[1]) == 9
    for ours, theirs in zip(variables, whole[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    # Also the metrics of the interrupted epoch.
    history = without_seconds(resumed.state.history)
    assert history == without_seconds(whole[0].state.history)
    assert [row["epoch"] for row in history] == [1, 2] and history[0]["loss"] > 0


def test_the_best_epoch_is_kept(whole, tmp_path):
    checkpoint, _ = whole
    scores = [row["val_mae"] for row in checkpoint.state.history]
    assert checkpoint.state.best_epoch == 1 + int(np.argmax(scores))
    again, model = Checkpoint(checkpoint.path, {}), make_model()
    again.restore(model)
    again.finish_stage(model)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    scores_now = model.evaluate(x, x[:, :3], verbose=0, return_dict=True)
    assert scores_now["mae"] == pytest.approx(max(scores), abs=1e-5)
    assert (again.state.stage, again.state.epoch, again.state.step) == (1, 0, 0)


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_damaged_files_are_refused(whole, tmp_path, keep):
    path = tmp_path / "c.npz"
    path.write_bytes(whole[0].path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"c\.npz: expected the checkpoint .* to start over"):
        Checkpoint(path, {})


def test_another_network_is_refused(whole):
    with pytest.raises(ModelError, match=r"those of another network or optimizer; delete"):
        Checkpoint(whole[0].path, {}).restore(make_model(2))
