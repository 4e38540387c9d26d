import keras
import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.training.state import TrainingState, restore_state, write_state
from far_keras.training.weight_average import WeightAverage

STATE = TrainingState(2, 5, 1, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}], 12.5)


def make_model(units=3):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
    )
    model.compile(keras.optimizers.AdamW(0.1), loss="mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model, WeightAverage(model, 0.9)


def variables(model, average):
    return [
        np.asarray(v) for v in (*model.variables, *model.optimizer.variables, *average.variables)
    ]


def test_state_optimiser_dropout_and_average_come_back(tmp_path):
    model, average = make_model()
    model.fit(np.ones((8, 4)), np.ones((8, 3)), batch_size=2, verbose=0, callbacks=[average])
    write_state(tmp_path / "state.npz", STATE, model, average)
    other, its_average = make_model()
    assert restore_state(tmp_path / "state.npz", other, its_average) == STATE
    ours, theirs = variables(model, average), variables(other, its_average)
    assert theirs[-1] == 4  # steps that are averaged
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, two)
    assert other.optimizer.iterations == 4
    seeds = [v for v in other.variables if v.name == "seed_generator_state"]
    assert seeds, "the state of the dropout is one of the variables"


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_damaged_files_are_refused(tmp_path, keep):
    path = tmp_path / "state.npz"
    write_state(path, STATE, *make_model())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"state\.npz: the state .* cannot be read"):
        restore_state(path, *make_model())


def test_another_network_is_refused(tmp_path):
    write_state(tmp_path / "state.npz", STATE, *make_model(3))
    with pytest.raises(ModelError, match="another network"):
        restore_state(tmp_path / "state.npz", *make_model(2))
