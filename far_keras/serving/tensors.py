"""NumPy arrays to tensor messages and back, in every encoding that servers use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from far_keras.errors import RequestError, ResponseError
from far_keras.serving.messages import tensor_pb2
from far_keras.serving.messages.tensor_pb2 import Tensor

__all__ = ["dtype_name", "to_array", "to_tensor"]

_DTYPES: dict[int, np.dtype] = {
    tensor_pb2.DT_FLOAT: np.dtype("<f4"),
    tensor_pb2.DT_DOUBLE: np.dtype("<f8"),
    tensor_pb2.DT_HALF: np.dtype("<f2"),
    tensor_pb2.DT_INT8: np.dtype("i1"),
    tensor_pb2.DT_INT16: np.dtype("<i2"),
    tensor_pb2.DT_INT32: np.dtype("<i4"),
    tensor_pb2.DT_INT64: np.dtype("<i8"),
    tensor_pb2.DT_UINT8: np.dtype("u1"),
    tensor_pb2.DT_UINT16: np.dtype("<u2"),
    tensor_pb2.DT_UINT32: np.dtype("<u4"),
    tensor_pb2.DT_UINT64: np.dtype("<u8"),
    tensor_pb2.DT_BOOL: np.dtype("?"),
    tensor_pb2.DT_COMPLEX64: np.dtype("<c8"),
    tensor_pb2.DT_COMPLEX128: np.dtype("<c16"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}

# The repeated field of each type where the elements are not in tensor_content.
_FIELDS = {
    tensor_pb2.DT_FLOAT: "float_val",
    tensor_pb2.DT_DOUBLE: "double_val",
    tensor_pb2.DT_HALF: "half_val",
    tensor_pb2.DT_BFLOAT16: "half_val",
    tensor_pb2.DT_INT64: "int64_val",
    tensor_pb2.DT_UINT32: "uint32_val",
    tensor_pb2.DT_UINT64: "uint64_val",
    tensor_pb2.DT_BOOL: "bool_val",
    tensor_pb2.DT_COMPLEX64: "scomplex_val",
    tensor_pb2.DT_COMPLEX128: "dcomplex_val",
}
_OTHERS_FIELD = "int_val"  # 8-, 16- and 32-bit integers

_WIDE = {"int_val": np.int32, "half_val": np.int32}
_FIXED_WIDTH = {
    "float_val": "<f4",
    "double_val": "<f8",
    "scomplex_val": "<f4",
    "dcomplex_val": "<f8",
}


def to_tensor(value: Any) -> Tensor:
    """A message from an array.

    Args:
        value: An array or what `numpy.asarray` takes: numbers, booleans, bytes or text (as UTF-8).
            Native and foreign byte orders are both understood.

    Raises:
        RequestError: The dtype has no counterpart, such as times or mixed objects.

    Example:
        >>> to_tensor(np.zeros((2, 3), np.float32)).tensor_shape.dim[1].size
        3
    """
    array = value if isinstance(value, np.ndarray) else _as_array(value)
    tensor = Tensor()
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype.kind in "OSU":
        tensor.dtype = tensor_pb2.DT_STRING
        tensor.string_val.extend(_as_bytes(element) for element in array.ravel().tolist())
        return tensor
    little = array.dtype.newbyteorder("<")
    if little not in _CODES:
        raise RequestError(
            "inputs: expected an array of numbers, booleans, bytes or text. "
            f"Received: dtype {array.dtype}"
        )
    tensor.dtype = _CODES[little]  # type: ignore[assignment]
    tensor.tensor_content = array.astype(little, copy=False).tobytes()
    return tensor


def to_array(tensor: Tensor) -> np.ndarray:
    """An array from a message, whichever of its encodings the server chose.

    Args:
        tensor: Elements in ``tensor_content`` or in the repeated field of the type. As in
            TensorFlow, a field with fewer elements than the shape asks for repeats its last one.

    Returns:
        An array of the message's shape. bfloat16 becomes float32; text becomes ``object`` with
        `bytes`. Arrays may be read-only views of the message's bytes.

    Raises:
        ResponseError: The shape is not fully known, the elements do not fit it, or the type is
            none of numbers, booleans and text.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ResponseError(f"expected a tensor of known shape. Received: {shape}")
    count = math.prod(shape)
    if tensor.dtype == tensor_pb2.DT_STRING:
        return _strings(tensor, shape, count)
    if tensor.dtype != tensor_pb2.DT_BFLOAT16 and tensor.dtype not in _DTYPES:
        raise ResponseError(
            f"expected a tensor of numbers, booleans or text. Received: {dtype_name(tensor.dtype)}"
        )
    bfloat = tensor.dtype == tensor_pb2.DT_BFLOAT16
    dtype = np.dtype("<u2") if bfloat else _DTYPES[tensor.dtype]
    if tensor.tensor_content:
        content = tensor.tensor_content
        if len(content) != count * dtype.itemsize:
            raise ResponseError(
                f"expected {count * dtype.itemsize:,} bytes for a tensor of shape {shape} and "
                f"type {dtype_name(tensor.dtype)}. Received: {len(content):,}"
            )
        array = np.frombuffer(content, dtype)
    else:
        array = _fill(_elements(tensor, dtype), shape, count)
    array = array.reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if bfloat else array


def dtype_name(code: int) -> str:
    """What a message's type is called: ``"uint8"``; ``"type 99"`` if unknown."""
    try:
        return tensor_pb2.DataType.Name(code).removeprefix("DT_").lower()
    except ValueError:
        return f"type {code}"


def _elements(tensor: Tensor, dtype: np.dtype) -> np.ndarray:
    """What the repeated field of the tensor's type holds, (n,)."""
    name = _FIELDS.get(tensor.dtype, _OTHERS_FIELD)
    if name in _FIXED_WIDTH:
        flat = _packed(tensor, name, np.dtype(_FIXED_WIDTH[name]))
        return flat[: len(flat) // 2 * 2].view(dtype) if dtype.kind == "c" else flat
    # np.array takes the whole field at once where protobuf lets it, from protobuf 7 on.
    values = np.array(getattr(tensor, name), np.dtype(_WIDE.get(name, dtype)))
    if name == "half_val":
        return values.astype("<u2").view(dtype)
    narrow = values.astype(dtype)
    if not np.array_equal(narrow, values):
        raise ResponseError(
            f"expected elements of type {dtype_name(tensor.dtype)}. "
            f"Received: {values.min()} to {values.max()} in {name}"
        )
    return narrow


def _packed(tensor: Tensor, name: str, dtype: np.dtype) -> np.ndarray:
    """The elements of a field of fixed-width numbers, without an object for each.

    protobuf 6 hands out repeated fields element by element, as Python objects, and copies them no
    faster. But writes the message again at once, with the elements in one run of bytes.
    """
    content, position = tensor.SerializeToString(), 0
    wanted = Tensor.DESCRIPTOR.fields_by_name[name].number
    while position < len(content):
        tag, position = _varint(content, position)
        wire_type = tag & 7
        if wire_type == 2:
            length, position = _varint(content, position)
            if tag >> 3 == wanted:
                return np.frombuffer(content, dtype, length // dtype.itemsize, position)
            position += length
        elif wire_type == 0:
            _, position = _varint(content, position)
        elif wire_type in _WIDTHS:
            position += _WIDTHS[wire_type]
        else:  # a group, among unknown fields
            return np.array(getattr(tensor, name), dtype)
    return np.empty(0, dtype)


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, 7 bits a byte from the lowest on, and where it ends."""
    value = shift = 0
    while True:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _fill(values: np.ndarray, shape: tuple[int, ...], count: int) -> np.ndarray:
    if len(values) == count:
        return values
    if len(values) > count or (count > 0 and not len(values)):
        raise ResponseError(
            f"expected {count:,} elements for a tensor of shape {shape}. Received: {len(values):,}"
        )
    if count > _MOST_REPEATED:
        raise ResponseError(
            f"expected a tensor of at most {_MOST_REPEATED:,} elements. Received: shape {shape}"
        )
    return np.concatenate([values, np.repeat(values[-1:], count - len(values))])


_WIDTHS = {1: 8, 5: 4}  # bytes by wire type

# What a few bytes may blow up to by repeating their last element.
_MOST_REPEATED = 1 << 28


def _strings(tensor: Tensor, shape: tuple[int, ...], count: int) -> np.ndarray:
    values = np.empty(len(tensor.string_val), object)
    values[:] = list(tensor.string_val)
    return _fill(values, shape, count).reshape(shape)


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
    raise RequestError(
        "inputs: expected bytes or text in an array of objects. "
        f"Received: an object of type {type(element).__name__}"
    )
