"""Reads PyTorch checkpoints without PyTorch, and sets ResNeSt-50's weights from them."""

from __future__ import annotations

import hashlib
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np

from far_keras.errors import AssetError, ModelError
from far_keras.layers import SplitAttention

__all__ = [
    "OFFICIAL_SHA256_PREFIX",
    "load_resnest_weights",
    "read_state_dict",
    "reference_weights",
]

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
    """A tensor's place in its storage, noted down while unpickling."""

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


OFFICIAL_SHA256_PREFIX = "528c19ca"
"""How the sha256 of the authors' ``resnest50-528c19ca.pth`` begins; no more of it is published."""

_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def load_resnest_weights(
    backbone: keras.Model,
    path: str | Path,
    *,
    sha256_prefix: str | None = OFFICIAL_SHA256_PREFIX,
) -> None:
    """Sets the weights of a PyTorch checkpoint on a ResNeSt backbone, in place.

    The authors publish ``resnest50-528c19ca.pth`` (Apache-2.0) with the releases of
    ``zhanghang1989/ResNeSt``; it is not fetched here. PyTorch is not needed, and nothing in the
    file is run (`far_keras.models.torch_weights`). The checkpoint's classifier is left out.

    Args:
        backbone: A model that contains a `far_keras.models.resnest.ResNeStBackbone` by its layer
            names.
        path: The ``.pth`` file, in PyTorch's present or legacy format.
        sha256_prefix: How the file's sha256 must begin; None takes any file, such as one's own
            training of the reference implementation.

    Raises:
        AssetError: The file cannot be read, has another sha256, or lacks an entry.
        ModelError: `backbone` is no ResNeSt, or not of the checkpoint's size.
    """
    path = Path(path)
    if sha256_prefix is not None:
        _check_sha256(path, sha256_prefix)
    places = list(reference_weights(backbone))
    if not places:
        raise ModelError(
            "expected a ResNeSt backbone, such as resnest50(pixels). "
            f"Received: the model {backbone.name!r} without layers of one"
        )
    state = read_state_dict(path)
    left = {name for name in state if not name.endswith("num_batches_tracked")}
    values = []
    # All is checked before anything is set: a refused file leaves the backbone as it was.
    for name, shape, weight in places:
        if name not in state:
            raise AssetError(
                f"{path}: expected a checkpoint of ResNeSt with the entry {name!r} for "
                f"{weight.path!r}. Received: {len(state)} entries without it"
            )
        if state[name].shape != shape:
            raise ModelError(
                f"{path}: expected {name!r} of shape {shape} for {weight.path!r}. "
                f"Received: {state[name].shape}; the backbone is of another size"
            )
        values.append(_to_keras(state[name], tuple(weight.shape)))
        left.discard(name)
    if foreign := sorted(left - {"fc.weight", "fc.bias"}):
        raise ModelError(
            f"{path}: the checkpoint has {len(foreign)} entries that the backbone has no place "
            f"for, the first being {foreign[0]!r}; the backbone is of another size"
        )
    for (_, _, weight), value in zip(places, values, strict=True):
        weight.assign(value)


def reference_weights(
    backbone: keras.Model,
) -> Iterator[tuple[str, tuple[int, ...], keras.Variable]]:
    """Where each weight of the reference implementation belongs.

    Args:
        backbone: A model that contains a ResNeSt backbone by its layer names.

    Yields:
        The name in the reference's state dict, the shape there, and the backbone's variable.
    """
    for layer in backbone.layers:
        module = _module(layer.name)
        if module is None:
            continue
        if isinstance(layer, SplitAttention):
            yield f"{module}.conv.weight", _torch_shape(layer.kernel), layer.kernel
            yield from _norm(f"{module}.bn0", layer.splits_norm)
            yield from _dense(f"{module}.fc1", layer.hidden)
            yield from _norm(f"{module}.bn1", layer.hidden_norm)
            yield from _dense(f"{module}.fc2", layer.attention)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield from _norm(module, layer)
        elif isinstance(layer, keras.layers.Conv2D):
            yield f"{module}.weight", _torch_shape(layer.kernel), layer.kernel


def _module(name: str) -> str | None:
    """The reference's name of a layer's module; None if it has none with weights."""
    stem = {
        "stem1_conv": "conv1.0",
        "stem1_norm": "conv1.1",
        "stem2_conv": "conv1.3",
        "stem2_norm": "conv1.4",
        "stem3_conv": "conv1.6",
        "stem3_norm": "bn1",
    }
    if name in stem:
        return stem[name]
    stack, _, rest = name.removeprefix("stack").partition("_block")
    block, _, part = rest.partition("_")
    if not (name.startswith("stack") and stack.isdecimal() and block.isdecimal()):
        return None
    # Average pooling comes first in the shortcut, also where its stride is 1.
    parts = {
        "reduce_conv": "conv1",
        "reduce_norm": "bn1",
        "split_attention": "conv2",
        "expand_conv": "conv3",
        "expand_norm": "bn3",
        "shortcut_conv": "downsample.1",
        "shortcut_norm": "downsample.2",
    }
    return f"layer{stack}.{int(block) - 1}.{parts[part]}" if part in parts else None


def _norm(
    module: str, layer: keras.layers.BatchNormalization
) -> Iterator[tuple[str, tuple[int, ...], keras.Variable]]:
    for theirs, ours in _NORM.items():
        weight = getattr(layer, ours)
        yield f"{module}.{theirs}", tuple(weight.shape), weight


def _dense(
    module: str, layer: keras.layers.Dense
) -> Iterator[tuple[str, tuple[int, ...], keras.Variable]]:
    inputs, outputs = layer.kernel.shape
    yield f"{module}.weight", (outputs, inputs, 1, 1), layer.kernel
    yield f"{module}.bias", (outputs,), layer.bias


def _torch_shape(kernel: keras.Variable) -> tuple[int, ...]:
    height, width, inputs, outputs = kernel.shape
    return (outputs, inputs, height, width)


def _to_keras(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)
    return value.reshape(shape)  # dense layers are 1x1 convolutions in the reference


def _check_sha256(path: Path, prefix: str) -> None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AssetError(f"{path}: cannot read the checkpoint: {error}") from error
    if not digest.startswith(prefix):
        raise AssetError(
            f"{path}: expected the file whose sha256 begins with {prefix}. Received: {digest}. "
            "Download it again, or pass sha256_prefix=None to take a file of your own"
        )
