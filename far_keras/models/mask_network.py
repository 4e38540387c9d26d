"""AML: a light mask network on the backbone's features, and the head of every mask network."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from far_keras.layers import Rescale, Resize

__all__ = ["mask_head", "pyramid_levels", "shared_mask_decoder"]

_LOGIT_SCALE = 4.0


def pyramid_levels(levels: Sequence[str], finest: str | None = None) -> list[str]:
    """All levels from the finest to the coarsest: P2 P3 P4 P5 for ["P5", "P2"].

    Args:
        levels: Levels in any order, such as ``"P3"``.
        finest: Where to begin instead of the finest of `levels`.
    """
    numbers = [int(level[1:]) for level in levels]
    first = min(numbers) if finest is None else int(finest[1:])
    return [f"P{n}" for n in range(first, max(numbers) + 1)]


def shared_mask_decoder(
    features: Sequence[keras.KerasTensor], groups: int, filters: int = 32
) -> keras.KerasTensor:
    """A light decoder on the backbone's own features; the masks have its finest level's size.

    The paper (arXiv 2601.01408) predicts masks with a separate UNet (`unet`). This decoder shares
    the backbone instead, and costs an eighth of it (`benchmarks/model_cost.py`): 1x1
    convolutions bring each level to `filters` channels, and from the coarsest level on the sum is
    enlarged and refined by a 3x3 convolution. Separable ones would halve the cost, but learned
    worse masks in the same time.

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
        # Both sides are normalised, or the coarse levels, which know the most, would be drowned.
        x = keras.layers.Add(name=f"mask_add_{step}")([x, lateral])
        x = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"mask_refine_{step}"
        )(x)
        x = _normalise(x, f"mask_refine_{step}")
    return mask_head(x, groups)


def mask_head(x: keras.KerasTensor, groups: int) -> keras.KerasTensor:
    """A binary head for each group: from features (B, h, w, C) to mask logits (B, h, w, G)."""
    logits = keras.layers.Conv2D(groups, 1, name="masks")(x)
    # Adam moves a weight by the learning rate a step: without the factor, a training of a few
    # hundred steps ends before the logits are large enough to say yes or no.
    return Rescale(divisor=1 / _LOGIT_SCALE, name="mask_logits")(logits)


def _normalise(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return keras.layers.Activation("relu6", name=f"{name}_relu")(x)
