"""One version of a SavedModel in memory, loaded into a session as TensorFlow Serving loads it.

A session rather than `tf.saved_model.load`: models of TensorFlow 1 work too, all memory goes back
when it is closed, concurrent calls run faster, and what fails here fails in production as well.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from far_keras.errors import ServerError
from far_keras.serving.server.rpc_error import one_line

__all__ = ["SavedModel", "Signature", "TensorSpec"]

_SIDECAR = "far_keras.json"  # marks a model whose answers depend on their own row alone


@dataclass(frozen=True)
class TensorSpec:
    """What a signature says of an input or output.

    Args:
        name: The alias in requests and answers.
        dtype: TensorFlow's number of the dtype.
        shape: Sizes, None where any will do; None if even the rank is open.
    """

    name: str
    dtype: int
    shape: tuple[int | None, ...] | None

    @property
    def has_open_batch(self) -> bool:
        """Whether the first dimension may have any size."""
        return bool(self.shape) and self.shape[0] is None  # type: ignore[index]

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape fits."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            wanted is None or wanted == size for wanted, size in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        dtype = tf.dtypes.as_dtype(self.dtype).name
        if self.shape is None:
            return f"{dtype} of any shape"
        sizes = ", ".join("N" if size is None else str(size) for size in self.shape)
        return f"{dtype} ({sizes}{',' if len(self.shape) == 1 else ''})"


@dataclass(frozen=True)
class Signature:
    """One entry point of a model, ready to be called.

    Args:
        name: Its key, such as ``"serving_default"``.
        inputs, outputs: By alias.
        function: Takes the inputs' arrays in order, gives the outputs' arrays in order.
        by_row: Whether rows may be put together and taken apart without changing an answer.
    """

    name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    function: Callable[..., list[np.ndarray]]
    by_row: bool

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs for inputs that were checked.

        Raises:
            tf.errors.OpError: What the graph says.
        """
        values = self.function(*(inputs[name] for name in self.inputs))
        return dict(zip(self.outputs, values, strict=True))


class SavedModel:
    """A version that was loaded.

    Args:
        folder: Holds ``saved_model.pb``.
        row_by_row: Whether rows of its batches may be merged and split, which is known of models
            that far_keras exported.
        threads: That share the operations of one run; None for one a core. TensorFlow keeps the
            number of the first session in a process.

    Raises:
        ServerError: Why it does not load, in one line.
    """

    def __init__(self, folder: Path, *, row_by_row: bool = False, threads: int | None = None):
        self.folder = folder
        self.far_keras = _read_sidecar(folder)
        self._row_by_row = row_by_row or self.far_keras is not None
        graph = tf.Graph()
        options = tf.compat.v1.ConfigProto()
        options.gpu_options.allow_growth = True
        options.intra_op_parallelism_threads = threads or 0
        self._session = tf.compat.v1.Session(graph=graph, config=options)
        try:
            with _without_deprecation_notice(), graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
            self.signature_defs = dict(meta_graph.signature_def)
            self.signatures = {
                name: self._signature(name, definition)
                for name, definition in self.signature_defs.items()
                if not name.startswith("__")
            }
        except Exception as error:  # a damaged file makes the loader raise almost anything
            self._session.close()
            raise ServerError(f"{folder}: does not load: {_reason(error)}") from None
        if not self.signatures:
            self._session.close()
            raise ServerError(f"{folder}: expected a model with signatures. Received: none in it")

    def close(self) -> None:
        """Gives the memory back. No call may be under way."""
        self.signatures = {}
        self._session.close()

    def _signature(self, name: str, definition: meta_graph_pb2.SignatureDef) -> Signature:
        inputs = {key: _spec(key, info) for key, info in sorted(definition.inputs.items())}
        outputs = {key: _spec(key, info) for key, info in sorted(definition.outputs.items())}
        function = self._callable(
            [definition.inputs[key].name for key in inputs],
            [definition.outputs[key].name for key in outputs],
        )
        by_row = bool(self._row_by_row and inputs) and all(
            spec.has_open_batch for spec in (*inputs.values(), *outputs.values())
        )
        return Signature(name, inputs, outputs, function, by_row)

    def _callable(
        self, feeds: Sequence[str], fetches: Sequence[str]
    ) -> Callable[..., list[np.ndarray]]:
        # What `Session.make_callable` gives looks the names up at every call: 0.2 ms.
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
        return self._session._make_callable_from_options(options)


def _spec(name: str, info: meta_graph_pb2.TensorInfo) -> TensorSpec:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(name, info.dtype, shape)


def _read_sidecar(folder: Path) -> dict[str, Any] | None:
    """What `far_keras.export` says of its model; None for a model from elsewhere."""
    for path in (folder / "assets" / _SIDECAR, folder / _SIDECAR):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ServerError(f"{path}: expected JSON. Received: {one_line(str(error))}") from None
        if isinstance(content, dict):
            return content
    return None


def _reason(error: Exception) -> str:
    if not str(error):
        return type(error).__name__
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    # The graph's inside follows in brackets, and long lists of tags or nodes after line ends.
    return one_line(text.strip().splitlines()[0].split("[[")[0].split("{{")[0])[:200]


@contextmanager
def _without_deprecation_notice() -> Iterator[None]:
    """The loader of sessions is what TensorFlow Serving has; TensorFlow advises its users else."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
