"""AML: the network that predicts a mask for each group of attributes."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from far_keras.layers import Resize

__all__ = ["shared_mask_decoder"]


def shared_mask_decoder(
    features: Sequence[keras.KerasTensor], groups: int, filters: int = 32
) -> keras.KerasTensor:
    """A light decoder on the backbone's own features; the masks have its finest level's size.

    The paper (arXiv 2601.01408) predicts masks with a separate UNet from the picture. This decoder
    shares the backbone instead and so costs a few percent of it: 1x1 convolutions bring each level
    to `filters` channels, and from the coarsest level on the sum is enlarged and refined.

    Args:
        features: Pyramid levels (B, h, w, C) from fine to coarse, such as P2 to P5.
        groups: Number of groups G.
        filters: Channels of the decoder.

    Returns:
        Mask logits (B, h, w, G), h and w being those of ``features[0]``.
    """
    finest = len(features) - 1
    x = None
    for step, level in enumerate(reversed(features)):
        height, width = level.shape[1:3]
        lateral = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"mask_lateral_{step}")
        if x is None:
            x = lateral(level)
        else:
            x = Resize(height, width, name=f"mask_enlarge_{step}")(x)
            x = keras.layers.Add(name=f"mask_add_{step}")([x, lateral(level)])
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"mask_norm_{step}")(x)
        x = keras.layers.Activation("relu6", name=f"mask_relu_{step}")(x)
        if step > 0:
            x = keras.layers.SeparableConv2D(
                filters, 3, padding="same", use_bias=False, name=f"mask_refine_{step}"
            )(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"mask_norm_{finest + 1}")(x)
    x = keras.layers.Activation("relu6", name=f"mask_relu_{finest + 1}")(x)
    return keras.layers.Conv2D(groups, 1, name="masks")(x)  # (B, h, w, G)
