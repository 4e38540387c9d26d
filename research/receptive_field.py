"""Computes the theoretical receptive fields of a backbone's pyramid levels.

python -m research.receptive_field mgmtn_efficientnetlite0
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from far_keras.models.summary import body, trace

if TYPE_CHECKING:
    import keras

__all__ = ["ReceptiveField", "receptive_fields"]

_WINDOWS = ("Conv2D", "DepthwiseConv2dNative", "MaxPool", "MaxPoolV2", "AvgPool")
_PADDINGS = ("Pad", "PadV2", "MirrorPad")
_REDUCTIONS = ("Mean", "Sum", "Max", "Min")


@dataclass(frozen=True)
class ReceptiveField:
    """The theoretical receptive field of a feature map.

    It is the smallest window of the image outside of which no pixel reaches one position through
    convolutions, pooling and padding, over all paths, as in Araujo, Norris and Sim, "Computing
    Receptive Fields of Convolutional Neural Networks", Distill 2019 (doi 10.23915/distill.00021).
    It may be larger than the image. The pixels that matter in practice are fewer (Luo et al.,
    NeurIPS 2016, arXiv 1701.04128).

    Args:
        size: Side of the window, pixels.
        stride: Pixels of the image between neighbouring positions.
        gated: Whether values pooled over the whole image scale the features too, as in
            squeeze-and-excitation and split attention. `size` leaves that path out; with it every
            position depends on every pixel.
    """

    size: int
    stride: int
    gated: bool = False


@dataclass(frozen=True)
class _Window:
    """Position i of a map depends on the image's rows low + i * step ... high + i * step."""

    low: int
    high: int
    step: int
    gated: bool = False

    def widened(self, before: int, after: int, stride: int) -> _Window:
        """After a window from `before` positions behind to `after` ahead that moves by `stride`."""
        return replace(
            self,
            low=self.low - before * self.step,
            high=self.high + after * self.step,
            step=self.step * stride,
        )


# What a tensor depends on: a window; None for weights only; or in some other way, mixed over
# positions, as are vectors pooled over the image.
_MIXED = "mixed"
_View = _Window | str | None


def receptive_fields(
    backbone: keras.Model, image: keras.KerasTensor | None = None
) -> dict[str, ReceptiveField | None]:
    """Computes the receptive field of every output of a backbone, from its graph of operations.

    Args:
        backbone: From images (B, H, W, 3) to a dict of feature maps (B, h, w, C). The rows are
            walked; windows are taken to be square, as they are in the usual networks.
        image: A tensor of the input's shape with H and W known; None takes the model's own.

    Returns:
        By output; None for one whose positions mix in another way than by windows (attention,
        dense layers), or by an operation whose reach is not known here.
    """
    names = sorted(backbone.output)
    shape = backbone.inputs[0] if image is None else image
    graph = trace(lambda x: [_call(backbone, x)[name] for name in names], shape)
    start = _Window(0, 0, 1)
    # The first input is the image, the others are captured weights.
    views = _walk(graph, [start, *[None] * (len(graph.inputs) - 1)])
    return {name: _field(view) for name, view in zip(names, views, strict=True)}


def _call(backbone: keras.Model, x: Any) -> Any:
    return backbone(x, training=False)


def _field(view: _View) -> ReceptiveField | None:
    if not isinstance(view, _Window):
        return None
    return ReceptiveField(view.high - view.low + 1, view.step, view.gated)


def _walk(graph: Any, inputs: list[_View]) -> list[_View]:
    """The views of a graph's outputs, given those of its inputs."""
    known: dict[str, _View] = {
        tensor.name: view for tensor, view in zip(graph.inputs, inputs, strict=True)
    }
    for operation in graph.get_operations():  # each stands after what it reads
        if operation.type == "Placeholder":
            continue
        views = [known[tensor.name] for tensor in operation.inputs]
        if (inner := body(operation)) is not None:
            outputs = _walk(inner, views)
        else:
            outputs = [_view(operation, tensor, views) for tensor in operation.outputs]
        known |= {
            tensor.name: view for tensor, view in zip(operation.outputs, outputs, strict=True)
        }
    return [known[tensor.name] for tensor in graph.outputs]


def _view(operation: Any, output: Any, views: list[_View]) -> _View:
    """The view of one output of an operation, given those of its inputs."""
    import tensorflow as tf

    if all(view is None for view in views):
        return None
    first = views[0]
    if operation.type in _WINDOWS and isinstance(first, _Window):
        before, after, stride = _window_of(operation)
        return first.widened(before, after, stride)
    if operation.type in _PADDINGS and isinstance(first, _Window):
        before = int(tf.get_static_value(operation.inputs[1])[1][0])
        return first.widened(before, -before, 1)
    if operation.type in ("SpaceToBatchND", "BatchToSpaceND") and isinstance(first, _Window):
        # A dilated convolution: the steps between, then an undilated one, then back.
        block, margins = (int(tf.get_static_value(x).flat[0]) for x in operation.inputs[1:])
        if operation.type == "SpaceToBatchND":
            return first.widened(margins, -margins, block)
        back = replace(first, step=first.step // block)
        return back.widened(-margins, margins, 1)
    return _join(operation, output, views)


def _join(operation: Any, output: Any, views: list[_View]) -> _View:
    """For an operation that treats every position alike; mixed if it does not."""
    windows: list[_Window] = []
    gated = False
    for tensor, view in zip(operation.inputs, views, strict=True):
        if isinstance(view, _Window):
            if not _same_positions(operation, tensor, output):
                return _MIXED
            windows.append(view)
        elif view == _MIXED:
            if tuple(tensor.shape[1:3]) == tuple(output.shape[1:3]) != (1, 1):
                return _MIXED
            gated = True  # one value for all positions
    if not windows or len({window.step for window in windows}) > 1:
        return _MIXED
    return _Window(
        min(window.low for window in windows),
        max(window.high for window in windows),
        windows[0].step,
        gated or any(window.gated for window in windows),
    )


def _same_positions(operation: Any, tensor: Any, output: Any) -> bool:
    import tensorflow as tf

    if len(output.shape) < 4 or tuple(tensor.shape[1:3]) != tuple(output.shape[1:3]):
        return False
    if operation.type in _REDUCTIONS:
        axes = {int(a) % len(tensor.shape) for a in tf.get_static_value(operation.inputs[1]).flat}
        return not axes & {1, 2}
    if operation.type == "Transpose":
        return list(tf.get_static_value(operation.inputs[1])[1:3]) == [1, 2]
    return True


def _window_of(operation: Any) -> tuple[int, int, int]:
    """How far a window reaches up and down from its position, in input rows, and its stride."""
    source, target = (int(t.shape[1]) for t in (operation.inputs[0], operation.outputs[0]))
    stride = int(operation.get_attr("strides")[1])
    if operation.type.endswith(("Pool", "PoolV2")):
        reach = int(operation.get_attr("ksize")[1]) - 1
    else:
        reach = (int(operation.inputs[1].shape[0]) - 1) * int(operation.get_attr("dilations")[1])
    before = 0
    padding = operation.get_attr("padding")
    if padding == b"SAME":
        before = max((target - 1) * stride + reach + 1 - source, 0) // 2
    elif padding == b"EXPLICIT":
        before = int(operation.get_attr("explicit_paddings")[2])
    return before, reach - before, stride


def fields_of_levels(model: keras.Model) -> dict[str, ReceptiveField | None]:
    """By pyramid level, the receptive field in a network with a layer "backbone"."""
    backbone = model.get_layer("backbone")
    return receptive_fields(backbone, backbone._inbound_nodes[-1].input_tensors[0])


def describe_field(field: ReceptiveField | None) -> str:
    """Such as "339 px", or "339 px + whole" where pooled values gate the features."""
    if field is None:
        return "?"
    return f"{field.size} px" + (" + whole" if field.gated else "")


def main() -> None:
    """The command of the module's docstring."""
    import sys

    from far_keras.models.variants import ModelConfig, build_model

    for variant in sys.argv[1:]:
        for level, field in sorted(fields_of_levels(build_model(ModelConfig(variant))).items()):
            print(variant, level, describe_field(field))


if __name__ == "__main__":
    main()
