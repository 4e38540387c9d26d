"""The stages of a training: what each learns, by which losses, and what makes an epoch the best.

Adaptive Mask Learning (arXiv 2601.01408) leaves open whether masks and attributes are learned
together. Both ways are here: one stage, or the masks first and then, with the mask network frozen,
the attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from far_keras.errors import ModelError
from far_keras.models.storage import load_model
from far_keras.schema import AttributeSchema
from far_keras.training.config import TrainConfig
from far_keras.training.losses import AttributeLoss, MaskLoss
from far_keras.training.metrics import AttributeAccuracy, MaskIoU, MeanAUC
from far_keras.training.optimizer import build_optimizer

__all__ = ["MASK_NETWORK", "Stage", "compile_stage", "plan_stages", "start_masks_from"]

MASK_NETWORK = "mask_network"
"""Name of the layer that is a mask network of its own, see `far_keras.models.mask_network`."""

_BACKBONE = "backbone"  # see `far_keras.models.backbones.build_backbone`


@dataclass(frozen=True)
class Stage:
    """A part of a training with its own optimiser and learning rates.

    Args:
        name: ``"joint"``, ``"masks"`` or ``"attributes"``.
        epochs: How many.
        learns: The outputs whose losses teach the network.
        score: The figure of the validation split by which the best epoch is chosen.
    """

    name: str
    epochs: int
    learns: tuple[str, ...]
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
    """The network that a stage trains, ready for `fit`.

    Args:
        model: The whole network. The stage "attributes" freezes its mask network, weights and
            batch statistics; `config.backbone_rate` slows the backbone down, or freezes it.
        stage: Which stage.
        config: The training.
        schema: The attributes and groups.
        steps: Of one epoch.

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
        losses["attributes"] = AttributeLoss(config.label_smoothing)
        metrics["attributes"] = [AttributeAccuracy(), MeanAUC(schema.num_attributes)]
        weights["attributes"] = 1.0
    if "masks" in model.output:
        losses["masks"] = MaskLoss()
        metrics["masks"] = [MaskIoU(schema.num_groups)]
        # A frozen mask network is still followed, but its loss moves nothing.
        joint = config.mask_weight if stage.name == "joint" else 1.0
        weights["masks"] = joint if "masks" in stage.learns else 0.0
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


def start_masks_from(model: keras.Model, folder: str, schema: AttributeSchema) -> None:
    """Gives a network the mask network of a stored model.

    Raises:
        ModelError: The folder holds no model, or one whose mask network does not fit.
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
            f"masks_from: expected a model with a mask network of its own, a UNet. Received: "
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
