"""One epoch of a training: its data, its steps, its validation, and whether it is the best."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from far_keras.datasets.augmentation import Augmentation
from far_keras.datasets.pipeline import MaskSource, load_records
from far_keras.errors import DatasetError, ModelError
from far_keras.models.storage import given_mask_size, mask_size
from far_keras.schema import AttributeSchema
from far_keras.training.config import TrainConfig
from far_keras.training.interruption import StopAtStep
from far_keras.training.progress import TrainingProgress
from far_keras.training.stages import Stage
from far_keras.training.state import TrainingState
from far_keras.training.weight_average import WeightAverage

__all__ = ["best_weights", "load_split", "run_epoch"]


def load_split(
    config: TrainConfig, schema: AttributeSchema, model: keras.Model, split: str, epoch: int = 0
) -> tf.data.Dataset:
    """What `model` learns from a split; of "train", in the order and augmentation of one epoch."""
    side = mask_size(model)
    batches = load_records(
        config.records,
        split,
        schema=schema,
        image_size=model.inputs[0].shape[1],
        mask_size=side or 0,
        batch_size=config.batch_size,
        training=split == "train",
        masks=cast(MaskSource, config.masks) if side else None,
        masks_as="input" if given_mask_size(model) else "target",
        augment=config.augment and Augmentation(strong=config.photometric == "strong"),
        region_swap=config.region_swap,
        limit=config.limit if split == "train" else None,
        # A seed for each epoch, instead of one shuffling on and on: then an epoch can be repeated,
        # and a resumed training equals an uninterrupted one. Decoding anew costs 1 ms an image.
        seed=int(np.random.SeedSequence([config.seed, epoch]).generate_state(1)[0] >> 1),
        cache=False if split == "train" else "auto",
    )
    if "attributes" in model.output:
        return batches
    return batches.map(lambda inputs, targets: (inputs, {"masks": targets["masks"]}))


def best_weights(partial: Path, stage: Stage) -> Path:
    """The file of a stage's best weights."""
    return partial / f"best-{stage.name}.weights.h5"


def run_epoch(
    model: keras.Model,
    average: WeightAverage,
    stage: Stage,
    training: tf.data.Dataset | None,
    validation: tf.data.Dataset,
    state: TrainingState,
    config: TrainConfig,
    partial: Path,
    stop: StopAtStep,
    bar: TrainingProgress,
) -> None:
    """Trains and validates the rest of one epoch, and brings `state` up to date.

    Validated, and kept if they are the best, are the averaged weights.
    """
    started = time.monotonic()
    stop.steps_done = 0
    row: dict[str, Any] = {"epoch": len(state.history) + 1}
    if config.mask_mode == "two_stage":
        row["stage"] = stage.name
    if training is not None:
        # `stop` is the last, since what comes after it would miss the step it stops at.
        callbacks = [bar, average, stop]
        log = model.fit(training, verbose=0, shuffle=False, callbacks=callbacks).history
        row |= _named({key: values[-1] for key, values in log.items()})
    with average.in_place():
        scores = model.evaluate(validation, verbose=0, callbacks=[stop], return_dict=True)
    row |= _named(scores, "val_")
    row["seconds"] = round(time.monotonic() - started, 1)
    if not all(math.isfinite(row.get(key, 0.0)) for key in ("loss", "val_loss")):
        raise ModelError(
            f"the loss is not a number any more in epoch {row['epoch']}; delete {partial} and "
            f"train with a lower learning_rate than {config.learning_rate}"
        )
    if stage.learns == ("masks",) and row.get("loss") == 0:
        # Each known mask costs something, so none was known.
        raise DatasetError(
            f"{config.records}: expected masks to learn from. Received: no training image with "
            f"{config.masks!r} masks; delete {partial}, and annotate images that show faces"
        )
    earlier = state.history[len(state.history) - state.epoch :]  # of this stage
    best = max((previous[stage.score] for previous in earlier), default=-1.0)
    if is_best := row[stage.score] > best:
        state.best_epoch = row["epoch"]
        path = best_weights(partial, stage)
        temporary = path.with_name(f"new-{path.name}")
        with average.in_place():
            model.save_weights(temporary)
        os.replace(temporary, path)
    bar.show_epoch(row, is_best)
    state.history.append(row)
    state.epoch += 1
    state.step = 0


def _named(figures: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Keras' figures with plain names: "attributes_auc" is "auc", "masks_iou" is "iou"."""
    plain = {}
    for key, value in figures.items():
        last = key.rsplit("_", 1)[-1]
        plain[prefix + (last if last in ("accuracy", "auc", "iou") else key)] = round(
            float(value), 6
        )
    return plain
