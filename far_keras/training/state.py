"""The state of an unfinished training, in one file that is written whole or not at all."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from far_keras.errors import ModelError
from far_keras.files import atomic_path
from far_keras.training.weight_average import WeightAverage

__all__ = ["TrainingState", "read_state", "restore_state", "write_state"]


@dataclass
class TrainingState:
    """How far a training has come.

    Args:
        stage: Index of the stage, see `far_keras.training.stages`.
        epoch: Epochs of this stage that are finished.
        step: Steps of the next epoch that are done.
        best_epoch: Number, from 1 through all stages, of this stage's epoch with the best
            validation; 0 if there is none yet.
        history: One row of figures for each finished epoch.
        seconds: Time spent so far.
    """

    stage: int = 0
    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def write_state(
    path: str | Path, state: TrainingState, model: keras.Model, average: WeightAverage
) -> None:
    """Writes the state with the variables of model, optimiser, dropouts and average."""
    arrays: dict[str, Any] = {
        f"{index:05d}": keras.ops.convert_to_numpy(variable.value)
        for index, variable in enumerate(_variables(model, average))
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, state=json.dumps(asdict(state)), **arrays)


def read_state(path: str | Path) -> TrainingState:
    """Reads how far a training has come, without any variables.

    Raises:
        ModelError: The file is damaged.
    """
    return _read(path)[0]


def restore_state(path: str | Path, model: keras.Model, average: WeightAverage) -> TrainingState:
    """Reads what `write_state` wrote into a model that was built, compiled and averaged alike.

    Raises:
        ModelError: The file is damaged, or is of another network or optimiser.
    """
    variables = _variables(model, average)
    state, arrays = _read(path)
    if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
        raise ModelError(
            f"{path}: the state is of another network or optimiser; delete it to start anew"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return state


def _read(path: str | Path) -> tuple[TrainingState, list[np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            state = TrainingState(**json.loads(str(data["state"])))
            return state, [data[f"{index:05d}"] for index in range(len(data.files) - 1)]
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: the state of the training cannot be read: {error}; delete it to start anew"
        ) from error


def _variables(model: keras.Model, average: WeightAverage) -> list[Any]:
    return [*model.variables, *model.optimizer.variables, *average.variables]
