"""The network as a phone computes it: the same answers from operations that its runtime is good at.

Some layers of mask-guided networks are written for batches and for gradients. For one image
there are cheaper ways that give the same result: fewer operations, none that the runtime's fast
path (XNNPACK) leaves to the slow one, and dense layers whose weights can be quantised channel by
channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from far_keras.calibration import Calibration
from far_keras.layers import (
    AreaResize,
    GroupedDense,
    GroupedHead,
    GroupGlobalFusion,
    GroupPooling,
)

__all__ = ["HEAD", "phone_model"]

HEAD = "phone_head"
"""Part of the name of every operation behind the convolutions."""


def phone_model(
    model: keras.Model, calibration: Calibration, attributes: Sequence[str]
) -> keras.Model:
    """A model of one image, with probabilities for answers, that computes what `model` does.

    It shares the weights of `model`: use it before `model` is trained on.

    Args:
        model: What `far_keras.models.variants.build_model` made: from images (B, S, S, 3) to
            logits ``attributes`` (B, A) and perhaps ``masks`` (B, h, w, G).
        calibration: How attribute logits become probabilities.
        attributes: The A names, in the model's order.

    Returns:
        A functional model from float32 "image" (1, S, S, 3) in [0, 255] to probabilities
        ``attributes`` (1, A) and perhaps ``masks`` (1, h, w, G).
    """
    image = keras.Input(model.inputs[0].shape[1:], batch_size=1, name="image")
    same = keras.models.clone_model(
        model,
        input_tensors=image,
        clone_function=lambda layer: layer,
        call_function=_call,
    )
    logits = same.outputs if not isinstance(same.output, dict) else same.output
    slopes, offsets = calibration.slopes(attributes), calibration.offsets(attributes)

    def calibrated(x: Any) -> Any:
        if (slopes != 1).any() or (offsets != 0).any():
            x = x * slopes + offsets
        return ops.sigmoid(x)

    answers = {"attributes": _Function(calibrated, name=f"{HEAD}_attributes")(logits["attributes"])}
    if "masks" in logits:
        answers["masks"] = keras.layers.Activation("sigmoid", name=f"{HEAD}_masks")(logits["masks"])
    return keras.Model(image, answers, name=model.name)


class _Function(keras.layers.Layer):
    """A function of tensors under a name, which its operations bear in the graph."""

    def __init__(self, function: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)


def _call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
    """Calls a layer, or what stands for it."""
    replace = _REPLACEMENTS.get(type(layer))
    function = replace(layer) if replace else None
    if function is None:
        kwargs.pop("training", None)
        return layer(*args, **kwargs)
    return _Function(function, name=f"{HEAD}_{layer.name}")(*args)


def _area_resize(layer: AreaResize) -> Callable | None:
    def resize(masks: Any) -> Any:
        height, width = masks.shape[1:3]
        if (height, width) == (layer.height, layer.width):
            return masks
        if height % layer.height or width % layer.width:
            return layer.call(masks)
        cells = (height // layer.height, width // layer.width)
        return ops.average_pool(masks, cells, cells, data_format="channels_last")

    return resize


def _group_pooling(layer: GroupPooling) -> Callable:
    """Pools first and divides the few pooled values, not the many weights."""

    def pool(inputs: Any) -> Any:
        features, masks = inputs
        _, h, w, c = features.shape
        groups = masks.shape[-1]
        flat = ops.reshape(masks, (1, h * w, groups))
        features = ops.reshape(features, (1, h * w, c))
        sums = ops.matmul(ops.transpose(flat, (0, 2, 1)), features)  # (1, G, C)
        if layer.mode == "product":
            return sums / (h * w)
        # XNNPACK averages over height and width, but does not sum over positions.
        areas = ops.mean(masks, axis=(1, 2)) * (h * w)  # (1, G)
        return sums / (ops.reshape(areas, (1, groups, 1)) + layer.epsilon)

    return pool


def _grouped_dense(layer: GroupedDense) -> Callable:
    kernel, bias = _numpy(layer.kernel), _numpy(layer.bias)
    return lambda x: layer._activation(_dense_of_each(x, kernel) + bias)


def _fusion(layer: GroupGlobalFusion) -> Callable | None:
    """``W_j [g_j, o]`` is ``V_j g_j + U_j o``, and the U of all groups are one dense layer."""
    if layer.mode != "concat":
        return None
    kernel, bias = _numpy(layer.joint_dense.kernel), _numpy(layer.joint_dense.bias)

    def fuse(inputs: Any) -> Any:
        group, whole = inputs
        own, common = np.split(kernel, [group.shape[2]], axis=1)  # (G, C, D), (G, K, D)
        groups, k, units = common.shape
        common = ops.matmul(whole, common.transpose(1, 0, 2).reshape(k, groups * units))
        common = common + bias.reshape(1, -1)  # (1, G D)
        return ops.relu(_dense_of_each(group, own) + ops.reshape(common, (1, groups, units)))

    return fuse


def _grouped_head(layer: GroupedHead) -> Callable:
    """All attributes as one dense layer: 0 where an attribute does not read a group."""
    kernel, bias = _numpy(layer.kernel), _numpy(layer.bias)  # (A, D), (A,)

    def answer(x: Any) -> Any:
        groups, units = x.shape[1:]
        dense = np.zeros((groups, units, len(kernel)), np.float32)
        for attribute, group in enumerate(layer.group_of):
            dense[group, :, attribute] = kernel[attribute]
        x = ops.reshape(x, (1, groups * units))
        return ops.matmul(x, dense.reshape(groups * units, -1)) + bias

    return answer


def _as_it_is(layer: keras.layers.Layer) -> Callable:
    """Only under another name."""
    return layer.call


def _dense_of_each(x: Any, kernels: np.ndarray) -> Any:
    """(1, G, C) by (G, C, D), as G dense layers: (1, G, D)."""
    channels = kernels.shape[1]
    # Of slices, XNNPACK knows those that keep the axes; of joints, those of up to four parts.
    products = [
        ops.matmul(ops.reshape(x[:, group : group + 1], (1, channels)), kernel)
        for group, kernel in enumerate(kernels)
    ]  # G times (1, D)
    while len(products) > 1:
        fours = [products[start : start + 4] for start in range(0, len(products), 4)]
        products = [ops.concatenate(four, axis=1) if len(four) > 1 else four[0] for four in fours]
    return ops.reshape(products[0], (1, *kernels.shape[::2]))


def _numpy(variable: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(variable), np.float32)


_REPLACEMENTS: dict[type, Callable[[Any], Callable | None]] = {
    AreaResize: _area_resize,
    GroupPooling: _group_pooling,
    GroupedDense: _grouped_dense,
    GroupGlobalFusion: _fusion,
    GroupedHead: _grouped_head,
    keras.layers.GlobalAveragePooling2D: _as_it_is,
    keras.layers.Concatenate: _as_it_is,
    keras.layers.Dense: _as_it_is,
}
