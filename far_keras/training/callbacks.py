"""Callbacks of a training: resumption, progress, and stopping at the end of a step."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np
import tensorflow as tf

from far_keras.console import progress_bar
from far_keras.errors import FarError, ModelError
from far_keras.files import atomic_path, writing

__all__ = ["Checkpoint", "StopAtStep", "StopRequestedError", "TrainingProgress", "TrainingState"]

Arrays = dict[str, list[np.ndarray]]


@dataclass
class TrainingState:
    """The progress of a training.

    Args:
        stage: Index of the stage.
        epoch: Finished epochs of this stage.
        step: Finished steps of the next epoch.
        best_epoch: Number, from 1 over all stages, of this stage's epoch with the best validation;
            0 if there is none.
        history: One row of metrics per finished epoch.
        seconds: Training time so far.
    """

    stage: int = 0
    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class Checkpoint(keras.callbacks.Callback):
    """Makes a training resumable and keeps the weights of the best epoch.

    One file holds the settings, the `TrainingState`, the variables of the model (with its random
    generators) and of the optimizer, the metrics of an unfinished epoch, and the best weights. It
    is written atomically after every epoch, and by `save` after a step.

    Args:
        path: The file. If it exists, the training resumes from it.
        settings: JSON data on the training, stored in the file.
        check: Called with the stored settings; raises an error if they belong to another training.

    Attributes:
        state: The progress.
        resumes: Whether the file existed.

    Raises:
        ModelError: The file is damaged.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], None] = lambda stored: None,
    ) -> None:
        super().__init__()
        self.path, self.state, self.resumes = path, TrainingState(), path.exists()
        self._settings = settings
        self._arrays: Arrays = {"variables": [], "metrics": [], "best": []}
        if self.resumes:
            try:
                stored, self.state, self._arrays = _read(path)
                check(stored)
            except FarError:
                raise
            except (OSError, EOFError, LookupError, TypeError, ValueError, BadZipFile) as error:
                raise ModelError(
                    f"{path}: expected the checkpoint of an unfinished training. Received: "
                    f"{error!r:.200}; delete {path.parent} to start over"
                ) from error
        self._started = time.monotonic() - self.state.seconds

    def restore(self, model: keras.Model) -> None:
        """Sets the variables of a compiled model and its optimizer, if the training resumes.

        Raises:
            ModelError: The checkpoint belongs to another network or optimizer.
        """
        stored, variables = self._arrays["variables"], _variables(model)
        if not self.resumes:
            return
        if [array.shape for array in stored] != [tuple(variable.shape) for variable in variables]:
            raise ModelError(
                f"{self.path}: expected the variables of this network and optimizer. Received: "
                f"those of another network or optimizer; delete {self.path.parent} to start over"
            )
        _assign(variables, stored)

    def start_stage(
        self,
        steps: int,
        score: str,
        name: str | None = None,
        check_row: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> None:
        """Prepares for the `fit` of a stage.

        Args:
            steps: Steps per epoch.
            score: Key of the history row that the best epoch maximizes.
            name: Name of the stage in the history, if there are several.
            check_row: Called with each row before it is kept; raises an error for a failed epoch.
        """
        self._steps, self._score, self._name, self._check_row = steps, score, name, check_row

    def finish_stage(self, model: keras.Model) -> None:
        """Sets the model's weights to those of the best epoch; `state` is at the next stage.

        The file stays as it is until the next stage has an epoch: a training that is killed before
        resumes at the end of this stage.
        """
        _assign(model.weights, self._arrays["best"])
        self._arrays["best"] = []
        self.state.stage, self.state.epoch, self.state.step = self.state.stage + 1, 0, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_started = time.monotonic()
        if self._arrays["metrics"]:  # of the interrupted epoch, which Keras has just reset
            _assign(self.model.metrics_variables, self._arrays["metrics"])
            self._arrays["metrics"] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.state.step == self._steps - 1:
            self._before_last_step = self._current()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.state.step += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row: dict[str, Any] = {"epoch": len(self.state.history) + 1}
        if self._name is not None:
            row["stage"] = self._name
        row |= _plain_names(logs or {})
        row["seconds"] = round(time.monotonic() - self._epoch_started, 1)
        self._check_row(row)
        earlier = self.state.history[len(self.state.history) - self.state.epoch :]  # this stage's
        is_best = row[self._score] > max((old[self._score] for old in earlier), default=-1.0)
        if is_best:
            self.state.best_epoch = row["epoch"]
            self._arrays["best"] = _values(self.model.weights)
        self.state.history.append(row)
        self.state.epoch, self.state.step = self.state.epoch + 1, 0
        self.save()
        if logs is not None:  # for the callbacks that come after this one
            logs |= {**row, "is_best": is_best}

    def save(self) -> None:
        """Writes the file. Call it after a step or an epoch."""
        self.state.seconds = round(time.monotonic() - self._started, 1)
        state, arrays = self.state, self._current()
        if state.step == self._steps:
            # Before or in the validation, which Keras cannot start without a step of training.
            state, arrays = replace(state, step=self._steps - 1), self._before_last_step
        header = json.dumps({"settings": self._settings, "state": asdict(state)})
        named: dict[str, Any] = {
            f"{group}/{index:05d}": array
            for group, group_arrays in {**arrays, "best": self._arrays["best"]}.items()
            for index, array in enumerate(group_arrays)
        }
        advice = "Free some space, then run the same command again: it resumes"
        with writing(self.path, ModelError, advice), atomic_path(self.path) as temporary:
            np.savez(temporary, header=header, **named)

    def _current(self) -> Arrays:
        metrics = self.model.metrics_variables if self.state.step else []
        return {"variables": _values(_variables(self.model)), "metrics": _values(metrics)}


def _read(path: Path) -> tuple[dict[str, Any], TrainingState, Arrays]:
    arrays: Arrays = {"variables": [], "metrics": [], "best": []}
    with np.load(path, allow_pickle=False) as data:
        header = json.loads(str(data["header"]))
        for name in sorted(set(data.files) - {"header"}):
            arrays[name.split("/")[0]].append(data[name])
    return dict(header["settings"]), TrainingState(**header["state"]), arrays


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _values(variables: list[Any]) -> list[np.ndarray]:
    # As tensors first: variables of several replicas, such as those of metrics, are aggregated.
    return [tf.convert_to_tensor(variable.value).numpy() for variable in variables]


def _assign(variables: list[Any], arrays: list[np.ndarray]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _plain_names(logs: Mapping[str, Any]) -> dict[str, float]:
    """Keras' metrics with short names: "val_attributes_auc" is "val_auc"."""
    plain = {}
    for key, value in logs.items():
        prefix, last = "val_" if key.startswith("val_") else "", key.rsplit("_", 1)[-1]
        name = prefix + last if last in ("accuracy", "auc", "iou") else key
        plain[name] = round(float(value), 6)
    return plain


class TrainingProgress(keras.callbacks.Callback):
    """Shows a bar over all steps of the training, and a line per epoch.

    It must come after `Checkpoint`, which adds the history row to the logs.

    Args:
        title: Description of the training.
        total_steps: Steps of the whole training, over all stages.
        epochs: Epochs of the whole training, over all stages.
        done: Steps done before the training resumed.
        enabled: Whether to show anything.
    """

    _SHOWN = {  # noqa: RUF012
        "loss": "loss",
        "val_loss": "validation loss",
        "val_auc": "AUC",
        "val_accuracy": "accuracy",
        "val_iou": "mask IoU",
    }

    def __init__(
        self, title: str, total_steps: int, epochs: int, done: int = 0, enabled: bool = True
    ) -> None:
        super().__init__()
        self._enabled, self._epochs = enabled, epochs
        self._bar = progress_bar(enabled)
        self._task = self._bar.add_task(title, total=total_steps, completed=done)
        if done:
            self.print(f"resumed after step {done} of {total_steps}")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def print(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._enabled:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._bar.advance(self._task)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row = logs or {}
        metrics = "  ".join(
            f"{label} {row[key]:.4f}" for key, label in self._SHOWN.items() if key in row
        )
        stage = f" ({row['stage']})" if "stage" in row else ""
        mark = "  best so far" if row["is_best"] else ""
        self.print(
            f"epoch {row['epoch']}/{self._epochs}{stage}  {metrics}  {row['seconds']:.0f} s{mark}"
        )


class StopRequestedError(Exception):
    """Raised out of `fit` at the end of a step after Ctrl-C or SIGTERM."""


class StopAtStep(keras.callbacks.Callback):
    """Stops a training at the end of a step; as a context, handles SIGINT (Ctrl-C) and SIGTERM.

    After the first signal the current step ends and `StopRequestedError` is raised; a second
    Ctrl-C interrupts immediately. Signals reach only Python's main thread; elsewhere the context
    does nothing. It must be the last callback.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopAtStep:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # os.write, because a handler must not re-enter the buffered streams that it interrupts.
        os.write(2, b"\nstopping after this step; once more to stop at once\n")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check()

    def _check(self) -> None:
        if self.requested:
            raise StopRequestedError
