"""A model folder's own .tflite file, hollow: the network without the weights that lie beside it.

With it the folder is run by LiteRT, a small library, instead of Keras: TensorFlow need not be
imported, the network neither built nor traced. A whole .tflite file would double the folder's size.
This one says instead, for each large constant, which array of ``model.weights.h5`` it is, in which
order of axes, and by which batch normalisation its channels are multiplied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated
from numpy.typing import NDArray

import far_keras
from far_keras.atomic import atomic_path
from far_keras.export.description import describe
from far_keras.export.flatbuffer import read_flatbuffer, write_flatbuffer
from far_keras.export.tflite_metadata import read_metadata, with_metadata
from far_keras.export.tflite_runner import TFLiteModel, start
from far_keras.models import storage

__all__ = ["HOLLOW", "load_hollow", "write_hollow"]

HOLLOW = "network.tflite"
"""What the file is called in a model's folder."""

# All that the answers depend on: a folder of which one was changed is left to Keras.
_FILES = (
    storage.CONFIG,
    storage.WEIGHTS,
    storage.SCHEMA,
    storage.THRESHOLDS,
    storage.CALIBRATION,
    storage.PROVENANCE,
)
_GAMMA, _VARIANCE = "/vars/0", "/vars/3"  # of a batch normalisation, in a weights file
_SMALL = 4096  # bytes; smaller constants stay in the file
_TOLERANCE = 1e-5  # of the largest value: the converter multiplies in another order

Arrays = Mapping[str, NDArray[np.float32]]


def write_hollow(folder: str | Path) -> Path:
    """Adds the hollow .tflite file to a model's folder.

    Args:
        folder: What `far_keras.models.storage.save_model` wrote.

    Returns:
        The file.

    Raises:
        ModelError: The folder holds no model, or none that can be a .tflite file.
    """
    from far_keras.export.conversion import convert

    folder = Path(folder)
    loaded = storage.load_in_float32(folder)
    model = read_flatbuffer(convert(loaded))
    epsilons = sorted(
        {float(layer.epsilon) for layer in loaded.model._flatten_layers() if _normalises(layer)}
    )
    constants = _hollow_out(model, _read_arrays(folder), epsilons)
    facts = {
        "precision": "float32",
        "far_keras": far_keras.__version__,
        "hollow": {"constants": constants, "files": _digests(folder)},
    }
    path = folder / HOLLOW
    with atomic_path(path) as temporary:
        description = describe(loaded, folder.resolve().name)
        temporary.write_bytes(with_metadata(write_flatbuffer(model), description, facts))
    return path


def load_hollow(folder: str | Path) -> TFLiteModel | None:
    """A model's folder, ready to answer without TensorFlow.

    Returns:
        None if the folder has no hollow file, or if another of its files was changed since.

    Raises:
        ModelError: The hollow file is damaged.
    """
    folder = Path(folder)
    path = folder / HOLLOW
    if not path.is_file():
        return None
    description, facts, flatbuffer = read_metadata(path)
    hollow = facts.get("hollow")
    if hollow is None or hollow["files"] != _digests(folder):
        return None
    model = read_flatbuffer(flatbuffer)
    arrays = _read_arrays(folder)
    for constant in hollow["constants"]:
        values = _constant(constant, arrays)
        model.buffers[constant["buffer"]].data = np.frombuffer(values.tobytes(), np.uint8)
    description = replace(description, name=folder.resolve().name)
    return start(path, description, facts, write_flatbuffer(model))


def _hollow_out(model: Any, arrays: Arrays, epsilons: list[float]) -> list[dict[str, Any]]:
    """Takes out every large constant that the arrays give, and says how they do.

    A constant that nothing gives stays.
    """
    constants = []
    for tensor in model.subgraphs[0].tensors:
        buffer = model.buffers[tensor.buffer]
        is_float = tensor.type == schema_py_generated.TensorType.FLOAT32
        if not is_float or buffer.data is None or len(buffer.data) < _SMALL:
            continue
        values = np.frombuffer(bytes(buffer.data), np.float32).reshape(tensor.shape)
        for constant in _candidates(values.shape, arrays, epsilons):
            given = _constant(constant, arrays)
            if np.abs(given - values).max() <= _TOLERANCE * np.abs(values).max():
                constants.append({"buffer": int(tensor.buffer), **constant})
                buffer.data = None
                break
    return constants


def _candidates(
    shape: tuple[int, ...], arrays: Arrays, epsilons: list[float]
) -> Iterator[dict[str, Any]]:
    """All that may give a constant of this shape.

    Of a dense layer of several groups each group is a constant.
    """
    normalisations: list[dict[str, Any] | None] = [None]
    normalisations += [
        {"layer": layer, "epsilon": epsilon}
        for layer in _normalisations(arrays, shape[_channel_axis(shape)])
        for epsilon in epsilons
    ]
    for name, array in arrays.items():
        groups = range(len(array)) if array.ndim == 3 else ()
        for part in (None, *groups):
            whole = array if part is None else array[part]
            for axes in _orders(whole.shape, shape):
                for normalisation in normalisations:
                    yield {
                        "array": name,
                        "part": part,
                        "axes": axes,
                        "shape": [int(side) for side in shape],
                        "normalisation": normalisation,
                    }


def _orders(shape: tuple[int, ...], wanted: tuple[int, ...]) -> list[list[int]]:
    """In which orders of its axes an array can be reshaped to `wanted`, moving no value."""

    def long(sides: tuple[int, ...]) -> list[int]:
        return [int(side) for side in sides if side != 1]

    if sorted(long(shape)) != sorted(long(wanted)):
        return []
    return [
        list(axes)
        for axes in permutations(range(len(shape)))
        if long(tuple(shape[axis] for axis in axes)) == long(wanted)
    ]


def _constant(constant: Mapping[str, Any], arrays: Arrays) -> NDArray[np.float32]:
    """The values of a constant."""
    array = arrays[constant["array"]]
    if constant["part"] is not None:
        array = array[constant["part"]]
    values = array.transpose(constant["axes"]).reshape(constant["shape"])
    if constant["normalisation"] is None:
        return values
    layer, epsilon = constant["normalisation"]["layer"], constant["normalisation"]["epsilon"]
    factor = arrays[layer + _GAMMA] / np.sqrt(arrays[layer + _VARIANCE] + np.float32(epsilon))
    broadcast = [1] * values.ndim
    broadcast[_channel_axis(values.shape)] = -1
    return values * factor.reshape(broadcast)


def _channel_axis(shape: tuple[int, ...]) -> int:
    """Of output channels: the first of a convolution's kernel, the last of a depthwise one's."""
    return -1 if shape[0] == 1 else 0


def _normalisations(arrays: Arrays, channels: int) -> list[str]:
    """The batch normalisations of so many channels."""
    return [
        layer
        for layer in (name.removesuffix(_VARIANCE) for name in arrays if name.endswith(_VARIANCE))
        if arrays[layer + _VARIANCE].shape == arrays[layer + _GAMMA].shape == (channels,)
    ]


def _normalises(layer: Any) -> bool:
    return hasattr(layer, "moving_variance")


def _read_arrays(folder: Path) -> Arrays:
    """The weights by their place in the file, float32."""
    import h5py

    arrays = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.asarray(item[()], np.float32)

    with h5py.File(folder / storage.WEIGHTS, "r") as file:
        file.visititems(take)
    return arrays


def _digests(folder: Path) -> dict[str, str | None]:
    """By name, the sha256 of the files that answers depend on; None for one that is missing."""
    return {name: _digest(folder / name) for name in _FILES}


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
