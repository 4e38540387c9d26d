"""`TensorProto` to array and back, without a Python loop over numbers and without trust.

A proto's shape is a claim: nothing is allocated before the content is known to fill it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from google.protobuf.internal.encoder import _VarintBytes as varint_bytes
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.python.framework import dtypes

from far_keras.serving.server.rpc_error import RpcError

__all__ = ["MAX_TENSOR_BYTES", "decode_tensor", "encode_tensor"]

# A shape that one repeated value fills may ask for no more than a whole message could hold.
MAX_TENSOR_BYTES = 64 * 1024 * 1024
_MAX_RANK = 64  # of NumPy's arrays

# Fields of `TensorProto` with typed values, and the dtypes that are stored in them.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_STRING: "string_val",
}
# Packed on the wire as the numbers themselves, so that bytes can be taken over as they are.
_PLAIN: dict[str, np.dtype] = {"float_val": np.dtype("<f4"), "double_val": np.dtype("<f8")}


def decode_tensor(proto: tensor_pb2.TensorProto, name: str) -> np.ndarray:
    """The array of a tensor in a request.

    Args:
        proto: With its content in ``tensor_content`` or in the field of its dtype. As in
            TensorFlow, the last of too few typed values fills the rest; none means zeros.
        name: Of the input, for errors.

    Raises:
        RpcError: INVALID_ARGUMENT: an unknown dtype, an impossible shape, or a content that does
            not fit the shape.
    """
    if proto.dtype not in _FIELDS:
        raise _refusal(name, f"expected numbers or strings. Received: dtype {_type_name(proto)}")
    shape = _shape(proto, name)
    count = math.prod(shape)
    if proto.dtype == types_pb2.DT_STRING:
        return _strings(proto, shape, count, name)
    dtype = dtypes.as_dtype(proto.dtype).as_numpy_dtype
    wanted = count * np.dtype(dtype).itemsize
    if proto.tensor_content:
        if len(proto.tensor_content) != wanted:
            raise _refusal(
                name,
                f"expected {wanted} bytes of content for shape {_short(shape)}. "
                f"Received: {len(proto.tensor_content)}",
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = _typed_values(proto, np.dtype(dtype))
    return _filled(values, count, wanted, name).reshape(shape)


def encode_tensor(array: np.ndarray, *, as_content: bool = False) -> tensor_pb2.TensorProto:
    """An array as it goes into an answer.

    Args:
        array: Numbers, booleans, or objects that are bytes.
        as_content: Numbers go into ``tensor_content``; by default into the typed field, such as
            ``float_val``, which is what TensorFlow Serving does.
    """
    strings = array.dtype.kind in "OSU"
    kind = types_pb2.DT_STRING if strings else dtypes.as_dtype(array.dtype).as_datatype_enum
    proto = tensor_pb2.TensorProto(dtype=kind)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if strings:
        proto.string_val.extend(
            value if isinstance(value, bytes) else str(value).encode() for value in array.flat
        )
    elif as_content:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    else:
        field = _FIELDS[kind]
        if field in _PLAIN:
            # On the wire a packed field is its key, its length in bytes, and the numbers.
            content = np.ascontiguousarray(array, _PLAIN[field]).tobytes()
            key = struct.pack("B", _number(field) << 3 | 2)
            proto.MergeFromString(key + varint_bytes(len(content)) + content)
        elif field == "half_val":
            proto.half_val.extend(array.reshape(-1).view(np.uint16).tolist())
        else:
            getattr(proto, field).extend(array.reshape(-1).tolist())
    return proto


def _shape(proto: tensor_pb2.TensorProto, name: str) -> tuple[int, ...]:
    if proto.tensor_shape.unknown_rank:
        raise _refusal(name, "expected a shape. Received: an unknown rank")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if len(shape) > _MAX_RANK or any(size < 0 for size in shape):
        raise _refusal(
            name,
            f"expected at most {_MAX_RANK} dimensions, none negative. Received: {_short(shape)}",
        )
    return shape


def _strings(
    proto: tensor_pb2.TensorProto, shape: tuple[int, ...], count: int, name: str
) -> np.ndarray:
    if proto.tensor_content:
        raise _refusal(name, "expected strings in string_val. Received: tensor_content")
    values = np.empty(len(proto.string_val), object)
    values[:] = proto.string_val
    return _filled(values, count, count * values.itemsize, name).reshape(shape)


def _filled(values: np.ndarray, count: int, size: int, name: str) -> np.ndarray:
    """`count` values that are `size` bytes, of which at most the first ones were given."""
    if len(values) == count:
        return values
    if len(values) > count or size > MAX_TENSOR_BYTES:
        raise _refusal(name, f"expected {count} values for its shape. Received: {len(values)}")
    full = np.empty(count, values.dtype)
    full[: len(values)] = values
    full[len(values) :] = values[-1] if len(values) else b"" if values.dtype == object else 0
    return full


def _typed_values(proto: tensor_pb2.TensorProto, dtype: np.dtype) -> np.ndarray:
    """The values of the dtype's field, flat."""
    field = _FIELDS[proto.dtype]
    values = getattr(proto, field)
    if field in _PLAIN:
        # A proto that holds this field alone is, on the wire, a short head and the numbers.
        alone = tensor_pb2.TensorProto()
        getattr(alone, field).MergeFrom(values)
        raw = alone.SerializeToString()
        size = len(values) * _PLAIN[field].itemsize
        return np.frombuffer(raw, _PLAIN[field], offset=len(raw) - size)
    if field == "half_val":
        return np.fromiter(values, np.int64, len(values)).astype(np.uint16).view(dtype)
    kind = np.uint64 if field == "uint64_val" else np.int64
    return np.fromiter(values, kind, len(values)).astype(dtype)


def _number(field: str) -> int:
    return tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[field].number


def _type_name(proto: tensor_pb2.TensorProto) -> str:
    try:
        return types_pb2.DataType.Name(proto.dtype)
    except ValueError:
        return str(proto.dtype)


def _short(shape: Sequence[Any]) -> str:
    return f"{tuple(shape)}" if len(shape) <= 8 else f"{len(shape)} dimensions"


def _refusal(name: str, text: str) -> RpcError:
    return RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"input {name[:80]!r}: {text}")
