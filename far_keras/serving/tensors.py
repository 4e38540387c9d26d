"""The codec between NumPy arrays and `TensorProto` messages, for client and server.

- ``decode_tensor(tensor, empty_is_zeros=False)`` returns an array, or raises `TensorError` for
  every message that contradicts itself. It trusts nothing: a shape is checked before memory is
  allocated for it.
- ``encode_tensor(value, tensor, typed=False)`` writes an array into a message in place.
- ``dtype_name(code)`` names a type for messages.

Messages are the client's own (`far_keras.serving.messages`) or TensorFlow's: both have the same
fields. The server passes ``empty_is_zeros=True`` and ``typed=True``, as TensorFlow Serving does,
and turns `TensorError` into INVALID_ARGUMENT.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from far_keras.serving.messages.serving_pb2 import DataType

__all__ = ["MAX_FILLED_BYTES", "TensorError", "decode_tensor", "dtype_name", "encode_tensor"]

MAX_FILLED_BYTES = 64 << 20
"""A shape that a repeated element fills may need no more memory than a whole message."""

_MAX_RANK = 64  # of NumPy's arrays

# By type: the dtype of arrays, and the message's field for elements outside tensor_content.
_NUMBERS: dict[int, tuple[np.dtype, str]] = {
    DataType.Value(f"DT_{name}"): (np.dtype(dtype), field)
    for name, dtype, field in (
        ("FLOAT", "<f4", "float_val"),
        ("DOUBLE", "<f8", "double_val"),
        ("HALF", "<f2", "half_val"),
        ("BFLOAT16", "<u2", "half_val"),  # converted to and from the bits of float32
        ("INT8", "i1", "int_val"),
        ("INT16", "<i2", "int_val"),
        ("INT32", "<i4", "int_val"),
        ("INT64", "<i8", "int64_val"),
        ("UINT8", "u1", "int_val"),
        ("UINT16", "<u2", "int_val"),
        ("UINT32", "<u4", "uint32_val"),
        ("UINT64", "<u8", "uint64_val"),
        ("BOOL", "?", "bool_val"),
        ("COMPLEX64", "<c8", "scomplex_val"),
        ("COMPLEX128", "<c16", "dcomplex_val"),
    )
}
_STRING, _BFLOAT16 = DataType.Value("DT_STRING"), DataType.Value("DT_BFLOAT16")
_CODES = {dtype: code for code, (dtype, _) in _NUMBERS.items() if code != _BFLOAT16}

# On the wire, these fields are the bytes of the numbers themselves.
_PACKED = {"float_val": "<f4", "double_val": "<f8", "scomplex_val": "<f4", "dcomplex_val": "<f8"}
_WIDE = {"int_val": np.int32, "half_val": np.int32}


class TensorError(ValueError):
    """A message that contradicts itself, or a value that no message can hold."""


def encode_tensor(value: Any, tensor: Any, *, typed: bool = False) -> None:
    """Writes an array into a message.

    Args:
        value: An array or what `numpy.asarray` takes: numbers, booleans, bytes or text (as UTF-8).
            Native and foreign byte orders are both understood, and ml_dtypes' bfloat16.
        tensor: An empty message, which is filled.
        typed: Whether numbers go into the field of their type, such as ``float_val``, instead of
            ``tensor_content``.

    Raises:
        TensorError: The dtype has no counterpart, such as times or mixed objects.

    Example:
        >>> from far_keras.serving.messages.serving_pb2 import Tensor
        >>> tensor = Tensor()
        >>> encode_tensor(np.zeros((2, 3), np.float32), tensor)
        >>> tensor.tensor_shape.dim[1].size
        3
    """
    array = value if isinstance(value, np.ndarray) else _as_array(value)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype.kind in "OSU":
        tensor.dtype = _STRING
        tensor.string_val.extend(_as_bytes(element) for element in array.ravel().tolist())
        return
    bfloat = array.dtype.name == "bfloat16"
    little = np.dtype("<u2") if bfloat else array.dtype.newbyteorder("<")
    if not bfloat and little not in _CODES:
        raise TensorError(
            f"expected an array of numbers, booleans, bytes or text. Received: dtype {array.dtype}"
        )
    tensor.dtype = _BFLOAT16 if bfloat else _CODES[little]
    array = np.ascontiguousarray(array)
    array = array.view(little) if bfloat else array.astype(little, copy=False)
    if not typed:
        tensor.tensor_content = array.tobytes()
        return
    field = _NUMBERS[tensor.dtype][1]
    if field in _PACKED:
        if array.size:
            tensor.MergeFromString(_field_header(tensor, field, array.nbytes) + array.tobytes())
    else:
        flat = array.reshape(-1)
        getattr(tensor, field).extend((flat.view("<u2") if field == "half_val" else flat).tolist())


def decode_tensor(tensor: Any, *, empty_is_zeros: bool = False) -> np.ndarray:
    """The array of a message, whichever of its encodings the sender chose.

    Args:
        tensor: Elements in ``tensor_content`` or in the field of the type. As in TensorFlow, the
            last of too few elements fills the rest.
        empty_is_zeros: Whether no elements at all stand for zeros (or empty text), as they do in
            TensorFlow, or are an error.

    Returns:
        An array of the message's shape. bfloat16 becomes float32; text becomes ``object`` with
        `bytes`. Arrays may be read-only views of the message's bytes.

    Raises:
        TensorError: The shape is not fully known or impossible, the elements do not fit it, or the
            type is none of numbers, booleans and text.
    """
    code = tensor.dtype
    if code != _STRING and code not in _NUMBERS:
        raise TensorError(
            f"expected a tensor of numbers, booleans or text. Received: {dtype_name(code)}"
        )
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise TensorError(f"expected a tensor of known shape. Received: {_short(shape)}")
    if len(shape) > _MAX_RANK:
        raise TensorError(f"expected at most {_MAX_RANK} dimensions. Received: {len(shape)}")
    count = math.prod(shape)
    if code == _STRING:
        if tensor.tensor_content:
            raise TensorError("expected text in string_val. Received: tensor_content")
        values = np.empty(len(tensor.string_val), object)
        values[:] = list(tensor.string_val)
        return _fill(values, shape, count, empty_is_zeros).reshape(shape)
    dtype = _NUMBERS[code][0]
    if tensor.tensor_content:
        received, expected = len(tensor.tensor_content), count * dtype.itemsize
        if received != expected:
            raise TensorError(
                f"expected {expected:,} bytes for a tensor of shape {_short(shape)} and type "
                f"{dtype_name(code)}. Received: {received:,}"
            )
        array = np.frombuffer(tensor.tensor_content, dtype)
    else:
        array = _fill(_typed_elements(tensor, dtype), shape, count, empty_is_zeros)
    array = array.reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if code == _BFLOAT16 else array


def dtype_name(code: int) -> str:
    """The name of a message's type: ``"uint8"``; ``"type 99"`` if unknown."""
    try:
        return DataType.Name(code).removeprefix("DT_").lower()
    except ValueError:
        return f"type {code}"


def _typed_elements(tensor: Any, dtype: np.dtype) -> np.ndarray:
    """The elements in the field of the tensor's type, (n,)."""
    field = _NUMBERS[tensor.dtype][1]
    repeated = getattr(tensor, field)
    if field in _PACKED:
        flat = _packed_elements(tensor, field, len(repeated))
        return flat[: len(flat) // 2 * 2].view(dtype) if dtype.kind == "c" else flat
    # np.array takes the whole field at once where protobuf lets it, from protobuf 7 on.
    values = np.array(repeated, np.dtype(_WIDE.get(field, dtype)))
    if field == "half_val":
        return values.astype("<u2").view(dtype)
    narrow = values.astype(dtype)
    if not np.array_equal(narrow, values):
        raise TensorError(
            f"expected elements of type {dtype_name(tensor.dtype)}. "
            f"Received: {values.min()} to {values.max()} in {field}"
        )
    return narrow


def _packed_elements(tensor: Any, field: str, count: int) -> np.ndarray:
    """The elements of a field of fixed-width numbers, without a Python object for each.

    protobuf 6 returns repeated fields element by element, and copies them no faster. But it writes
    a message at once, and there the elements are the last bytes unless other fields follow.
    """
    dtype, content = np.dtype(_PACKED[field]), tensor.SerializeToString()
    size = count * dtype.itemsize
    if count and content.endswith(_field_header(tensor, field, size), 0, len(content) - size):
        return np.frombuffer(content, dtype, count, len(content) - size)
    return np.array(getattr(tensor, field), dtype)


def _field_header(tensor: Any, field: str, length: int) -> bytes:
    """What stands before the bytes of a field on the wire: its number and its length."""
    header = [tensor.DESCRIPTOR.fields_by_name[field].number << 3 | 2]
    while length >= 0x80:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*header, length])


def _fill(
    values: np.ndarray, shape: tuple[int, ...], count: int, empty_is_zeros: bool
) -> np.ndarray:
    """All `count` elements, of which at least the first ones are given."""
    if len(values) == count:
        return values
    if len(values) > count or not (len(values) or empty_is_zeros):
        raise TensorError(
            f"expected {count:,} elements for a tensor of shape {_short(shape)}. "
            f"Received: {len(values):,}"
        )
    if count * values.itemsize > MAX_FILLED_BYTES:
        raise TensorError(
            f"expected a tensor of at most {MAX_FILLED_BYTES:,} bytes where its elements are "
            f"repeated. Received: shape {_short(shape)}"
        )
    filled = np.empty(count, values.dtype)
    filled[: len(values)] = values
    filled[len(values) :] = values[-1] if len(values) else b"" if values.dtype == object else 0
    return filled


def _short(shape: tuple[int, ...]) -> str:
    return f"{shape}" if len(shape) <= 8 else f"{len(shape)} dimensions"


def _as_array(value: Any) -> np.ndarray:
    # Long lists of images' bytes would first be made into one array of fixed width.
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return np.array(value, object)
    array = np.asarray(value)
    # NumPy's own text would lose zero bytes at the end, which images may have.
    return np.array(value, object) if array.dtype.kind in "SU" else array


def _as_bytes(element: Any) -> bytes:
    if isinstance(element, bytes):
        return element
    if isinstance(element, str):
        return element.encode()
    raise TensorError(
        "expected bytes or text in an array of objects. "
        f"Received: an object of type {type(element).__name__}"
    )
