"""Backbones: feature extractors that yield pyramid levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from far_keras.errors import ModelError
from far_keras.layers.batch_normalization import fuse
from far_keras.models.keras_cv_backbones import KERAS_CV_BACKBONES

__all__ = ["BACKBONES", "build_backbone", "pyramid"]


def _resnest50(pixels: keras.KerasTensor) -> keras.Model:
    from far_keras.models.resnest import resnest50

    return resnest50(pixels)


BACKBONES: dict[str, Callable[[keras.KerasTensor], keras.Model]] = {
    **KERAS_CV_BACKBONES,
    "resnest50": _resnest50,
}
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
            `image_size`. Its layers are used, not copied, and it is run once on a black image.
        image_size: Height and width of the input in pixels.
        levels: The pyramid levels to return; ``Pn`` has stride 2^n.
        batch_norm_momentum: Set on every batch normalisation. Keras' own 0.99 has not caught up
            with the weights after a short training, and validation suffers.

    Returns:
        A model named "backbone" from images (B, image_size, image_size, 3) to a dict of features
        (B, h, w, C) by level. Its attribute ``pyramid_level_inputs`` names the layers of all the
        levels that the whole backbone has.

    Raises:
        ModelError: An unknown name, an image too small, or a model that lacks such pyramid levels,
            has them at other strides, or fails on images of this size.
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
    if isinstance(backbone, keras.Model):
        features = _try(keras.Model(network.input, features, name=network.name), pixels)
    _check_sizes(network.name, features, image_size)
    for layer in network._flatten_layers():  # also those inside of blocks
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
            fuse(layer)
        elif type(getattr(layer, "excite_activation", None)).__name__ == "HardSigmoidActivation":
            # keras-cv's MobileNetV3 has a layer here that no ``.keras`` file can be loaded with.
            # Keras' own function computes the same, relu6(x + 3) / 6.
            layer.excite_activation = "hard_sigmoid"
            layer.excite_conv.activation = keras.activations.hard_sigmoid
    extractor = keras.Model(pixels, features, name="backbone")
    extractor.pyramid_level_inputs = dict(network.pyramid_level_inputs)
    return extractor


def pyramid(network: keras.Model, levels: Sequence[str]) -> dict[str, keras.KerasTensor]:
    """The output tensors of a keras-cv style backbone at `levels`; ModelError if it has none."""
    known = getattr(network, "pyramid_level_inputs", {})
    if missing := [level for level in levels if level not in known]:
        raise ModelError(
            f"backbone {network.name!r}: expected the pyramid levels {list(levels)}. "
            f"Received: a backbone with {sorted(known) or 'none'}; {missing} are not among them"
        )
    return {level: network.get_layer(known[level]).output for level in levels}


def _try(extractor: keras.Model, pixels: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """The features of `pixels`, after a run on a black image: shapes alone do not tell.

    keras-cv's CSPDarkNet, built for any size, accepts 227 and fails when it is used.
    """
    size = pixels.shape[1]
    try:
        features = extractor(pixels)
        extractor(np.zeros((1, size, size, 3), "float32"), training=False)
    except Exception as error:  # each backend and layer raises its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if "hape" in line), lines[0] if lines else "")
        raise ModelError(
            f"backbone {extractor.name!r} fails on images of {size}x{size}"
            f"{_rounded_levels(size)}: {reason[:300]}. Use an image_size that is a multiple of 32, "
            "such as 224, and a backbone that was built for it"
        ) from error
    return features


def _rounded_levels(size: int) -> str:
    """The levels whose size is no whole number, where two paths may round differently."""
    levels = [(n, size // 2**n, -(-size // 2**n)) for n in range(1, 6)]
    differing = [f"P{n} is {low} or {high}" for n, low, high in levels if low != high]
    return f", where by rounding {', '.join(differing)} wide" if differing else ""


def _check_sizes(name: str, features: Mapping[str, keras.KerasTensor], image_size: int) -> None:
    """Refuses levels that are not where their names say: Pn at stride 2^n, give or take a row."""
    for level, feature in features.items():
        expected = image_size / 2 ** int(level[1:])
        if len(feature.shape) != 4 or any(
            side is None or abs(side - expected) > 1 for side in feature.shape[1:3]
        ):
            raise ModelError(
                f"backbone {name!r}: expected {level} to be (B, h, w, C) with h and w about "
                f"{expected:.4g}, the image_size {image_size} by its stride "
                f"{2 ** int(level[1:])}. Received: {tuple(feature.shape)}"
            )
