"""Where a .tflite file spends its time, by kind of operation.

    python benchmarks/tflite_profile.py phone/mgmtn-float32.tflite

The runtime joins neighbouring operations, so none can be timed by itself. Instead the network is
cut after each operation in turn, and the time of the cut networks is a rising curve whose steps are
the operations. Times are the least of many calls on one core; a falling step counts as none.
Arithmetic is that of convolutions and matrix products.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from rich.console import Console
from rich.table import Table

from far_keras.export.tflite_file import kind_of, read_flatbuffer, read_metadata, write_flatbuffer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--calls", type=int, default=60, help="of each cut network")
    options = parser.parse_args()
    content = read_metadata(options.file)[2]
    model = read_flatbuffer(content)
    operations = model.subgraphs[0].operators
    curve = [least_time(cut(content, n), options.calls) for n in range(1, len(operations) + 1)]
    seconds: dict[str, float] = defaultdict(float)
    flops: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    before = 0.0
    for operation, reached in zip(operations, np.maximum.accumulate(curve), strict=True):
        kind = name_of(model, operation)
        seconds[kind] += reached - before
        flops[kind] += arithmetic(model, operation)
        count[kind] += 1
        before = reached
    table = Table(title=f"{options.file.name}: {1e3 * before:.2f} ms")
    for column in ("operation", "times", "ms", "share", "GFLOP/s"):
        table.add_column(column, justify="left" if column == "operation" else "right")
    for kind in sorted(seconds, key=lambda name: -seconds[name]):
        rate = flops[kind] / seconds[kind] / 1e9 if seconds[kind] and flops[kind] else math.nan
        table.add_row(
            kind,
            str(count[kind]),
            f"{1e3 * seconds[kind]:.3f}",
            f"{seconds[kind] / before:.0%}",
            f"{rate:.0f}" if math.isfinite(rate) else "",
        )
    Console(width=100).print(table)


def cut(content: bytes, count: int) -> bytes:
    """The first operations of a network; what they leave unused are its outputs."""
    model = read_flatbuffer(content)
    graph = model.subgraphs[0]
    graph.operators = graph.operators[:count]
    used = {int(index) for operation in graph.operators for index in operation.inputs}
    made = [int(index) for operation in graph.operators for index in operation.outputs]
    graph.outputs = np.array([index for index in made if index not in used], np.int32)
    model.signatureDefs = []
    return write_flatbuffer(model)


def least_time(content: bytes, calls: int) -> float:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    best = math.inf
    for _ in range(calls):
        started = time.thread_time()
        interpreter.invoke()
        best = min(best, time.thread_time() - started)
    return best


def name_of(model, operation) -> str:
    kind = kind_of(model, operation)
    if kind == "CONV_2D":
        weights = model.subgraphs[0].tensors[operation.inputs[1]].shape
        return f"CONV_2D {weights[1]}x{weights[2]}"
    return kind


def arithmetic(model, operation) -> float:
    """Floating point operations of a convolution or a dense layer; 0 for others."""
    kind = kind_of(model, operation)
    tensors = model.subgraphs[0].tensors
    outputs = math.prod(map(int, tensors[operation.outputs[0]].shape))
    if kind == "CONV_2D":
        return 2.0 * outputs * math.prod(map(int, tensors[operation.inputs[1]].shape[1:]))
    if kind == "DEPTHWISE_CONV_2D":
        return 2.0 * outputs * math.prod(map(int, tensors[operation.inputs[1]].shape[1:3]))
    if kind == "FULLY_CONNECTED":
        return 2.0 * outputs * int(tensors[operation.inputs[1]].shape[1])
    return 0.0


if __name__ == "__main__":
    main()
