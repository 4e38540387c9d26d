"""AML as in the paper: a UNet of its own that predicts the masks from the image."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from far_keras.errors import ModelError
from far_keras.layers import Rescale
from far_keras.models.mask_network import mask_head

__all__ = ["unet"]


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
