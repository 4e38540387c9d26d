"""Trains a network on records: from a `TrainConfig` to a model's folder.

Adaptive Mask Learning (arXiv 2601.01408) leaves open whether masks and attributes are trained
together. Both ways are implemented: one joint stage, or first the masks and then, with the mask
network frozen, the attributes. Each stage is one `fit` of Keras.
"""

# ruff: noqa: E402

from __future__ import annotations

import hashlib
import json
import math
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from far_keras.extras import require

require("train", "training")

import keras
import numpy as np
import tensorflow as tf

import far_keras
from far_keras.calibration import Calibration
from far_keras.datasets.pipeline import MaskSource, load_records, steps_per_epoch
from far_keras.datasets.records import MANIFEST_FILE, read_manifest, read_table_of_records
from far_keras.errors import DatasetError, ModelError
from far_keras.files import exclusive, remove_temporary_files, writing
from far_keras.jobs import check_settings
from far_keras.models.backbones import load_imagenet_weights
from far_keras.models.storage import given_mask_size, load_model, mask_size, save_model
from far_keras.models.variants import build_model
from far_keras.schema import AttributeSchema
from far_keras.training.callbacks import (
    Checkpoint,
    StopAtStep,
    StopRequestedError,
    TrainingProgress,
    TrainingState,
)
from far_keras.training.config import TrainConfig, without_removed
from far_keras.training.losses import AttributeLoss, MaskLoss
from far_keras.training.metrics import AttributeAccuracy, MaskIoU, MeanAUC
from far_keras.training.optimizer import build_optimizer
from far_keras.training.thresholds import fit_calibration, fit_thresholds

__all__ = ["MASK_NETWORK", "Stage", "TrainResult", "compile_stage", "plan_stages", "train"]

MASK_NETWORK = "mask_network"
"""Layer name of a separate mask network, see `far_keras.models.mask_network`."""

_BACKBONE = "backbone"  # see `far_keras.models.backbones.build_backbone`
_CHECKPOINT = "checkpoint.npz"
_PACKAGES = ("tensorflow", "keras", "keras-cv", "numpy")


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Args:
        folder: The model's folder, for `far_keras.models.storage.load_model`.
        history: One row per epoch: ``epoch`` (from 1, over all stages), ``loss``, ``accuracy``,
            ``auc``, ``iou`` and the like, the same of the validation split with the prefix
            ``val_``, ``seconds``; of a training in two stages also ``stage``, "masks" or
            "attributes".
        best_epoch: The epoch whose weights were kept: that with the highest ``val_auc``, or
            ``val_iou`` for a mask network alone.
        seconds: Training time, over all sessions.
        untrained: Attributes that the model does not predict, because their training labels have
            one class or none.
    """

    folder: Path
    history: list[dict[str, Any]]
    best_epoch: int
    seconds: float
    untrained: tuple[str, ...] = ()

    @classmethod
    def from_provenance(
        cls, folder: Path, history: list[dict[str, Any]], provenance: Mapping[str, Any]
    ) -> TrainResult:
        """The result of the training that wrote a model with this history and provenance."""
        untrained = tuple(provenance.get("untrained", ()))
        return cls(folder, history, provenance["best_epoch"], provenance["seconds"], untrained)


def train(
    config: TrainConfig,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
    strategy: tf.distribute.Strategy | None = None,
) -> TrainResult:
    """Trains a network, keeps its best epoch, fits thresholds and writes the model's folder.

    Until it is finished, everything is in ``<output>.partial``. After Ctrl-C, SIGTERM or a kill,
    the same call resumes where it stopped (after a kill: at the last finished epoch), and ends
    with the model of an uninterrupted training. For a finished training, the same call returns its
    result at once.

    Args:
        config: What to train, on what and how.
        callbacks: Further Keras callbacks, for example for TensorBoard. Each stage is one `fit`;
            the rest of an interrupted epoch is a `fit` of its own. In `on_epoch_end` the logs also
            have the names of the history, such as ``val_auc``. A callback that sets
            ``model.stop_training`` ends its stage. State of callbacks is not part of the
            checkpoint.
        progress: Whether to show a bar and a line per epoch, on the standard error stream.
        strategy: How to use several devices; None mirrors the network on all GPUs if there are
            two or more.

    Returns:
        The result, whose folder holds the model, its thresholds, provenance and history.json.

    Raises:
        ModelError: `config.output` or its unfinished state belongs to a training with other
            settings, another process trains into it, or the loss is not finite.
        DatasetError: The records cannot be used.
        KeyboardInterrupt: It was stopped; the state is saved.

    Example:
        >>> train(  # doctest: +SKIP
        ...     TrainConfig(records="records", output="models/first"),
        ...     callbacks=[keras.callbacks.EarlyStopping("val_auc", mode="max", patience=3)],
        ... )
    """
    output, partial_folder = Path(config.output), Path(f"{config.output}.partial")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        return _finished_training(output, config)
    if (partial_folder / "state.npz").exists() or (partial_folder / "config.json").exists():
        raise ModelError(
            f"{partial_folder}: holds an unfinished training of far_keras 0.1, which cannot be "
            "resumed. Delete the folder and run the same command again"
        )
    schema = AttributeSchema.resolve(config.schema)
    keras.utils.set_random_seed(config.seed)
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        return _train(
            config, schema, strategy or _default_strategy(), partial_folder, callbacks, progress
        )
    finally:
        keras.config.set_dtype_policy(previous_policy)


def _train(
    config: TrainConfig,
    schema: AttributeSchema,
    strategy: tf.distribute.Strategy,
    folder: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: bool,
) -> TrainResult:
    steps = steps_per_epoch(
        config.records, "train", config.batch_size, training=True, limit=config.limit
    )
    settings = {
        "config": config.to_dict(),
        "manifest_sha256": _manifest_sha256(config),
        "schema": schema.to_dict(),
    }
    checkpoint = Checkpoint(folder / _CHECKPOINT, settings, partial(_check_same, folder, config))
    stages, state = plan_stages(config), checkpoint.state

    def prepare(stage: Stage) -> tuple[keras.Model, tf.data.Dataset]:
        with strategy.scope():
            learner = compile_stage(model, stage, config, schema, steps)
        return learner, _load_split(config, schema, learner, "valid")

    with strategy.scope():
        model = build_model(config.model_config, schema)
    learner, validation = prepare(stages[state.stage])
    with strategy.scope():
        # A checkpoint has the variables of its stage's network, and no others.
        if config.imagenet and (learner is not model or not checkpoint.resumes):
            load_imagenet_weights(model.get_layer(_BACKBONE))
        if config.masks_from is not None and not checkpoint.resumes:
            _load_mask_network(model, config.masks_from, schema)
        checkpoint.restore(learner)
    if state.step:
        # Builds the metrics, whose state `Checkpoint` restores before the first step.
        learner.evaluate(validation.take(1), verbose=0)
    # Not before all arguments are valid: a mistaken path must not block the corrected command.
    with writing(folder, ModelError, "Choose another output"):
        folder.mkdir(parents=True, exist_ok=True)

    epochs = sum(stage.epochs for stage in stages)
    title = f"Training {'the masks of ' if config.task == 'masks' else ''}{config.variant}"
    bar = TrainingProgress(
        title, steps * epochs, epochs, len(state.history) * steps + state.step, progress
    )
    with exclusive(folder, ModelError), StopAtStep() as stop, bar:
        remove_temporary_files(folder)
        try:
            while True:
                stage = stages[state.stage]
                checkpoint.start_stage(
                    steps,
                    stage.score,
                    stage.name if config.mask_mode == "two_stage" else None,
                    partial(_check_row, config, stage, folder),
                )
                while state.epoch < stage.epochs:
                    # The rest of an interrupted epoch has fewer steps: a `fit` of its own.
                    end = state.epoch + 1 if state.step else stage.epochs
                    learner.fit(
                        _training_batches(config, schema, learner, state, end),
                        steps_per_epoch=steps - state.step,
                        initial_epoch=state.epoch,
                        epochs=end,
                        validation_data=validation,
                        shuffle=False,
                        verbose=0,
                        callbacks=[checkpoint, bar, *callbacks, stop],
                    )
                    if learner.stop_training:  # by one of `callbacks`
                        break
                checkpoint.finish_stage(learner)
                if state.stage == len(stages):
                    break
                learner, validation = prepare(stages[state.stage])
        except (StopRequestedError, KeyboardInterrupt) as error:
            # After a second Ctrl-C a step may be incomplete: the file stays as it is.
            if isinstance(error, StopRequestedError):
                checkpoint.save()
            bar.print(
                f"stopped in epoch {len(state.history) + 1}; the state is in {folder}: "
                "run the same command again to continue"
            )
            raise KeyboardInterrupt from None
        calibration: Calibration | None = None
        thresholds: dict[str, float] = {}
        if "attributes" in model.output:
            calibration, thresholds = _calibrate(learner, validation, schema)
    provenance = {
        **_provenance(config, schema),
        "epochs_trained": len(state.history),
        "best_epoch": state.best_epoch,
        "seconds": state.seconds,
        "devices": strategy.num_replicas_in_sync,
    }
    output = save_model(
        model,
        config.output,
        config=config.model_config,
        schema=schema,
        thresholds=thresholds,
        calibration=calibration,
        provenance=provenance,
        documents={"history.json": state.history},
    )
    shutil.rmtree(folder)
    return TrainResult.from_provenance(output, state.history, provenance)


def _load_split(
    config: TrainConfig, schema: AttributeSchema, model: keras.Model, split: str, epoch: int = 0
) -> tf.data.Dataset:
    """The inputs and targets of `model`; of "train", in the order and augmentation of an epoch."""
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
        augment=config.augment,
        limit=config.limit if split == "train" else None,
        # A seed per epoch, instead of one shuffling on and on: so an epoch can be repeated, and a
        # resumed training equals an uninterrupted one. Decoding again costs 1 ms per image.
        seed=int(np.random.SeedSequence([config.seed, epoch]).generate_state(1)[0] >> 1),
        cache=False if split == "train" else "auto",
    )
    if "attributes" in model.output:
        return batches
    return batches.map(lambda inputs, targets: (inputs, {"masks": targets["masks"]}))


def _training_batches(
    config: TrainConfig,
    schema: AttributeSchema,
    model: keras.Model,
    state: TrainingState,
    end: int,
) -> tf.data.Dataset:
    """The batches from `state` to the end of the stage's epoch number `end`, in a row."""
    first = len(state.history)
    batches = _load_split(config, schema, model, "train", first).skip(state.step)
    for epoch in range(first + 1, first + end - state.epoch):
        batches = batches.concatenate(_load_split(config, schema, model, "train", epoch))
    return batches


def _check_row(config: TrainConfig, stage: Stage, folder: Path, row: Mapping[str, Any]) -> None:
    """Refuses an epoch without a finite loss or without masks."""
    if not all(math.isfinite(row.get(key, 0.0)) for key in ("loss", "val_loss")):
        raise ModelError(
            f"the loss is not finite in epoch {row['epoch']}; delete {folder} and train with a "
            f"lower learning_rate than {config.learning_rate}"
        )
    if stage.targets == ("masks",) and row.get("loss") == 0:
        # Each known mask costs something, so none was known.
        raise DatasetError(
            f"{config.records}: expected masks to train on. Received: no training image with "
            f"{config.masks!r} masks; delete {folder}, and annotate images that show faces"
        )


def _calibrate(
    model: keras.Model, validation: tf.data.Dataset, schema: AttributeSchema
) -> tuple[Calibration, dict[str, float]]:
    # `predict` spreads batches over replicas, which `predict_on_batch` does not.
    logits = model.predict(validation.map(lambda inputs, _: inputs), verbose=0)["attributes"]
    labels = np.concatenate([targets["attributes"].numpy() for _, targets in validation])
    calibration = fit_calibration(labels, logits, schema.attributes)
    fitted = fit_thresholds(labels, calibration.probabilities(logits, schema.attributes))
    return calibration, dict(zip(schema.attributes, fitted.tolist(), strict=True))


def _default_strategy() -> tf.distribute.Strategy:
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


@dataclass(frozen=True)
class Stage:
    """A part of a training with its own optimizer and learning rates: one `fit`.

    Args:
        name: ``"joint"``, ``"masks"`` or ``"attributes"``.
        epochs: Number of epochs.
        targets: The outputs whose losses train the network.
        score: The validation metric that chooses the best epoch.
    """

    name: str
    epochs: int
    targets: tuple[str, ...]
    score: str


def plan_stages(config: TrainConfig) -> tuple[Stage, ...]:
    """The stages of a training, in order."""
    if config.task == "masks":
        return (Stage("masks", config.epochs, ("masks",), "val_iou"),)
    if config.mask_mode != "two_stage":
        return (Stage("joint", config.epochs, ("attributes", "masks"), "val_auc"),)
    masks = Stage("masks", config.mask_epochs or config.epochs, ("masks",), "val_iou")
    attributes = Stage("attributes", config.epochs, ("attributes",), "val_auc")
    return (attributes,) if config.masks_from is not None else (masks, attributes)


def compile_stage(
    model: keras.Model, stage: Stage, config: TrainConfig, schema: AttributeSchema, steps: int
) -> keras.Model:
    """Compiles the network that a stage trains.

    Args:
        model: The whole network. The stage "attributes" freezes its mask network, weights and
            batch statistics; `config.backbone_rate` slows the backbone down, or freezes it.
        stage: Which stage.
        config: The training.
        schema: The attributes and groups.
        steps: Steps per epoch.

    Returns:
        `model`, or a network over its layers: for the stage "masks" one with the mask layers
        alone, so that the others are neither run nor changed.
    """
    if stage.name == "masks":
        model = keras.Model(model.input, {"masks": model.output["masks"]}, name=model.name)
    elif stage.name == "attributes":
        model.get_layer(MASK_NETWORK).trainable = False
    slow = []
    if config.backbone_rate != 1 and _BACKBONE in (layer.name for layer in model.layers):
        backbone = model.get_layer(_BACKBONE)
        backbone.trainable = config.backbone_rate > 0  # frozen, its batch statistics are too
        slow = backbone.trainable_variables
    losses: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    weights: dict[str, float] = {}
    if "attributes" in model.output:
        losses["attributes"] = AttributeLoss()
        metrics["attributes"] = [AttributeAccuracy(), MeanAUC(schema.num_attributes)]
        weights["attributes"] = 1.0
    if "masks" in model.output:
        losses["masks"] = MaskLoss()
        metrics["masks"] = [MaskIoU(schema.num_groups)]
        # A frozen mask network is still measured, but its loss has no effect.
        joint = config.mask_weight if stage.name == "joint" else 1.0
        weights["masks"] = joint if "masks" in stage.targets else 0.0
    optimizer = build_optimizer(
        config.learning_rate,
        config.weight_decay,
        steps * stage.epochs,
        config.warmup,
        slow=slow,
        slow_rate=config.backbone_rate,
    )
    # Without jit_compile=False Keras may choose XLA, which does not finish a step on a CPU.
    model.compile(optimizer, loss=losses, loss_weights=weights, metrics=metrics, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def _load_mask_network(model: keras.Model, folder: str, schema: AttributeSchema) -> None:
    """Copies the mask network of a stored model.

    Raises:
        ModelError: The folder holds no model, or one with another mask network.
    """
    stored = load_model(folder)
    theirs = [group.regions for group in stored.schema.groups]
    ours = [group.regions for group in schema.groups]
    if theirs != ours:
        raise ModelError(
            f"masks_from: expected a mask network for the groups {schema.group_names} with the "
            f"regions {ours}. Received: {folder} with {stored.schema.group_names}, {theirs}"
        )
    if stored.image_size != (size := model.inputs[0].shape[1]):
        raise ModelError(
            f"masks_from: expected a mask network for images of {size} pixels. "
            f"Received: {folder} for {stored.image_size}; set image_size to the same"
        )
    if MASK_NETWORK not in (layer.name for layer in stored.model.layers):
        raise ModelError(
            f"masks_from: expected a model with a separate mask network, a UNet. Received: "
            f"{folder}, {stored.config.variant!r} with {dict(stored.config.arguments)}; train one "
            "with `far-keras train --task masks --mask-network unet`"
        )
    values = stored.model.get_layer(MASK_NETWORK).get_weights()
    network = model.get_layer(MASK_NETWORK)
    if [value.shape for value in values] != [tuple(weight.shape) for weight in network.weights]:
        raise ModelError(
            f"masks_from: expected a UNet of the same unet_channels. Received: {folder} with "
            f"{dict(stored.config.arguments)}"
        )
    network.set_weights(values)


def _finished_training(output: Path, config: TrainConfig) -> TrainResult:
    """The result of the finished training in `output`.

    Raises:
        ModelError: It belongs to another config, or `output` is not a model's folder.
    """
    if not (output / "config.json").is_file():
        raise ModelError(
            f"{output}: expected a new or empty folder for the model, or one with this training's "
            f"model. Received: {'a folder with other files' if output.is_dir() else 'a file'}; "
            "choose another output"
        )
    loaded = load_model(output)
    provenance = loaded.provenance
    if "config" not in provenance:
        raise ModelError(f"{output}: already holds a model; choose another output")
    _check_same(output, config, {**provenance, "schema": loaded.schema.to_dict()})
    history = json.loads((output / "history.json").read_text(encoding="utf-8"))
    return TrainResult.from_provenance(output, history, provenance)


def _check_same(folder: Path, config: TrainConfig, stored: Mapping[str, Any]) -> None:
    """Refuses a folder that holds a training with other settings, records or attributes.

    Records and schema files that no longer exist are not compared.
    """
    # A training of an earlier version lacks the fields that this version added.
    defaults = {
        item.name: item.default for item in fields(config) if item.default is not NO_DEFAULT
    }
    settings, wanted = {**defaults, **without_removed(stored["config"])}, config.to_dict()
    own_schema = AttributeSchema.from_dict(stored["schema"], str(folder))
    settings["output"] = wanted["output"]  # folders may be moved
    advice = "Delete the folder, or choose another output"
    check_settings(folder, settings, wanted, ModelError, advice)
    before, now = stored.get("manifest_sha256"), _manifest_sha256(config)
    if None not in (before, now) and before != now:
        raise ModelError(
            f"{folder}: was trained on other records than those that are now in "
            f"{config.records}. {advice}"
        )
    if config.schema is None or Path(config.schema).is_file():
        schema = AttributeSchema.resolve(config.schema)
        schema.check_equal(
            own_schema, f"{folder} (delete it, or choose another output)", ModelError
        )


def _manifest_sha256(config: TrainConfig) -> str | None:
    manifest = Path(config.records) / MANIFEST_FILE
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None


def _provenance(config: TrainConfig, schema: AttributeSchema) -> dict[str, Any]:
    """JSON data on the training that ends now; `load_model` returns it."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "far_keras": far_keras.__version__,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "manifest_sha256": _manifest_sha256(config),
        "untrained": _untrained(config, schema),
        "seed": config.seed,
        "config": config.to_dict(),
    }


def _untrained(config: TrainConfig, schema: AttributeSchema) -> list[str]:
    """The attributes whose training labels have one class or none."""
    if config.task == "masks":
        return []
    labels = read_table_of_records(config.records, "train").labels
    names = read_manifest(config.records).attributes
    both = (labels == 1).any(axis=0) & (labels == 0).any(axis=0)
    trained = {name for name, has_both in zip(names, both, strict=True) if has_both}
    return [name for name in schema.attributes if name not in trained]


def _git_revision() -> str | None:
    """The revision of the checkout that the package runs from; None for an installed package."""
    root = Path(far_keras.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
