import keras
import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.training.state import TrainingState, restore_state, write_state

STATE = TrainingState(2, 5, 1, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}], 12.5)


def make_model(units=3):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
    )
    model.compile(keras.optimizers.AdamW(0.1), loss="mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def variables(model):
    return [np.asarray(v) for v in (*model.variables, *model.optimizer.variables)]


def test_state_optimiser_and_dropout_come_back(tmp_path):
    model = make_model()
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    write_state(tmp_path / "state.npz", STATE, model)
    other = make_model()
    assert restore_state(tmp_path / "state.npz", other) == STATE
    for ours, theirs in zip(variables(model), variables(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert other.optimizer.iterations == 1
    seeds = [v for v in other.variables if v.name == "seed_generator_state"]
    assert seeds, "the state of the dropout is one of the variables"


@pytest.mark.parametrize("keep", [0, 100, -100])
def test_damaged_files_are_refused(tmp_path, keep):
    path = tmp_path / "state.npz"
    write_state(path, STATE, make_model())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"state\.npz: the state .* cannot be read"):
        restore_state(path, make_model())


def test_another_network_is_refused(tmp_path):
    write_state(tmp_path / "state.npz", STATE, make_model(3))
    with pytest.raises(ModelError, match="another network"):
        restore_state(tmp_path / "state.npz", make_model(2))
