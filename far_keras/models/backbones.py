"""Backbones: feature extractors from keras-cv that yield pyramid levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from far_keras.errors import ModelError
from far_keras.layers import Rescale

__all__ = ["BACKBONES", "build_backbone", "pyramid"]

# The arguments of keras-cv's preset "efficientnetlite_b0". They are spelled out because its aliases
# and presets go online even when no weights are asked for.
_EFFICIENTNET_LITE0: dict[str, Any] = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "include_rescaling": False,
}


def _efficientnet_lite0(pixels: keras.KerasTensor) -> keras.Model:
    # Imported here: keras-cv takes seconds to load.
    from keras_cv.models import EfficientNetLiteBackbone

    x = Rescale(offset=127, divisor=128, name="rescale")(pixels)
    return EfficientNetLiteBackbone(**_EFFICIENTNET_LITE0, input_tensor=x)


BACKBONES = {"efficientnetlite0": _efficientnet_lite0}
"""Backbones with a name; each takes the Input (B, H, W, 3) of pixels in [0, 255]."""


def build_backbone(
    backbone: str | keras.Model,
    image_size: int,
    levels: Sequence[str] = ("P3", "P4", "P5"),
    batch_norm_momentum: float = 0.9,
) -> keras.Model:
    """Builds the feature extractor of a network.

    Args:
        backbone: A name in `BACKBONES`, or a keras-cv style backbone: a functional model of pixels
            in [0, 255] with the attribute ``pyramid_level_inputs``, built for any or for this
            `image_size`.
        image_size: Height and width of the input in pixels.
        levels: The pyramid levels to return; ``Pn`` has stride 2^n.
        batch_norm_momentum: Set on every batch normalisation. Keras' own 0.99 has not caught up
            with the weights after a short training, and validation suffers.

    Returns:
        A model named "backbone" from images (B, image_size, image_size, 3) to a dict of features
        (B, h, w, C) by level.

    Raises:
        ModelError: An unknown name, a model without such pyramid levels, or an image too small.
    """
    if image_size < 32:
        raise ModelError(
            f"image_size must be at least 32, the stride of P5. Received: {image_size}"
        )
    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    if isinstance(backbone, keras.Model):
        network = backbone
    elif backbone in BACKBONES:
        network = BACKBONES[backbone](pixels)
    else:
        raise ModelError(
            f"backbone must be one of {sorted(BACKBONES)} or a keras-cv backbone. "
            f"Received: {backbone!r}"
        )
    features = pyramid(network, levels)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
    if isinstance(backbone, keras.Model):
        features = keras.Model(network.input, features)(pixels)
    return keras.Model(pixels, features, name="backbone")


def pyramid(network: keras.Model, levels: Sequence[str]) -> dict[str, keras.KerasTensor]:
    """The output tensors of a keras-cv style backbone at `levels`; ModelError if it has none."""
    known = getattr(network, "pyramid_level_inputs", {})
    if missing := [level for level in levels if level not in known]:
        raise ModelError(
            f"backbone {network.name!r}: expected the pyramid levels {list(levels)}. "
            f"Received: a backbone with {sorted(known) or 'none'}; {missing} are not among them"
        )
    return {level: network.get_layer(known[level]).output for level in levels}
