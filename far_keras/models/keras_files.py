"""Keras' own files, ``.keras`` and ``.weights.h5``, that know which attributes they answer.

Keras itself reads them like any other of its files, but compares shapes at most: weights of
another schema with as many attributes would be taken without a word. The functions here refuse
them by name. A model's folder (`far_keras.models.storage`) holds more, thresholds among it.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from far_keras.errors import ModelError, SchemaError
from far_keras.files import atomic_path
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    import keras

__all__ = [
    "load_keras_file",
    "load_weights_file",
    "read_schema",
    "save_keras_file",
    "save_weights_file",
]

_MEMBER = "far_keras.schema.json"  # of a .keras archive
_ATTRIBUTE = "far_keras_schema"  # of an HDF5 file
_ENDINGS = (".keras", ".weights.h5")


def save_keras_file(model: keras.Model, path: str | Path, schema: AttributeSchema) -> Path:
    """Writes a ``.keras`` file, network and weights, with its schema inside.

    ``keras.models.load_model`` reads it too, once `far_keras.layers` is imported.

    Args:
        model: A network of `far_keras.models`.
        path: Ends in ``.keras``.
        schema: What it answers.
    """
    path = _checked(path, ".keras")
    text = json.dumps(schema.to_dict())
    with atomic_path(path) as temporary:
        # Keras wants its own ending, which a temporary name lacks.
        whole = temporary.with_name(temporary.name + ".keras")
        try:
            model.save(whole)
            with zipfile.ZipFile(whole, "a") as archive:
                archive.writestr(_MEMBER, text)
            whole.replace(temporary)
        finally:
            whole.unlink(missing_ok=True)
    return path


def load_keras_file(path: str | Path, schema: AttributeSchema | None = None) -> keras.Model:
    """Reads a ``.keras`` file.

    Args:
        path: What `save_keras_file` wrote.
        schema: The schema that is wanted; None takes whatever the file has.

    Raises:
        ModelError: The file is missing, damaged or without a schema, or answers another one.
    """
    import keras

    import far_keras.layers
    import far_keras.models.backbones  # noqa: F401

    path = _checked(path, ".keras")
    _compare(path, schema)
    try:
        return keras.models.load_model(path)
    except Exception as error:  # Keras raises almost anything on what it cannot build
        raise ModelError(f"{path}: Keras cannot read the model: {error!s:.300}") from error


def save_weights_file(model: keras.Model, path: str | Path, schema: AttributeSchema) -> Path:
    """Writes a ``.weights.h5`` file, weights only, with its schema inside.

    ``model.load_weights`` of Keras reads it too.
    """
    path = _checked(path, ".weights.h5")
    with atomic_path(path) as temporary:
        whole = temporary.with_name(temporary.name + ".weights.h5")
        try:
            write_weights(model, whole, schema)
            whole.replace(temporary)
        finally:
            whole.unlink(missing_ok=True)
    return path


def load_weights_file(model: keras.Model, path: str | Path, schema: AttributeSchema) -> None:
    """Reads weights into a network that was built alike.

    Args:
        model: The network.
        path: What `save_weights_file` wrote, or the ``model.weights.h5`` of a model's folder.
        schema: What the network answers.

    Raises:
        ModelError: The file is missing, damaged, without a schema, of another schema, or of
            another network.
    """
    path = _checked(path, ".weights.h5")
    _compare(path, schema)
    try:
        read_weights(model, path)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ModelError(
            f"{path}: these are not the weights of a network like {model.name!r}: {error!s:.300}"
        ) from error


def read_schema(path: str | Path) -> AttributeSchema:
    """The schema inside a ``.keras`` or ``.weights.h5`` file.

    Raises:
        ModelError: The file is missing, damaged, or Keras alone wrote it.
    """
    path = _checked(path, *_ENDINGS)
    if not path.is_file():
        raise ModelError(f"{path}: expected a {' or '.join(_ENDINGS)} file; there is none")
    try:
        text = _read_member(path) if path.name.endswith(".keras") else _read_attribute(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: the file is truncated or damaged: {error}") from error
    if text is None:
        raise ModelError(
            f"{path}: expected a file with the schema of its attributes. Received: one that Keras "
            "alone wrote; write it with far_keras.models.keras_files"
        )
    try:
        return AttributeSchema.from_dict(json.loads(text), str(path))
    except (ValueError, SchemaError) as error:
        raise ModelError(f"{path}: the schema inside cannot be used: {error}") from error


def write_weights(
    model: keras.Model, path: Path, schema: AttributeSchema, *, half: bool = False
) -> None:
    """Writes weights and schema to a file ``….weights.h5`` in place.

    Args:
        model: The network.
        path: Ends in ``.weights.h5``.
        schema: What the network answers.
        half: Round the weights to float16, which halves the file. They are float32 again once
            they are read.

    Raises:
        ModelError: `half`, and a weight is beyond float16's range of 65504.
    """
    import h5py
    import keras

    # A model that was compiled would put its optimiser's state, twice its size, into the file.
    keras.Model(model.input, model.output).save_weights(path)
    if half:
        _round_to_half(path)
    with h5py.File(path, "a") as file:
        file.attrs[_ATTRIBUTE] = json.dumps(schema.to_dict())


def read_weights(model: keras.Model, path: Path) -> None:
    """Reads weights; a layer that the file lacks is an error."""
    with warnings.catch_warnings():
        # Keras only warns of layers that the file lacks, and leaves them at random.
        warnings.simplefilter("error", UserWarning)
        model.load_weights(path)


def _round_to_half(path: Path) -> None:
    """Writes an HDF5 file anew, with float16 for float32: HDF5 does not give up space."""
    import h5py

    rounded = path.with_name(path.name + ".half")

    def copy(source: Any, target: Any) -> None:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        for name, item in source.items():
            if isinstance(item, h5py.Group):
                copy(item, target.create_group(name))
                continue
            values = item[()]
            if values.dtype == np.float32:
                if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                    raise ModelError(
                        f"weights: {item.name} holds a value beyond float16's range; store the "
                        "model in float32"
                    )
                values = values.astype(np.float16)
            target.create_dataset(name, data=values)

    try:
        with h5py.File(path, "r") as source, h5py.File(rounded, "w") as target:
            copy(source, target)
        rounded.replace(path)
    finally:
        rounded.unlink(missing_ok=True)


def _read_member(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        return archive.read(_MEMBER).decode() if _MEMBER in archive.namelist() else None


def _read_attribute(path: Path) -> str | None:
    import h5py

    with h5py.File(path, "r") as file:
        value: Any = file.attrs.get(_ATTRIBUTE)
        return None if value is None else str(value)


def _compare(path: Path, schema: AttributeSchema | None) -> None:
    own = read_schema(path)
    if schema is not None and (difference := schema.difference(own)):
        raise ModelError(
            f"{path}: the model answers the schema {own.name!r}, not {schema.name!r}: {difference}"
        )


def _checked(path: str | Path, *endings: str) -> Path:
    path = Path(path)
    if not path.name.endswith(endings):
        raise ModelError(f"{path}: expected a name that ends in {' or '.join(endings)}")
    return path
