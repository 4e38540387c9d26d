"""Loads one version of a SavedModel into a session, as TensorFlow Serving does.

A session rather than `tf.saved_model.load`: it also loads models of TensorFlow 1, frees all memory
when it is closed, runs concurrent calls faster, and fails where production would fail.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from far_keras.errors import ServerError
from far_keras.serving.server.limits import one_line

__all__ = ["LoadedSignature", "SavedModel", "TensorInfo", "prepare_memory", "release_memory"]

_SIDECAR = "far_keras.json"  # marks a model that computes each row independently
_M_ARENA_MAX = -8  # of GNU's malloc.h


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature.

    Args:
        name: The alias in requests and responses.
        dtype: TensorFlow's number of the dtype.
        shape: Sizes, None for any size; None as a whole for any rank.
    """

    name: str
    dtype: int
    shape: tuple[int | None, ...] | None

    @classmethod
    def from_proto(cls, name: str, info: meta_graph_pb2.TensorInfo) -> TensorInfo:
        """From a SavedModel's signature."""
        shape = None
        if not info.tensor_shape.unknown_rank:
            shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
        return cls(name, info.dtype, shape)

    @property
    def has_open_batch(self) -> bool:
        """Whether the first dimension may have any size."""
        return bool(self.shape) and self.shape[0] is None  # type: ignore[index]

    def accepts(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape fits."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            expected is None or expected == size
            for expected, size in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        dtype = tf.dtypes.as_dtype(self.dtype).name
        if self.shape is None:
            return f"{dtype} of any shape"
        sizes = ", ".join("N" if size is None else str(size) for size in self.shape)
        return f"{dtype} ({sizes}{',' if len(self.shape) == 1 else ''})"


@dataclass(frozen=True)
class LoadedSignature:
    """A signature of a model in memory.

    Args:
        name: Its key, such as ``"serving_default"``.
        inputs, outputs: By alias.
        function: From the inputs' arrays in order to the outputs' arrays in order.
        by_row: Whether each row is computed independently, so that rows may be merged and split.
    """

    name: str
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    function: Callable[..., list[np.ndarray]]
    by_row: bool

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs for checked inputs.

        Raises:
            tf.errors.OpError: The graph fails.
        """
        values = self.function(*(inputs[name] for name in self.inputs))
        return dict(zip(self.outputs, values, strict=True))


class SavedModel:
    """A version of a model in memory.

    Args:
        folder: Holds ``saved_model.pb``.
        row_by_row: Whether rows of its batches may be merged and split; models that far_keras
            exported always allow it.
        threads: That share the operations of one run; None for one per core. TensorFlow keeps the
            number of the first session in a process.

    Raises:
        ServerError: Why it does not load, in one line.
    """

    def __init__(self, folder: Path, *, row_by_row: bool = False, threads: int | None = None):
        self.folder = folder
        self._row_by_row = _has_sidecar(folder) or row_by_row
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
                name: self._load_signature(name, definition)
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
        """Frees the memory. No call may be in progress."""
        self.signatures = {}
        self._session.close()

    def _load_signature(self, name: str, definition: Any) -> LoadedSignature:
        inputs = {k: TensorInfo.from_proto(k, v) for k, v in sorted(definition.inputs.items())}
        outputs = {k: TensorInfo.from_proto(k, v) for k, v in sorted(definition.outputs.items())}
        # The result of `Session.make_callable` looks the names up at every call: 0.2 ms.
        options = config_pb2.CallableOptions(
            feed=[definition.inputs[key].name for key in inputs],
            fetch=[definition.outputs[key].name for key in outputs],
        )
        function = self._session._make_callable_from_options(options)
        by_row = bool(self._row_by_row and inputs) and all(
            info.has_open_batch for info in (*inputs.values(), *outputs.values())
        )
        return LoadedSignature(name, inputs, outputs, function, by_row)


def prepare_memory() -> None:
    """Prepares a process for many loads and unloads of models; call it before the first load.

    TensorFlow creates a million objects that are never freed. They are excluded from garbage
    collections, which would otherwise stop all requests for a tenth of a second or more.
    """
    gc.collect()
    gc.freeze()
    # malloc's arenas of each thread, of which only the top can be returned to the system.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def release_memory() -> None:
    """Frees reference cycles, which TensorFlow's graphs contain, and malloc's unused memory.

    Without it, each reload of a model costs some 25 MB, for long or for good.
    """
    gc.collect()
    # C libraries other than GNU's have no such function.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _has_sidecar(folder: Path) -> bool:
    """Whether `far_keras.export` wrote the model."""
    for path in (folder / "assets" / _SIDECAR, folder / _SIDECAR):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ServerError(f"{path}: expected JSON. Received: {one_line(str(error))}") from None
        if isinstance(content, dict):
            return True
    return False


def _reason(error: Exception) -> str:
    if not str(error):
        return type(error).__name__
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    # Details of the graph follow in brackets, and long lists of tags or nodes after line ends.
    return one_line(text.strip().splitlines()[0].split("[[")[0].split("{{")[0])[:200]


@contextlib.contextmanager
def _without_deprecation_notice() -> Iterator[None]:
    """Suppresses TensorFlow's advice against the loader that TensorFlow Serving uses."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
