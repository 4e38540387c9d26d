"""A model folder's network as a .tflite file without the weights, which it reads from the folder.

With it LiteRT runs the folder: TensorFlow is not imported, and the network is neither built nor
traced. A complete .tflite file would double the folder's size. This one states, for each large
constant, which array of ``model.weights.h5`` it is, in which order of axes, and by which batch
normalization its channels are multiplied.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated
from numpy.typing import NDArray

import far_keras
from far_keras.errors import ModelError
from far_keras.export.description import describe
from far_keras.export.litert import TFLiteModel
from far_keras.export.tflite_file import (
    read_flatbuffer,
    read_metadata,
    with_metadata,
    write_flatbuffer,
)
from far_keras.files import write_atomically
from far_keras.models import storage

__all__ = ["load_weightless_tflite", "write_weightless_tflite"]

FORMAT = 1
"""Increased whenever an older file would no longer predict as Keras does."""

# All that predictions depend on: where one of them was changed, Keras runs the folder.
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


def write_weightless_tflite(folder: str | Path) -> Path:
    """Adds the weightless .tflite file to a model's folder.

    All larger constants of the packaged model are arrays of its weights. In networks with a global
    feature some are made of several arrays and stay in the file.

    Args:
        folder: What `far_keras.models.storage.save_model` wrote.

    Returns:
        The file, ``network.tflite``.

    Raises:
        ModelError: The folder holds no model, one that cannot be a .tflite file, or one that was
            replaced in the meantime.
        OSError: The folder cannot be written.
    """
    from far_keras.extras import require

    require("export", "exporting")
    from far_keras.export.tflite import convert

    folder = Path(folder)
    path = folder / storage.WEIGHTLESS
    content = _read(folder)
    loaded = storage.load_in_float32(folder)
    description = describe(loaded, folder.resolve().name)  # refuses mask networks
    whole = convert(loaded)
    model = read_flatbuffer(whole)
    arrays = _arrays(content)
    constants = _take_constants(model, arrays, _epsilons(loaded))
    flatbuffer = write_flatbuffer(model)
    digests = _digests(content)
    facts: dict[str, Any] = {
        "precision": "float32",
        "far_keras": far_keras.__version__,
        "weightless": {"format": FORMAT, "constants": constants, "files": digests},
    }
    images = np.random.default_rng(0).integers(
        0, 256, (4, loaded.image_size, loaded.image_size, 3), np.uint8
    )
    expected, given = (
        TFLiteModel.of_flatbuffer(path, description, facts, runnable)(images)
        for runnable in (whole, _filled(flatbuffer, constants, arrays))
    )
    if any(np.abs(given[name] - expected[name]).max() > 1e-4 for name in expected):
        raise ModelError(f"{folder}: the network without its weights would predict differently")
    if _digests(_read(folder)) != digests:
        raise ModelError(f"{folder}: the model was replaced while {path.name} was made; repeat")
    write_atomically(path, with_metadata(flatbuffer, description, facts))
    return path


def load_weightless_tflite(folder: str | Path) -> TFLiteModel | None:
    """Loads a model's folder for LiteRT, without TensorFlow.

    Returns:
        None if the folder has no weightless file, one of another format, or one that was made
        before the folder's network, weights, schema, thresholds, calibration or provenance were
        changed.

    Raises:
        ModelError: The weightless file is damaged.
    """
    folder = Path(folder)
    path = folder / storage.WEIGHTLESS
    if not path.is_file():
        return None
    description, facts, flatbuffer = read_metadata(path)
    weightless = facts.get("weightless", {})
    content = _read(folder)
    if weightless.get("format") != FORMAT or weightless["files"] != _digests(content):
        return None
    filled = _filled(flatbuffer, weightless["constants"], _arrays(content))
    description = replace(description, name=folder.resolve().name)
    return TFLiteModel.of_flatbuffer(path, description, facts, filled)


def _filled(flatbuffer: bytes, constants: list[dict[str, Any]], arrays: Arrays) -> bytes:
    """The flatbuffer with the constants that were taken out."""
    model = read_flatbuffer(flatbuffer)
    for constant in constants:
        values = _constant(constant, arrays)
        model.buffers[constant["buffer"]].data = np.frombuffer(values.tobytes(), np.uint8)
    return write_flatbuffer(model)


def _take_constants(model: Any, arrays: Arrays, epsilons: list[float]) -> list[dict[str, Any]]:
    """Removes every large constant that the arrays give, and describes how; the others stay."""
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
    """All that may give a constant of this shape; of a grouped dense layer, each group is one."""
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
    """The orders of an array's axes that reshape it to `wanted` without moving values."""

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
    """The values of a constant, by its description."""
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
    """The axis of output channels: a convolution kernel's first, a depthwise kernel's last."""
    return -1 if shape[0] == 1 else 0


def _normalisations(arrays: Arrays, channels: int) -> list[str]:
    """The batch normalizations of this number of channels."""
    return [
        layer
        for layer in (name.removesuffix(_VARIANCE) for name in arrays if name.endswith(_VARIANCE))
        if arrays[layer + _VARIANCE].shape == arrays[layer + _GAMMA].shape == (channels,)
    ]


def _epsilons(loaded: storage.LoadedModel) -> list[float]:
    """What the network's batch normalizations add to variances."""
    layers = loaded.model._flatten_layers()
    return sorted({float(x.epsilon) for x in layers if hasattr(x, "moving_variance")})


def _arrays(content: Mapping[str, bytes | None]) -> Arrays:
    """The weights by their place in the file, float32."""
    import h5py

    arrays = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.asarray(item[()], np.float32)

    with h5py.File(io.BytesIO(content[storage.WEIGHTS] or b""), "r") as file:
        file.visititems(take)
    return arrays


def _read(folder: Path) -> dict[str, bytes | None]:
    """By name, the files that predictions depend on; None for one that is missing."""
    paths = {name: folder / name for name in _FILES}
    return {name: path.read_bytes() if path.is_file() else None for name, path in paths.items()}


def _digests(content: Mapping[str, bytes | None]) -> dict[str, str | None]:
    """The sha256 of each file."""
    return {
        name: None if data is None else hashlib.sha256(data).hexdigest()
        for name, data in content.items()
    }
