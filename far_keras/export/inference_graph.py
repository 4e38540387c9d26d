"""Rewrites networks for inference: the same outputs from fewer and faster operations.

`fold_batch_normalization` moves normalization into convolutions (`benchmarks/exported_speed.py`
prints what it saves). `phone_model` replaces layers that are written for batches and gradients by
operations for one image that the phone's runtime computes on its fast path (XNNPACK), and whose
weights can be quantized channel by channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from far_keras.calibration import Calibration
from far_keras.layers import (
    AreaResize,
    GroupedDense,
    GroupedHead,
    GroupGlobalFusion,
    GroupPooling,
)

__all__ = ["HEAD", "FoldedWeights", "fold_batch_normalization", "phone_model"]

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
# What may lie between a variable and where it is used, without changing its values.
_PASSED = ("Cast", "ExpandDims", "Identity", "ReadVariableOp", "Reshape", "Squeeze")

VariableOf = Callable[[tf.Tensor], int | None]
"""The position of the variable whose values a tensor has, or None."""


@dataclass(frozen=True)
class FoldedWeights:
    """Weights that give the same outputs with fewer operations.

    Args:
        values: One array for each of ``model.variables``, in their order.
        used: Whether the outputs depend on it.
        folded: Whether folding put a constant there: the normalization's factor of 1 and its
            addition, or the convolution's bias, which is part of that addition then.
        count: Number of folded normalizations.
    """

    values: list[np.ndarray]
    used: list[bool]
    folded: list[bool]
    count: int


def fold_batch_normalization(model: keras.Model) -> FoldedWeights:
    """Moves the factors of batch normalizations into the convolutions that they follow.

    A normalization is folded if it is the only consumer of the convolution's output and the kernel
    is used once. It stays in the network with the factor 1: only weights change.

    Args:
        model: From one image input to outputs, computing in float32; it is left as it is.
    """
    spec = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    traced = tf.function(lambda images: model(images, training=False), input_signature=[spec])
    graph = traced.get_concrete_function().graph
    positions = {id(v.value.handle): i for i, v in enumerate(model.variables)}
    captured = {
        inside.name: positions.get(id(outside))
        for outside, inside in graph.captures
        if inside.dtype == tf.resource
    }
    values = [np.array(variable) for variable in model.variables]
    folded = [False] * len(values)
    if None in captured.values():  # variables of several replicas, for instance: change nothing
        return FoldedWeights(values, [True] * len(values), folded, 0)

    def variable_of(tensor: tf.Tensor) -> int | None:
        while tensor.op.type in _PASSED:
            tensor = tensor.op.inputs[0]
        return captured.get(tensor.name)

    layer_of = {
        positions[id(layer.moving_variance.value.handle)]: layer
        for layer in model._flatten_layers()  # also those inside of blocks
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    convolutions = [op for op in graph.get_operations() if op.type in _CONVOLUTIONS]
    uses = Counter(variable_of(op.inputs[1]) for op in convolutions)
    count = 0
    for op in convolutions:
        kernel = variable_of(op.inputs[1])
        bias, factors = _follow(op.outputs[0], variable_of)
        if kernel is None or uses[kernel] > 1 or factors is None:
            continue
        variance = _variance_behind(factors, variable_of)
        if variance not in layer_of:
            continue
        layer = layer_of[variance]
        own = {
            name: positions[id(weight.value.handle)]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
            if (weight := getattr(layer, name)) is not None
        }
        count += 1
        factor = 1 / np.sqrt(values[variance].astype(np.float64) + layer.epsilon)  # (C,)
        if "gamma" in own:
            factor = factor * values[own["gamma"]]
        shift = -values[own["moving_mean"]] * factor
        if "beta" in own:
            shift = shift + values[own["beta"]]
        if bias is not None:
            shift = shift + values[bias] * factor
            values[bias] = np.zeros_like(values[bias])
            folded[bias] = True
        depthwise = op.type == "DepthwiseConv2dNative"  # kernels (h, w, C, multiplier)
        channels = factor.reshape(values[kernel].shape[2:]) if depthwise else factor
        values[kernel] = (values[kernel] * channels).astype(np.float32)
        # x * 1 + (0 - -shift): the factor is 1 exactly, since 1 - epsilon + epsilon rounds to 1.
        left = {
            "gamma": 1.0,
            "beta": 0.0,
            "moving_mean": -shift,
            "moving_variance": np.float32(1) - np.float32(layer.epsilon),
        }
        for name, position in own.items():
            values[position] = np.broadcast_to(left[name], factor.shape).astype(np.float32)
            folded[position] = True
    used = [position in captured.values() for position in range(len(values))]
    return FoldedWeights(values, used, folded, count)


def _follow(output: tf.Tensor, variable_of: VariableOf) -> tuple[int | None, tf.Tensor | None]:
    """The bias that is added to a convolution, and the factor that follows; None for each that is
    missing, or if the output is used otherwise."""
    bias = None
    operation, other = _only_use(output)
    if operation is not None and operation.type in ("BiasAdd", "Add", "AddV2"):
        bias = variable_of(other)
        if bias is None:
            return None, None
        operation, other = _only_use(operation.outputs[0])
    if operation is None or operation.type != "Mul":
        return bias, None
    return bias, other


def _only_use(output: tf.Tensor) -> tuple[tf.Operation | None, tf.Tensor | None]:
    """The consumer of a tensor, if it is one operation of two inputs, and its other input."""
    consumers = output.consumers()
    if len(consumers) != 1 or len(consumers[0].inputs) != 2:
        return None, None
    others = [tensor for tensor in consumers[0].inputs if tensor is not output]
    return (consumers[0], others[0]) if len(others) == 1 else (None, None)


def _variance_behind(factors: tf.Tensor, variable_of: VariableOf) -> int | None:
    """The variance in ``rsqrt(variance + epsilon) * gamma``, Keras' factor of a normalisation."""
    waiting = [factors]
    while waiting:
        op = waiting.pop().op
        if op.type == "Rsqrt" and op.inputs[0].op.type.startswith("Add"):
            found = [variable_of(tensor) for tensor in op.inputs[0].op.inputs]
            return next((position for position in found if position is not None), None)
        if op.type in ("Mul", "Cast", "Identity", "Reshape", "ExpandDims"):
            waiting += op.inputs
    return None


HEAD = "phone_head"
"""Part of the name of every operation behind the convolutions."""


def phone_model(
    model: keras.Model, calibration: Calibration, attributes: Sequence[str]
) -> keras.Model:
    """A model for one image with probabilities as outputs that computes what `model` does.

    It shares the weights of `model`: use it before `model` is trained further.

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
        call_function=_call_layer,
    )
    logits = same.outputs if not isinstance(same.output, dict) else same.output
    slopes, offsets = calibration.slopes(attributes), calibration.offsets(attributes)

    def calibrated(x: Any) -> Any:
        if (slopes != 1).any() or (offsets != 0).any():
            x = x * slopes + offsets
        return ops.sigmoid(x)

    outputs = {"attributes": _Function(calibrated, name=f"{HEAD}_attributes")(logits["attributes"])}
    if "masks" in logits:
        outputs["masks"] = keras.layers.Activation("sigmoid", name=f"{HEAD}_masks")(logits["masks"])
    return keras.Model(image, outputs, name=model.name)


class _Function(keras.layers.Layer):
    """A function of tensors under a name, which its operations have in the graph."""

    def __init__(self, function: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)


def _call_layer(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
    """Calls a layer or its replacement."""
    replace = _REPLACEMENTS.get(type(layer))
    function = replace(layer) if replace else None
    if function is None:
        kwargs.pop("training", None)
        return layer(*args, **kwargs)
    return _Function(function, name=f"{HEAD}_{layer.name}")(*args)


def _area_resize(layer: AreaResize) -> Callable[..., Any] | None:
    def resize(masks: Any) -> Any:
        height, width = masks.shape[1:3]
        if (height, width) == (layer.height, layer.width):
            return masks
        if height % layer.height or width % layer.width:
            return layer.call(masks)
        cells = (height // layer.height, width // layer.width)
        return ops.average_pool(masks, cells, cells, data_format="channels_last")

    return resize


def _group_pooling(layer: GroupPooling) -> Callable[..., Any]:
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


def _grouped_dense(layer: GroupedDense) -> Callable[..., Any]:
    kernel, bias = _numpy(layer.kernel), _numpy(layer.bias)
    return lambda x: layer._activation(_dense_of_each(x, kernel) + bias)


def _fusion(layer: GroupGlobalFusion) -> Callable[..., Any] | None:
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


def _grouped_head(layer: GroupedHead) -> Callable[..., Any]:
    """All attributes as one dense layer: 0 where an attribute does not read a group."""
    kernel, bias = _numpy(layer.kernel), _numpy(layer.bias)  # (A, D), (A,)

    def logits(x: Any) -> Any:
        groups, units = x.shape[1:]
        dense = np.zeros((groups, units, len(kernel)), np.float32)
        for attribute, group in enumerate(layer.group_of):
            dense[group, :, attribute] = kernel[attribute]
        x = ops.reshape(x, (1, groups * units))
        return ops.matmul(x, dense.reshape(groups * units, -1)) + bias

    return logits


def _as_it_is(layer: keras.layers.Layer) -> Callable[..., Any]:
    """The layer itself, under another name."""
    return layer.call


def _dense_of_each(x: Any, kernels: np.ndarray) -> Any:
    """(1, G, C) by (G, C, D), as G dense layers: (1, G, D)."""
    channels = kernels.shape[1]
    # XNNPACK slices only without dropping axes, and concatenates up to four parts.
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


_REPLACEMENTS: dict[type, Callable[[Any], Callable[..., Any] | None]] = {
    AreaResize: _area_resize,
    GroupPooling: _group_pooling,
    GroupedDense: _grouped_dense,
    GroupGlobalFusion: _fusion,
    GroupedHead: _grouped_head,
    keras.layers.GlobalAveragePooling2D: _as_it_is,
    keras.layers.Concatenate: _as_it_is,
    keras.layers.Dense: _as_it_is,
}
