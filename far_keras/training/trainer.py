"""Trains a named network on records: from a configuration to a model's folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from far_keras.calibration import Calibration
from far_keras.datasets.pipeline import steps_per_epoch
from far_keras.errors import ModelError
from far_keras.files import exclusive
from far_keras.models.backbones import load_imagenet_weights
from far_keras.models.storage import save_model
from far_keras.models.variants import build_model
from far_keras.schema import CELEBA, AttributeSchema
from far_keras.training.calibration import fit_calibration
from far_keras.training.claims import check_unfinished, claim, finished_training
from far_keras.training.config import TrainConfig
from far_keras.training.epoch import best_weights, load_split, run_epoch
from far_keras.training.interruption import StopAtStep, StopRequestedError
from far_keras.training.progress import TrainingProgress
from far_keras.training.provenance import training_provenance
from far_keras.training.result import TrainResult
from far_keras.training.stages import compile_stage, plan_stages, start_masks_from
from far_keras.training.state import TrainingState, read_state, restore_state, write_state
from far_keras.training.thresholds import fit_thresholds
from far_keras.training.weight_average import WeightAverage

__all__ = ["TrainResult", "train"]

_STATE = "state.npz"


def train(
    config: TrainConfig, *, progress: bool = True, strategy: tf.distribute.Strategy | None = None
) -> TrainResult:
    """Trains a network, keeps its best epoch, fits thresholds and writes the model's folder.

    While it runs, everything is in ``<output>.partial``. After Ctrl-C, a termination or a kill, the
    same call goes on where it stopped (after a kill: at the last finished epoch). For a training
    that is finished already, the same call returns its result at once.

    Args:
        config: What to train, on what and how.
        progress: Whether to show a bar and a line for each epoch, on the standard error stream.
        strategy: How to use several devices; None mirrors the network on all GPUs if there are
            two or more.

    Returns:
        The result, whose folder holds the model, its thresholds, provenance and history.json.

    Raises:
        ModelError: `config.output` or its unfinished state is of a training with other settings,
            another process trains into it, or the loss is no longer a number.
        DatasetError: The records cannot be used.
        KeyboardInterrupt: It was stopped; the state is saved.
    """
    output, partial = Path(config.output), Path(f"{config.output}.partial")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        return finished_training(output, config)
    check_unfinished(partial, config)
    schema = AttributeSchema.from_file(config.schema) if config.schema else CELEBA
    keras.utils.set_random_seed(config.seed)
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        return _train(config, schema, strategy or _default_strategy(), partial, progress)
    finally:
        keras.config.set_dtype_policy(previous_policy)


def _train(
    config: TrainConfig,
    schema: AttributeSchema,
    strategy: tf.distribute.Strategy,
    partial: Path,
    progress: bool,
) -> TrainResult:
    steps = steps_per_epoch(
        config.records, "train", config.batch_size, training=True, limit=config.limit
    )
    stages, file = plan_stages(config), partial / _STATE
    state = read_state(file) if file.exists() else TrainingState()
    with strategy.scope():
        model = build_model(config.model_config, schema)
        learner = compile_stage(model, stages[state.stage], config, schema, steps)
        average = WeightAverage(learner, config.ema)
        # A state holds all variables of its stage's network: none of the others.
        if config.imagenet and (learner is not model or not file.exists()):
            load_imagenet_weights(model.get_layer("backbone"))
        if file.exists():
            state = restore_state(file, learner, average)
        elif config.masks_from is not None:
            start_masks_from(model, config.masks_from, schema)
    validation = load_split(config, schema, learner, "valid")
    # Not before everything fits: a mistaken path must not stand in the way of the right one.
    claim(partial, config, schema)

    epochs = sum(stage.epochs for stage in stages)
    done = len(state.history) * steps + state.step
    started = time.monotonic() - state.seconds
    bar = TrainingProgress(_title(config), steps * epochs, epochs, done, progress)
    with exclusive(partial, ModelError), StopAtStep() as stop, bar:
        if done:
            bar.console.print(f"resumed after step {done} of {steps * epochs}")
        try:
            while True:
                stage = stages[state.stage]
                while state.epoch < stage.epochs:
                    training = None
                    if state.step < steps:
                        epoch = len(state.history)
                        training = load_split(config, schema, learner, "train", epoch)
                        training = training.skip(state.step)
                    run_epoch(
                        learner,
                        average,
                        stage,
                        training,
                        validation,
                        state,
                        config,
                        partial,
                        stop,
                        bar,
                    )
                    state.seconds = round(time.monotonic() - started, 1)
                    write_state(file, state, learner, average)
                learner.load_weights(best_weights(partial, stage))
                if state.stage + 1 == len(stages):
                    break
                # Until the next state is written, a killed training comes back to this place.
                state.stage, state.epoch, state.best_epoch = state.stage + 1, 0, 0
                with strategy.scope():
                    learner = compile_stage(model, stages[state.stage], config, schema, steps)
                    average = WeightAverage(learner, config.ema)
                validation = load_split(config, schema, learner, "valid")
                stop.steps_done = 0
        except (StopRequestedError, KeyboardInterrupt) as error:
            if isinstance(
                error, StopRequestedError
            ):  # else a step may be half done: keep the old state
                state.step += stop.steps_done
                state.seconds = round(time.monotonic() - started, 1)
                write_state(file, state, learner, average)
            bar.console.print(
                f"stopped in epoch {len(state.history) + 1}; the state is in {partial}: "
                "run the same command again to continue",
                markup=False,  # a folder's name may hold brackets
                soft_wrap=True,
            )
            raise KeyboardInterrupt from None
        calibration: Calibration | None = None
        thresholds: dict[str, float] = {}
        if "attributes" in model.output:
            calibration, thresholds = _calibrate(learner, validation, schema)
    provenance = {
        **training_provenance(config),
        "epochs_trained": len(state.history),
        "best_epoch": state.best_epoch,
        "seconds": state.seconds,
        "devices": strategy.num_replicas_in_sync,
    }
    folder = save_model(
        model,
        config.output,
        config=config.model_config,
        schema=schema,
        thresholds=thresholds,
        calibration=calibration,
        provenance=provenance,
        documents={"history.json": state.history},
    )
    shutil.rmtree(partial)
    return TrainResult.from_provenance(folder, state.history, provenance)


def _calibrate(
    model: keras.Model, validation: tf.data.Dataset, schema: AttributeSchema
) -> tuple[Calibration, dict[str, float]]:
    # `predict` knows how to spread batches over replicas, which `predict_on_batch` does not.
    logits = model.predict(validation.map(lambda inputs, _: inputs), verbose=0)["attributes"]
    labels = np.concatenate([targets["attributes"].numpy() for _, targets in validation])
    calibration = fit_calibration(labels, logits, schema.attributes)
    fitted = fit_thresholds(labels, calibration.probabilities(logits, schema.attributes))
    return calibration, dict(zip(schema.attributes, fitted.tolist(), strict=True))


def _default_strategy() -> tf.distribute.Strategy:
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _title(config: TrainConfig) -> str:
    what = "the masks of " if config.task == "masks" else ""
    return f"Training {what}{config.variant}"
