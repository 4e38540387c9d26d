"""Post-training quantisation of a float .tflite file, calibrated on images."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from far_keras.export.flatbuffer import kind_of, read_flatbuffer, with_uint8_input, write_flatbuffer
from far_keras.export.phone_graph import HEAD
from far_keras.quiet import quiet

__all__ = ["quantize_dynamic", "quantize_int8"]

_IN_HEAD = f".*{HEAD}.*"
_FUSION = f".*{HEAD}_fusion.*"


def quantize_dynamic(content: bytes) -> bytes:
    """Stores weights as int8, channel by channel; activations stay float32 between operations.

    Args:
        content: A float32 .tflite file.
    """
    from litert_quantizer import qtyping, quantizer

    names = qtyping.TFLOperationName
    work = quantizer.Quantizer(bytearray(content))
    for operation in (names.CONV_2D, names.FULLY_CONNECTED, names.CONV_2D_TRANSPOSE):
        work.add_dynamic_config(".*", operation, num_bits=8)
    # The runtime has no fast dynamic kernel for depthwise convolutions: few weights, left alone.
    return write_flatbuffer(read_flatbuffer(_quantize(work, None)))


def quantize_int8(content: bytes, pictures: Iterable[np.ndarray]) -> bytes:
    """Weights and activations of all convolutions as int8; the input as uint8 pixels.

    Behind the convolutions, masks are averaged over and divided by their areas, which int8 cannot
    hold: a small mask's weights are some hundred times those of a large one. That part, less than
    a fiftieth of the work, computes in float32, with int8 weights in its dense layers. Those of
    the fusion, a third of all weights, have 4 bits. The first depthwise convolution is left in
    float32 too: few channels of very different scale, which one scale for all of them makes coarse.
    In an EfficientNet-Lite0 it alone did as much harm as all the rest. And so is MobileNetV3's
    hard swish: XNNPACK has no int8 kernel for it, and 17 interruptions cost five times the rest.

    Args:
        content: A float32 .tflite file of `phone_model`.
        images: Training images (S, S, 3) in [0, 255], at least one: they show which values
            occur between the operations.
    """
    from litert_quantizer import qtyping, quantizer

    names = qtyping.TFLOperationName
    work = quantizer.Quantizer(bytearray(content))
    # Operations are chosen by the names of their outputs; those of the model bear the last one.
    float32 = "|".join([HEAD, "PartitionedCall", *map(re.escape, _first_depthwise(content))])
    left_alone = (names.ALL_SUPPORTED, names.OUTPUT, names.HARD_SWISH)
    for operation in names:
        if operation not in left_alone:
            with contextlib.suppress(ValueError):  # no int8 kernel exists
                work.add_static_config(f"^(?!.*({float32})).*", operation, 8, 8)
    work.add_dynamic_config(_IN_HEAD, names.FULLY_CONNECTED, num_bits=8)
    work.add_dynamic_config(_FUSION, names.FULLY_CONNECTED, num_bits=4)
    quantized = read_flatbuffer(_quantize(work, _ranges(content, pictures)))
    return write_flatbuffer(with_uint8_input(quantized))


def _quantize(work: Any, ranges: dict[str, dict[str, np.ndarray]] | None) -> bytes:
    with contextlib.redirect_stderr(io.StringIO()), quiet():  # progress bars and notices
        result = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _ranges(content: bytes, pictures: Iterable[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """By tensor that is computed: the least and the greatest value that occur."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that keeping all tensors takes memory
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    graph = read_flatbuffer(content).subgraphs[0]
    computed = [int(index) for operation in graph.operators for index in operation.outputs]
    low: dict[int, np.ndarray] = {}
    high: dict[int, np.ndarray] = {}

    def observe(picture: np.ndarray, tensors: Iterable[int]) -> None:
        interpreter.set_tensor(entry["index"], np.asarray(picture, np.float32)[None])
        interpreter.invoke()
        for index in tensors:
            values = interpreter.get_tensor(index)
            least, greatest = values.min(keepdims=True), values.max(keepdims=True)
            low[index] = np.minimum(low.get(index, least), least)
            high[index] = np.maximum(high.get(index, greatest), greatest)

    for picture in pictures:
        observe(picture, [entry["index"], *computed])
    for value in (0, 255):
        observe(np.full(entry["shape"][1:], value), _pixelwise(content))
    return {
        graph.tensors[index].name.decode(): {"min": low[index], "max": high[index]}
        for index in low
        if low[index].dtype == np.float32
    }


def _first_depthwise(content: bytes) -> list[str]:
    """Name of the first depthwise convolution's output; empty if there is none."""
    model = read_flatbuffer(content)
    graph = model.subgraphs[0]
    for operation in graph.operators:
        if kind_of(model, operation) == "DEPTHWISE_CONV_2D":
            return [graph.tensors[operation.outputs[0]].name.decode()]
    return []


def _pixelwise(content: bytes) -> list[int]:
    """The input and what is computed from each of its pixels alone: all values must fit."""
    model = read_flatbuffer(content)
    graph = model.subgraphs[0]
    reached = [int(graph.inputs[0])]
    for operation in graph.operators:
        pixelwise = kind_of(model, operation) in ("ADD", "SUB", "MUL", "DIV")
        if pixelwise and operation.inputs[0] in reached:
            reached.append(int(operation.outputs[0]))
    return reached
