"""Floating point operations of networks and of single layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = ["body", "count_flops", "trace"]


def count_flops(function: Callable[..., Any], inputs: Any) -> int:
    """Counts the floating point operations of one call, for one image.

    The graph is taken as it is written, before the runtime joins or folds anything, and its
    operations are counted by the rules of TensorFlow's profiler: a multiplication and an addition
    are two. Convolutions, matrix products, biases, pooling and element-wise arithmetic count;
    activations, resizing and data movement count as zero, as there is no rule for them. Other than
    the profiler, this looks into nested functions, where Keras hides convolutions in groups.

    Args:
        function: A Keras model, layer or operation.
        inputs: Its input: a KerasTensor, or a list, tuple or dict of them. An unknown first
            dimension, the batch, is taken as 1.

    Returns:
        The number of operations of the forward pass in inference.

    Example:
        >>> model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 1)])
        >>> count_flops(model, model.inputs[0])  # 4 * 4 * 5 * (2 * 3 + 1 for the bias)
        560
    """
    from tensorflow.python.util import deprecation

    with deprecation.silence():  # the profiler's rules call a function of TensorFlow 1
        return _flops(trace(function, inputs))


def trace(function: Callable[..., Any], inputs: Any) -> Any:
    """The TensorFlow graph (a ``FuncGraph``) of one call in inference, for one image.

    Args:
        function: A Keras model, layer or operation.
        inputs: Its input, as for `count_flops`.
    """
    import keras
    import tensorflow as tf

    arguments = {"training": False} if isinstance(function, keras.Model) else {}
    call = tf.function(lambda x: function(x, **arguments), autograph=False)
    return call.get_concrete_function(keras.tree.map_structure(_spec, inputs)).graph


def body(operation: Any) -> Any:
    """The graph of the function that an operation of a graph calls; None if it calls none."""
    if operation.type not in ("PartitionedCall", "StatefulPartitionedCall"):
        return None
    return operation.graph._get_function(operation.get_attr("f").name).graph


def _flops(graph: Any) -> int:
    from tensorflow.python.framework.ops import get_stats_for_node_def

    total = 0
    for operation in graph.get_operations():
        if (inner := body(operation)) is not None:
            total += _flops(inner)
        else:
            total += get_stats_for_node_def(graph, operation.node_def, "flops").value or 0
    return int(total)


def _spec(tensor: keras.KerasTensor) -> Any:
    import tensorflow as tf

    batch, *rest = tensor.shape
    return tf.TensorSpec((batch or 1, *rest), tensor.dtype)
