"""Batch normalisation folded into the convolutions before it.

After training, normalisation multiplies each channel by one number and adds another. A convolution
can do that itself, with other weights; then TensorFlow computes it, the bias and the activation in
one operation. `benchmarks/exported_speed.py` prints what it saves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    import keras

__all__ = ["FoldedWeights", "fold_batch_normalization"]

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
# What may lie between a variable and where it is used, without changing its values.
_PASSED = ("Cast", "ExpandDims", "Identity", "ReadVariableOp", "Reshape", "Squeeze")

VariableOf = Callable[[tf.Tensor], int | None]
"""The position of the variable whose values a tensor has, or None."""


@dataclass(frozen=True)
class FoldedWeights:
    """Weights that give the same answers with less to compute.

    Args:
        values: One array for each of ``model.variables``, in their order.
        used: Whether the answers depend on it.
        folded: Whether folding put a constant there: the normalisation's factor of 1 and its
            addition, or the convolution's bias, which is part of that addition then.
        count: How many normalisations were folded.
    """

    values: list[np.ndarray]
    used: list[bool]
    folded: list[bool]
    count: int


def fold_batch_normalization(model: keras.Model) -> FoldedWeights:
    """Moves the factors of batch normalisations into the convolutions that they follow.

    A normalisation is folded if it is all that the convolution's output goes to, and the kernel is
    used once. It stays in the network with the factor 1, so nothing but weights changes.

    Args:
        model: From one image input to outputs, computing in float32; it is left as it is.
    """
    graph = _trace(model)
    positions = {id(v.value.handle): i for i, v in enumerate(model.variables)}
    captured = {
        inside.name: positions.get(id(outside))
        for outside, inside in graph.captures
        if inside.dtype == tf.resource
    }
    values = [np.array(variable) for variable in model.variables]
    folded = [False] * len(values)
    if None in captured.values():  # variables of several replicas, say: leave all as it is
        return FoldedWeights(values, [True] * len(values), folded, 0)

    def variable_of(tensor: tf.Tensor) -> int | None:
        while tensor.op.type in _PASSED:
            tensor = tensor.op.inputs[0]
        return captured.get(tensor.name)

    layer_of = {
        positions[id(layer.moving_variance.value.handle)]: layer for layer in _normalisations(model)
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


def _trace(model: keras.Model) -> tf.Graph:
    size = model.inputs[0].shape[1:]
    function = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec((None, *size), tf.float32)],
    )
    return function.get_concrete_function().graph


def _normalisations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """All of them, those inside of blocks too."""
    import keras

    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def _follow(output: tf.Tensor, variable_of: VariableOf) -> tuple[int | None, tf.Tensor | None]:
    """The bias that is added to a convolution, and the factor that follows; None if there is none.

    Whatever else happens to the output, there is no factor.
    """
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
    """What a tensor goes to, if it goes to one operation of two inputs, and the other input."""
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
