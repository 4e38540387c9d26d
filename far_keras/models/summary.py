"""Parts of a network with their parameters and floating point operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from far_keras.errors import ModelError

if TYPE_CHECKING:
    import keras
    from rich.table import Table

__all__ = [
    "PARTS",
    "Level",
    "NetworkSummary",
    "Part",
    "body",
    "count_flops",
    "summarize",
    "tables",
    "trace",
]

PARTS = ("backbone", "mask network", "fusion", "heads")
"""The parts of a network, in the order of data. Fusion is all that lies between: group masks at
each level's size, pooling, G2FF; in a baseline, pooling alone."""


@dataclass(frozen=True)
class Part:
    """One of `PARTS`.

    Args:
        name: Which one.
        parameters: Number of weights, the statistics of batch normalisation among them.
        trainable: Those of them that training moves.
        flops: Operations of the forward pass for one image, see `count_flops`.
    """

    name: str
    parameters: int
    trainable: int
    flops: int


@dataclass(frozen=True)
class Level:
    """A level of the backbone's pyramid.

    Args:
        name: Such as ``"P3"``.
        shape: (h, w, C).
        read_by: The `PARTS` that read this level.
    """

    name: str
    shape: tuple[int, int, int]
    read_by: tuple[str, ...]


@dataclass(frozen=True)
class NetworkSummary:
    """The size and cost of a network.

    Args:
        name: The model's name.
        inputs: Shapes without the batch, by name.
        outputs: Likewise.
        parts: Those of `PARTS` that the network has.
        levels: From fine to coarse.
    """

    name: str
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    parts: tuple[Part, ...]
    levels: tuple[Level, ...]

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def flops(self) -> int:
        return sum(part.flops for part in self.parts)

    def part(self, name: str) -> Part | None:
        """One of the parts; None if the network has none of that name."""
        return next((part for part in self.parts if part.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON data: the fields, and the totals."""
        return {**asdict(self), "parameters": self.parameters, "flops": self.flops}


def summarize(model: keras.Model) -> NetworkSummary:
    """Splits a functional network into its parts and measures each.

    The mask network is everything that the output "masks" is computed from except the backbone; the
    heads are the last layers with weights before the output "attributes", and what follows them.

    Args:
        model: A network of `far_keras.models`, or one like it: functional, with the output
            "attributes", perhaps "masks", and a layer named "backbone" with a dict of levels.

    Raises:
        ModelError: The model has no such output or layer.
    """
    import keras

    output = model.output
    known = isinstance(output, dict) and "attributes" in output
    if not known or "backbone" not in (layer.name for layer in model.layers):
        raise ModelError(
            "expected a network with the output 'attributes' and a layer named 'backbone'. "
            f"Received: {model.name!r} with the layers {[layer.name for layer in model.layers]}"
        )
    backbone = model.get_layer("backbone")
    part_of = _part_of(model)
    parts = []
    for name in PARTS:
        members = [operation for operation in model.operations if part_of.get(operation) == name]
        layers = [member for member in members if isinstance(member, keras.layers.Layer)]
        if members:
            trainable = _size(layers, "trainable_weights")
            flops = sum(count_flops(member, _outer_input(member)) for member in members)
            parts.append(Part(name, _size(layers, "weights"), trainable, flops))
    # Keras orders the tensors of a dict by its sorted keys.
    shapes = dict(
        zip(sorted(backbone.output), (t.shape for t in _node(backbone).output_tensors), strict=True)
    )
    readers = _readers(model, part_of, sorted(shapes))
    levels = [Level(name, tuple(shape[1:]), readers[name]) for name, shape in shapes.items()]
    inputs = {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    return NetworkSummary(
        name=model.name,
        inputs=inputs,
        outputs={name: tuple(tensor.shape[1:]) for name, tensor in output.items()},
        parts=tuple(parts),
        levels=tuple(levels),
    )


def _part_of(model: keras.Model) -> dict[Any, str]:
    """By operation of the model, the part it belongs to; inputs are left out."""
    import keras

    inputs = {_maker(tensor) for tensor in model.inputs}
    part_of = {model.get_layer("backbone"): "backbone"}
    if "masks" in model.output:
        for operation in _ancestors(model.output["masks"], stop=part_of.keys() | inputs):
            part_of[operation] = "mask network"
    ends = [model.output["attributes"]]
    while ends:
        operation = _maker(ends.pop())
        if operation not in part_of and operation not in inputs:
            part_of[operation] = "heads"
            if not (isinstance(operation, keras.layers.Layer) and operation.weights):
                ends += _inputs(operation)
    for operation in model.operations:
        if operation not in inputs:
            part_of.setdefault(operation, "fusion")
    return part_of


def _readers(
    model: keras.Model, part_of: dict[Any, str], levels: list[str]
) -> dict[str, tuple[str, ...]]:
    """By level, the parts that read it."""
    readers: dict[str, set[str]] = {level: set() for level in levels}
    for operation in model.operations:
        for tensor in _inputs(operation):
            history = tensor._keras_history
            if part_of.get(history.operation) == "backbone" and operation in part_of:
                readers[levels[history.tensor_index]].add(part_of[operation])
    return {level: tuple(sorted(parts, key=PARTS.index)) for level, parts in readers.items()}


def _ancestors(tensor: Any, stop: Iterable[Any]) -> set[Any]:
    found: set[Any] = set()
    waiting, stops = [tensor], set(stop)
    while waiting:
        operation = _maker(waiting.pop())
        if operation not in found and operation not in stops:
            found.add(operation)
            waiting += _inputs(operation)
    return found


def _maker(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _node(operation: Any) -> Any:
    """The last call of an operation. A nested model's own input and output are its inside."""
    return operation._inbound_nodes[-1]


def _inputs(operation: Any) -> list[Any]:
    return list(_node(operation).input_tensors)


def _outer_input(operation: Any) -> Any:
    """What an operation is called with, in the structure that it takes."""
    import keras

    return keras.tree.pack_sequence_as(operation.input, _inputs(operation))


def _size(layers: list[Any], weights: str) -> int:
    # By identity: a layer that is used twice counts once.
    every = {id(weight): weight for layer in layers for weight in getattr(layer, weights)}
    return sum(math.prod(weight.shape) for weight in every.values())


def tables(summary: NetworkSummary) -> list[Table]:
    """The summary as tables for the terminal."""
    from rich.table import Table

    shapes = Table(title=summary.name, title_justify="left")
    for heading in ("", "name", "shape"):
        shapes.add_column(heading)
    for kind, tensors in (("input", summary.inputs), ("output", summary.outputs)):
        for name, shape in tensors.items():
            shapes.add_row(kind, name, "x".join(map(str, shape)))

    costs = Table(
        title="Parts (a multiplication and an addition are two operations)", title_justify="left"
    )
    costs.add_column("part")
    for heading in ("parameters", "trainable", "GFLOPs", "share"):
        costs.add_column(heading, justify="right")
    whole = Part("total", summary.parameters, sum(p.trainable for p in summary.parts),
                 summary.flops)  # fmt: skip
    for part in (*summary.parts, whole):
        costs.add_row(
            part.name,
            f"{part.parameters:,}",
            f"{part.trainable:,}",
            f"{part.flops / 1e9:.4f}",
            f"{part.flops / max(summary.flops, 1):.1%}",
            style="bold" if part is whole else None,
        )

    levels = Table(title="Pyramid levels", title_justify="left")
    for heading in ("level", "shape", "stride", "read by"):
        levels.add_column(heading)
    for level in summary.levels:
        levels.add_row(
            level.name,
            "x".join(map(str, level.shape)),
            str(2 ** int(level.name[1:])),
            ", ".join(level.read_by),
        )
    return [shapes, costs, levels]


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
