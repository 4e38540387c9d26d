"""Trains a named network on records: from a configuration to a model's folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from far_keras.atomic import atomic_path
from far_keras.datasets.manifest import MANIFEST_FILE
from far_keras.datasets.pipeline import MaskSource, load_records, steps_per_epoch
from far_keras.errors import ModelError
from far_keras.models.calibration import Calibration
from far_keras.models.imagenet import load_imagenet_weights
from far_keras.models.inputs import given_mask_size, mask_size
from far_keras.models.storage import LoadedModel, load_model, save_model
from far_keras.models.variants import build_model
from far_keras.schema import CELEBA, AttributeSchema
from far_keras.training.calibration import fit_calibration
from far_keras.training.config import TrainConfig
from far_keras.training.interruption import StopAtStep, StopRequestedError
from far_keras.training.losses import AttributeLoss, MaskLoss
from far_keras.training.metrics import AttributeAccuracy, MaskIoU, MeanAUC
from far_keras.training.optimizer import build_optimizer
from far_keras.training.progress import TrainingProgress
from far_keras.training.provenance import training_provenance
from far_keras.training.state import TrainingState, restore_state, write_state
from far_keras.training.thresholds import fit_thresholds

__all__ = ["TrainResult", "train"]

_CONFIG, _STATE, _BEST = "config.json", "state.npz", "best.weights.h5"


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Args:
        folder: The model's folder, for `far_keras.models.storage.load_model`.
        history: One row an epoch: ``epoch`` (from 1), ``loss``, ``accuracy``, ``auc``, ``iou``
            and the like, the same of the validation split with ``val_`` before, ``seconds``.
        best_epoch: The epoch whose weights were kept: that with the highest ``val_auc``.
        seconds: Time spent, over all sittings.
        untaught: Attributes that the model does not answer, since their training labels held one
            class or none.
    """

    folder: Path
    history: list[dict[str, Any]]
    best_epoch: int
    seconds: float
    untaught: tuple[str, ...] = ()


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
            or the loss is no longer a number.
        DatasetError: The records cannot be used.
        KeyboardInterrupt: It was stopped; the state is saved.
    """
    output, partial = Path(config.output), Path(f"{config.output}.partial")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        return _finished(output, config)
    _check_unfinished(partial, config)
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
    with strategy.scope():
        model = build_model(config.model_config, schema)
    validation = _load(config, schema, model, "valid")
    steps = steps_per_epoch(
        config.records, "train", config.batch_size, training=True, limit=config.limit
    )
    with strategy.scope():
        _compile(model, config, schema, steps * config.epochs)
        state = TrainingState()
        if (partial / _STATE).exists():
            state = restore_state(partial / _STATE, model)
        elif config.imagenet:
            load_imagenet_weights(model.get_layer("backbone"))
    # Not before everything fits: a mistaken path must not stand in the way of the right one.
    _claim(partial, config)

    done = state.epoch * steps + state.step
    started = time.monotonic() - state.seconds
    bar = TrainingProgress(f"Training {config.variant}", steps * config.epochs, done, progress)
    with StopAtStep() as stop, bar:
        if done:
            bar.console.print(f"resumed after step {done} of {steps * config.epochs}")
        try:
            while state.epoch < config.epochs:
                training = None
                if state.step < steps:
                    training = _load(config, schema, model, "train", state.epoch).skip(state.step)
                _run_epoch(model, training, validation, state, config, partial, stop, bar)
                state.seconds = round(time.monotonic() - started, 1)
                write_state(partial / _STATE, state, model)
        except (StopRequestedError, KeyboardInterrupt) as error:
            if isinstance(
                error, StopRequestedError
            ):  # else a step may be half done: keep the old state
                state.step += stop.steps_done
                state.seconds = round(time.monotonic() - started, 1)
                write_state(partial / _STATE, state, model)
            bar.console.print(
                f"stopped in epoch {state.epoch + 1}; the state is in {partial}: "
                "run the same command again to continue",
                markup=False,  # a folder's name may hold brackets
                soft_wrap=True,
            )
            raise KeyboardInterrupt from None
        model.load_weights(partial / _BEST)
        calibration, thresholds = _calibrate(model, validation, schema)
    provenance = {
        **training_provenance(config),
        "epochs_trained": state.epoch,
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
    return _result(folder, state.history, provenance)


def _run_epoch(
    model: keras.Model,
    training: tf.data.Dataset | None,
    validation: tf.data.Dataset,
    state: TrainingState,
    config: TrainConfig,
    partial: Path,
    stop: StopAtStep,
    bar: TrainingProgress,
) -> None:
    """Trains and validates the rest of one epoch, and brings `state` up to date."""
    started = time.monotonic()
    stop.steps_done = 0
    row: dict[str, Any] = {"epoch": state.epoch + 1}
    if training is not None:
        log = model.fit(training, verbose=0, shuffle=False, callbacks=[bar, stop]).history
        row |= _named({key: values[-1] for key, values in log.items()})
    scores = model.evaluate(validation, verbose=0, callbacks=[stop], return_dict=True)
    row |= _named(scores, "val_")
    row["seconds"] = round(time.monotonic() - started, 1)
    if not all(math.isfinite(row.get(key, 0.0)) for key in ("loss", "val_loss")):
        raise ModelError(
            f"the loss is not a number any more in epoch {row['epoch']}; delete {partial} and "
            f"train with a lower learning_rate than {config.learning_rate}"
        )
    best = max((earlier["val_auc"] for earlier in state.history), default=-1.0)
    if is_best := row["val_auc"] > best:
        state.best_epoch = row["epoch"]
        temporary = partial / f"new.{_BEST}"
        model.save_weights(temporary)
        os.replace(temporary, partial / _BEST)
    bar.show_epoch(row, config.epochs, is_best)
    state.history.append(row)
    state.epoch += 1
    state.step = 0


def _load(
    config: TrainConfig, schema: AttributeSchema, model: keras.Model, split: str, epoch: int = 0
) -> tf.data.Dataset:
    """The data of a split; of "train", in the order and with the augmentation of one epoch."""
    side = mask_size(model)
    return load_records(
        config.records,
        split,
        schema=schema,
        image_size=model.inputs[0].shape[1],
        mask_size=side or 0,
        batch_size=config.batch_size,
        training=split == "train",
        masks=cast(MaskSource, config.masks) if side else None,
        masks_as="input" if given_mask_size(model) else "target",
        augment=config.augment,
        region_swap=config.region_swap,
        limit=config.limit if split == "train" else None,
        # A seed for each epoch, instead of one shuffling on and on: then an epoch can be repeated,
        # and a resumed training equals an uninterrupted one. Decoding anew costs 1 ms a picture.
        seed=int(np.random.SeedSequence([config.seed, epoch]).generate_state(1)[0] >> 1),
        cache=False if split == "train" else "auto",
    )


def _compile(
    model: keras.Model, config: TrainConfig, schema: AttributeSchema, total_steps: int
) -> None:
    losses: dict[str, Any] = {"attributes": AttributeLoss()}
    metrics: dict[str, Any] = {
        "attributes": [AttributeAccuracy(), MeanAUC(schema.num_attributes)],
    }
    weights = {"attributes": 1.0}
    if "masks" in model.output:
        losses["masks"] = MaskLoss()
        metrics["masks"] = [MaskIoU(schema.num_groups)]
        weights["masks"] = config.mask_weight
    optimizer = build_optimizer(
        config.learning_rate, config.weight_decay, total_steps, config.warmup
    )
    # Without jit_compile=False Keras may choose XLA, which does not finish a step on a CPU.
    model.compile(optimizer, loss=losses, loss_weights=weights, metrics=metrics, jit_compile=False)
    model.optimizer.build(model.trainable_variables)


def _named(figures: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Keras' figures with plain names: "attributes_auc" is "auc", "masks_iou" is "iou"."""
    plain = {}
    for key, value in figures.items():
        last = key.rsplit("_", 1)[-1]
        plain[prefix + (last if last in ("accuracy", "auc", "iou") else key)] = round(
            float(value), 6
        )
    return plain


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


def _check_unfinished(partial: Path, config: TrainConfig) -> None:
    """Refuses the folder of an unfinished training that is not of `config`."""
    path = partial / _CONFIG
    if path.exists():
        _compare(json.loads(path.read_text(encoding="utf-8")), config, partial, "an unfinished")


def _claim(partial: Path, config: TrainConfig) -> None:
    """Makes the folder of an unfinished training, unless it is there."""
    path = partial / _CONFIG
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(config.to_dict(), indent=1) + "\n", encoding="utf-8")


def _finished(output: Path, config: TrainConfig) -> TrainResult:
    if not (output / _CONFIG).is_file():
        raise ModelError(
            f"{output}: expected a new or empty folder for the model, or one with this training's "
            f"model. Received: {'a folder with other files' if output.is_dir() else 'a file'}; "
            "choose another output"
        )
    loaded = load_model(output)
    provenance = loaded.provenance
    if "config" not in provenance:
        raise ModelError(f"{output}: holds a model already; choose another output")
    _compare(provenance["config"], config, output, "a finished")
    if changed := _changed_since(config, loaded):
        raise ModelError(
            f"{output}: holds a finished training with other {changed}. Delete the folder, or "
            "choose another output"
        )
    history = json.loads((output / "history.json").read_text(encoding="utf-8"))
    return _result(output, history, provenance)


def _result(
    folder: Path, history: list[dict[str, Any]], provenance: Mapping[str, Any]
) -> TrainResult:
    untaught = tuple(provenance.get("untaught", ()))
    return TrainResult(folder, history, provenance["best_epoch"], provenance["seconds"], untaught)


def _changed_since(config: TrainConfig, trained: LoadedModel) -> str:
    """What is no longer as it was at the paths that `config` names; gone is not changed."""
    manifest = Path(config.records) / MANIFEST_FILE
    if manifest.is_file():
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        if digest != trained.provenance.get("manifest_sha256", digest):
            return f"records than those that are now in {config.records}"
    if config.schema and Path(config.schema).is_file():
        wanted = AttributeSchema.from_file(config.schema)
        if difference := wanted.difference(trained.schema):
            return f"attributes than {config.schema} has now: {difference}"
    return ""


def _compare(stored: dict[str, Any], config: TrainConfig, folder: Path, kind: str) -> None:
    wanted = config.to_dict()
    changed = sorted(key for key in stored | wanted if stored.get(key) != wanted.get(key))
    changed = [key for key in changed if key != "output"]  # folders may be moved
    if changed:
        raise ModelError(
            f"{folder}: holds {kind} training with other settings: "
            + ", ".join(f"{key} {stored.get(key)!r}, not {wanted.get(key)!r}" for key in changed)
            + ". Delete the folder, or choose another output"
        )
