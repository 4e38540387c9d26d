"""The mask network of an MGMTN, alone."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from far_keras.errors import ModelError
from far_keras.models.backbones import build_backbone
from far_keras.models.mask_network import pyramid_levels, shared_mask_decoder
from far_keras.models.unet import unet
from far_keras.schema import CELEBA, AttributeSchema

__all__ = ["segmentation"]


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
    """Builds the network that tells where each group of attributes is, without any attributes.

    It is what `mgmtn` of the same arguments predicts its masks with. Trained by itself it can
    start a two-stage training.

    Args:
        backbone: Of the shared decoder; the UNet needs none. See `mgmtn`.
        schema: Its G groups; its attributes play no part.
        image_size: Height and width of the input in pixels, at least 32.
        levels: Of the shared decoder, which starts from the coarsest of them.
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
