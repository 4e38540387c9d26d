"""Mask networks (AML): a light decoder on the backbone's features, or a UNet on the image."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from far_keras.errors import ModelError
from far_keras.layers import Rescale, Resize
from far_keras.models.backbones import build_backbone
from far_keras.schema import CELEBA, AttributeSchema

__all__ = [
    "mask_head",
    "pyramid_levels",
    "segmentation",
    "shared_mask_decoder",
    "unet",
]

_LOGIT_SCALE = 4.0


def pyramid_levels(levels: Sequence[str], finest: str | None = None) -> list[str]:
    """All levels from the finest to the coarsest: P2 P3 P4 P5 for ["P5", "P2"].

    Args:
        levels: Levels in any order, such as ``"P3"``.
        finest: The first level; None for the finest of `levels`.
    """
    numbers = [int(level[1:]) for level in levels]
    first = min(numbers) if finest is None else int(finest[1:])
    return [f"P{n}" for n in range(first, max(numbers) + 1)]


def shared_mask_decoder(
    features: Sequence[keras.KerasTensor], groups: int, filters: int = 32
) -> keras.KerasTensor:
    """A light decoder on the backbone's features; the masks have the finest level's size.

    The paper (arXiv 2601.01408) predicts masks with a separate UNet (`unet`). This decoder shares
    the backbone, at an eighth of the UNet's cost (`benchmarks/model_cost.py`): 1x1 convolutions
    reduce each level to `filters` channels, and from the coarsest level on the sum is enlarged and
    refined by a 3x3 convolution. Separable convolutions would halve the cost, but gave worse masks
    after the same training time.

    Args:
        features: Pyramid levels (B, h, w, C) from fine to coarse, such as P2 to P5.
        groups: Number of groups G.
        filters: Channels of the decoder.

    Returns:
        Mask logits (B, h, w, G), h and w being those of ``features[0]``.
    """
    x = None
    for step, level in enumerate(reversed(features)):
        lateral = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"mask_lateral_{step}")(
            level
        )
        lateral = _normalise(lateral, f"mask_lateral_{step}")
        if x is None:
            x = lateral
            continue
        x = Resize(*level.shape[1:3], name=f"mask_enlarge_{step}")(x)
        # Both sides are normalized, or the fine levels would dominate.
        x = keras.layers.Add(name=f"mask_add_{step}")([x, lateral])
        x = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"mask_refine_{step}"
        )(x)
        x = _normalise(x, f"mask_refine_{step}")
    return mask_head(x, groups)


def mask_head(x: keras.KerasTensor, groups: int) -> keras.KerasTensor:
    """One binary head per group: from features (B, h, w, C) to mask logits (B, h, w, G)."""
    logits = keras.layers.Conv2D(groups, 1, name="masks")(x)
    # Adam moves a weight by the learning rate per step: without the factor, a training of a few
    # hundred steps ends before the logits are large enough for a decision.
    return Rescale(divisor=1 / _LOGIT_SCALE, name="mask_logits")(logits)


def _normalise(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return keras.layers.Activation("relu6", name=f"{name}_relu")(x)


def unet(
    image_size: int,
    groups: int,
    channels: Sequence[int] = (16, 32, 64, 128, 256),
    name: str = "mask_network",
) -> keras.Model:
    """Builds a UNet (Ronneberger et al., arXiv 1505.04597) with a binary head for each group.

    The paper (arXiv 2601.01408) predicts masks of the image's size with "a fully convolutional
    network (UNet)" and gives no widths: `channels` is our choice.

    The image's size need not divide by 16. Pooling pads an odd side by one row at the far end,
    and on the way up that row is cut off again, so that every mask pixel stays over its own pixel:
    227 -> 114 -> 57 -> 29 -> 15 -> 30 - 1 -> 58 - 1 -> 114 -> 228 - 1.

    Args:
        image_size: Height and width S of the input in pixels.
        groups: Number of groups G.
        channels: Channels at each of the resolutions, from the image's own on; each is half the
            one before.
        name: The model's name.

    Returns:
        A model from images (B, S, S, 3) in [0, 255] to mask logits (B, S, S, G).

    Raises:
        ModelError: `channels` is not a list of at least two numbers from 1 on.
    """
    if len(channels) < 2 or not all(isinstance(c, int) and c >= 1 for c in channels):
        raise ModelError(
            f"unet_channels: expected at least two numbers from 1 on. Received: {channels!r}"
        )
    image = keras.Input((image_size, image_size, 3), name="pixels")
    x = Rescale(127.5, 127.5, name="rescale")(image)

    on_the_way_down = []
    for level, width in enumerate(channels):
        if level > 0:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"down_{level}_pool")(x)
        x = _two_convolutions(x, width, f"down_{level}")
        on_the_way_down.append(x)

    for level in reversed(range(len(channels) - 1)):
        detail = on_the_way_down[level]  # (B, h, w, C)
        x = keras.layers.Conv2DTranspose(channels[level], 2, strides=2, name=f"up_{level}_enlarge")(
            x
        )
        padded = [x.shape[axis] - detail.shape[axis] for axis in (1, 2)]  # 0 or 1
        x = keras.layers.Cropping2D([(0, rows) for rows in padded], name=f"up_{level}_crop")(x)
        x = keras.layers.Concatenate(name=f"up_{level}_join")([detail, x])
        x = _two_convolutions(x, channels[level], f"up_{level}")
    return keras.Model(image, mask_head(x, groups), name=name)


def _two_convolutions(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    for step in (1, 2):
        x = keras.layers.Conv2D(
            channels, 3, padding="same", use_bias=False, name=f"{name}_conv_{step}"
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm_{step}")(x)
        x = keras.layers.Activation("relu", name=f"{name}_relu_{step}")(x)
    return x


def segmentation(
    backbone: str | keras.Model = "efficientnetlite0",
    schema: AttributeSchema = CELEBA,
    image_size: int = 128,
    *,
    levels: Sequence[str] = ("P3", "P4", "P5"),
    mask_network: str = "shared",
    mask_level: str = "P2",
    mask_filters: int = 32,
    unet_channels: Sequence[int] = (16, 32, 64, 128, 256),
    name: str | None = None,
) -> keras.Model:
    """Builds the mask network of an `mgmtn` of the same arguments, without attributes.

    A two-stage training can start from it.

    Args:
        backbone: For the shared decoder; the UNet needs none. See `mgmtn`.
        schema: The G groups; the attributes are not used.
        image_size: Height and width of the input in pixels, at least 32.
        levels: For the shared decoder, which starts from the coarsest of them.
        mask_network: ``"shared"``, the backbone and a light decoder on its features, or
            ``"unet"``.
        mask_level: See `mgmtn`.
        mask_filters: See `mgmtn`.
        unet_channels: See `unet`.
        name: The model's name; ``"segmentation"`` if None.

    Returns:
        A functional model from "image" (B, image_size, image_size, 3), pixels in [0, 255] of any
        dtype, to ``{"masks": logits (B, h, w, G)}``.

    Raises:
        ModelError: The backbone cannot work, the image is too small, or `mask_network` is unknown.
    """
    if mask_network not in ("shared", "unet"):
        raise ModelError(
            f"mask_network must be one of ['shared', 'unet']. Received: {mask_network!r}"
        )
    if image_size < 32:
        raise ModelError(f"image_size must be at least 32. Received: {image_size}")
    image = keras.Input((image_size, image_size, 3), name="image")
    if mask_network == "shared":
        from_masks_up = pyramid_levels([*levels, mask_level], finest=mask_level)
        features = build_backbone(backbone, image_size, from_masks_up)(image)
        logits = shared_mask_decoder(
            [features[level] for level in from_masks_up], schema.num_groups, mask_filters
        )  # (B, h, w, G)
    else:
        logits = unet(image_size, schema.num_groups, unet_channels)(image)  # (B, S, S, G)
    return keras.Model(image, {"masks": logits}, name=name or "segmentation")
