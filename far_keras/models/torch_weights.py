"""Reads the tensors of a PyTorch checkpoint without PyTorch and without running its code."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from far_keras.errors import AssetError

__all__ = ["read_state_dict"]

# The legacy format, which torch.save wrote before version 1.6: five pickles (magic, protocol,
# system information, the object, the storages' keys), then each storage as its length and its raw
# bytes. The present format is a zip archive without compression: "<root>/data.pkl" is the object,
# "<root>/data/<key>" a storage, "<root>/byteorder" in later versions the byte order.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "u1",
}


class _Tensor:
    """A tensor's place in its storage, recorded during unpickling."""

    def __init__(
        self,
        storage: tuple[str, str],
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> None:
        self.key, self.dtype = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows ordered dictionaries, tensors and storages; anything else in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype not in _STORAGE_DTYPES.values():
            raise pickle.UnpicklingError(f"it has an unknown persistent object {kind!r}")
        return str(key), dtype


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a flat state dict in PyTorch's present (zip) or legacy format.

    Only dictionaries, tensors and their storages are unpickled; a file that asks for anything else
    is refused before anything of it runs. Strides are honoured: checkpoints that were converted
    from TensorFlow keep their convolutions transposed in memory.

    Args:
        path: The ``.pth`` file.

    Returns:
        Contiguous arrays by name, in the file's order.

    Raises:
        AssetError: The file is missing, truncated, of another format, or holds foreign objects.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            # The legacy format begins with a pickle; a zip archive may only be looked for by its
            # first bytes, since its end could also stand at the end of a storage.
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_zip(file) if zipped else _read_legacy(file)
    except OSError as error:
        raise AssetError(f"{path}: cannot read the checkpoint: {error}") from error
    # A damaged pickle can fail in almost any way inside the unpickler.
    except Exception as error:
        raise AssetError(
            f"{path}: expected a flat state dict in PyTorch's zip or legacy format. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        # Stored as they are, members cannot be larger than the file.
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("a compressed archive")
        roots = [name.split("/", 1)[0] for name in archive.namelist() if _is_object(name)]
        if len(roots) != 1:
            raise ValueError(f"an archive with {len(roots)} entries <root>/data.pkl")
        (root,) = roots
        order = f"{root}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("another byte order")
        with archive.open(f"{root}/data.pkl") as pickled:
            tensors = _load_tensors(pickled)
        dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
        storages = {
            key: np.frombuffer(archive.read(f"{root}/data/{key}"), dtype)
            for key, dtype in dtypes.items()
        }
    return {name: _view(tensor, storages[tensor.key]) for name, tensor in tensors.items()}


def _is_object(name: str) -> bool:
    return name.count("/") == 1 and name.endswith("/data.pkl")


def _load_tensors(file: Any) -> dict[str, _Tensor]:
    tensors = _RestrictedUnpickler(file).load()
    if not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ValueError("entries that are not tensors")
    return tensors


def _read_legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    magic, protocol, system = (_RestrictedUnpickler(file).load() for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL or not system.get("little_endian"):
        raise ValueError("another magic number, protocol or byte order")
    tensors = _load_tensors(file)
    dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
    storages = {}
    for key in _RestrictedUnpickler(file).load():
        dtype = np.dtype(dtypes[key])
        count = int.from_bytes(_take(file, 8), "little")
        storages[key] = np.frombuffer(_take(file, count * dtype.itemsize), dtype)
    return {name: _view(tensor, storages[tensor.key]) for name, tensor in tensors.items()}


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"the file ends {size - len(data)} bytes too early")
    return data


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    extent = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
    if min(tensor.strides, default=0) < 0 or tensor.offset < 0:
        raise ValueError("a tensor with negative strides or offset")
    if 0 not in tensor.shape and tensor.offset + extent >= len(storage):
        raise ValueError("a tensor that reaches beyond its storage")
    # A stride of 0 would let a small file ask for all the memory.
    if math.prod(tensor.shape) > len(storage):
        raise ValueError("a tensor that is larger than its storage")
    strides = [step * storage.itemsize for step in tensor.strides]
    window = storage[tensor.offset :]
    return np.lib.stride_tricks.as_strided(window, tensor.shape, strides).copy()
