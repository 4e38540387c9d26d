import time

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2 as theirs

from far_keras.serving.messages import serving_pb2 as ours
from far_keras.serving.tensors import TensorError, decode_tensor, dtype_name, encode_tensor

DTYPES = "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128".split()  # noqa: E501
FIELD = {
    "float16": "half_val", "float32": "float_val", "float64": "double_val", "int64": "int64_val",
    "uint32": "uint32_val", "uint64": "uint64_val", "bool": "bool_val",
    "complex64": "scomplex_val", "complex128": "dcomplex_val",
}  # fmt: skip
SHAPES = [(), (1,), (0,), (2, 0, 3), (3, 4), (2, 3, 4, 5)]


def values(dtype, shape):
    """Numbers that reach both ends of the type's range."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    random = np.random.default_rng(7)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        flat = random.integers(info.min, info.max, count, dtype, endpoint=True)
        flat[:2] = [info.min, info.max][: len(flat)]
    elif dtype.kind == "b":
        flat = random.integers(0, 2, count).astype(bool)
    else:
        flat = random.normal(0, 100, count).astype(dtype)
        if dtype.kind == "c":
            flat = flat + (1j * random.normal(size=count)).astype(dtype)
        flat[:1] = np.inf
    return flat.reshape(shape)


def with_field(array):
    """Their message with every element in the repeated field of its type."""
    tensor = theirs.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    tensor.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    flat = array.ravel()
    if array.dtype == np.float16 or array.dtype == ml_dtypes.bfloat16:
        flat = flat.view(np.uint16)
    elif array.dtype.kind == "c":
        flat = flat.view(flat.real.dtype)
    field = "half_val" if array.dtype == ml_dtypes.bfloat16 else FIELD.get(str(array.dtype))
    getattr(tensor, field or "int_val").extend(flat.tolist())
    return tensor


def encode(array, kind=ours.Tensor, typed=False):
    tensor = kind()
    encode_tensor(array, tensor, typed=typed)
    return tensor


def as_ours(tensor):
    return ours.Tensor.FromString(tensor.SerializeToString())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_encoding_is_read(dtype, shape):
    array = values(dtype, shape)
    for message in (with_field(array), tf.make_tensor_proto(array)):
        read = decode_tensor(as_ours(message))
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
        np.testing.assert_array_equal(read, tf.make_ndarray(message))


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_every_type_is_written(dtype, shape, typed):
    if dtype == "bfloat16":
        dtype, array = ml_dtypes.bfloat16, values("float32", shape).astype(ml_dtypes.bfloat16)
    else:
        array = values(dtype, shape)
    message = encode(array, theirs.TensorProto, typed)
    assert bool(message.tensor_content) == (array.size > 0 and not typed)
    for sent in (message, encode(array, ours.Tensor, typed)):
        read = tf.make_ndarray(theirs.TensorProto.FromString(sent.SerializeToString()))
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
        np.testing.assert_array_equal(decode_tensor(sent), array)


@pytest.mark.parametrize(
    "array", [[b"a\0\0", b""], ["ä", "b"], b"one\0", "text", [[b"1"], [b"2\0"]]]
)
def test_text_both_ways(array):
    tensor = encode(array)
    message = theirs.TensorProto.FromString(tensor.SerializeToString())
    expected = tf.make_ndarray(tf.make_tensor_proto(array))
    assert tf.make_ndarray(message).tolist() == expected.tolist()
    assert decode_tensor(as_ours(message)).tolist() == expected.tolist()
    assert decode_tensor(tensor).shape == expected.shape


def test_bfloat16_becomes_float32():
    array = np.array([[1.5, -2.0, np.inf]], ml_dtypes.bfloat16)
    content = tf.make_tensor_proto(array)
    for message in (content, with_field(array)):
        read = decode_tensor(as_ours(message))
        assert read.dtype == np.float32
        assert read.tolist() == [[1.5, -2.0, np.inf]]


@pytest.mark.parametrize("dtype", [d for d in DTYPES if not d.startswith("complex")])
def test_the_last_element_is_repeated_as_tensorflow_does(dtype):
    array = values(dtype, (3,))
    message = with_field(array)
    message.tensor_shape.CopyFrom(tf.TensorShape((2, 3)).as_proto())
    read = decode_tensor(as_ours(message))
    np.testing.assert_array_equal(read, tf.make_ndarray(message))
    assert read[1, 2] == array[2]


def test_other_layouts_of_arrays():
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    for array in (base.T, base[::2, ::-1], base.astype(">f4"), np.asfortranarray(base)):
        message = theirs.TensorProto.FromString(encode(array).SerializeToString())
        np.testing.assert_array_equal(tf.make_ndarray(message), array)


def test_no_elements_stand_for_zeros_only_where_tensorflows_rule_is_wanted():
    message = ours.Tensor(dtype=3, tensor_shape={"dim": [{"size": 2}]})
    assert decode_tensor(message, empty_is_zeros=True).tolist() == [0, 0]
    message.dtype = ours.DT_STRING
    assert decode_tensor(message, empty_is_zeros=True).tolist() == [b"", b""]
    with pytest.raises(TensorError, match="expected 2 elements"):
        decode_tensor(message)


def test_fields_are_read_packed_or_not():
    shape = b"\x12\x04\x12\x02\x08\x02"  # (2,)
    one, two = np.float32(1).tobytes(), np.float32(2).tobytes()
    packed = b"\x08\x01" + shape + b"\x2a\x08" + one + two
    unpacked = b"\x08\x01" + shape + b"\x2d" + one + b"\x2d" + two
    mixed = b"\x08\x01" + b"\x2d" + one + shape + b"\x2a\x04" + two
    for content in (packed, unpacked, mixed):
        assert decode_tensor(ours.Tensor.FromString(content)).tolist() == [1, 2]
    integers = b"\x08\x03" + shape + b"\x38\x05" + b"\x38\x06"  # int_val, element by element
    assert decode_tensor(ours.Tensor.FromString(integers)).tolist() == [5, 6]


@pytest.mark.parametrize(
    "unknown",
    [
        b"\x9a\x06\x03abc",  # field 99: three bytes
        b"\x98\x06\x07",  # a varint
        b"\x9d\x06\0\0\0\0",  # four bytes
        b"\x99\x06\0\0\0\0\0\0\0\0",  # eight
        b"\x9b\x06\x08\x01\x9c\x06",  # a group
    ],
)
def test_unknown_fields_do_no_harm_and_are_kept(unknown):
    message = theirs.TensorProto(dtype=1, float_val=[1, 2], int_val=[3])
    message.tensor_shape.dim.add(size=2)
    for content in (unknown + message.SerializeToString(), message.SerializeToString() + unknown):
        tensor = ours.Tensor.FromString(content)
        assert decode_tensor(tensor).tolist() == [1, 2]
        assert unknown in tensor.SerializeToString()


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (ours.Tensor(dtype=1, tensor_content=b"12345678", tensor_shape={"dim": [{"size": 3}]}),
         r"expected 12 bytes for a tensor of shape \(3,\) and type float. Received: 8"),
        (ours.Tensor(dtype=1, float_val=[1, 2, 3], tensor_shape={"dim": [{"size": 2}]}),
         "expected 2 elements"),
        (ours.Tensor(dtype=1, tensor_shape={"dim": [{"size": 2}]}), "Received: 0"),
        (ours.Tensor(dtype=1, float_val=[1], tensor_shape={"dim": [{"size": 1 << 40}]}), "at most"),
        (ours.Tensor(dtype=3, int_val=[1], tensor_shape={"dim": [{"size": 1 << 62}] * 2}),
         "at most"),
        (ours.Tensor(dtype=7, string_val=[b"x"], tensor_shape={"dim": [{"size": 1 << 31}]}),
         "at most"),
        (ours.Tensor(dtype=3, tensor_content=b"1234", tensor_shape={"dim": [{"size": 1}] * 65}),
         "at most 64 dimensions. Received: 65"),
        (ours.Tensor(dtype=3, tensor_content=b"1234", tensor_shape={"dim": [{"size": 2**63 - 1}]}),
         "Received: 4"),
        (ours.Tensor(dtype=7, tensor_content=b"1234", tensor_shape={"dim": [{"size": 1}]}),
         "string_val"),
        (ours.Tensor(dtype=1, float_val=[1], tensor_shape={"dim": [{"size": -1}]}), "known shape"),
        (ours.Tensor(dtype=1, tensor_shape={"unknown_rank": True}), "known shape"),
        (ours.Tensor(dtype=4, int_val=[300], tensor_shape={}), "type uint8. Received: 300 to 300"),
        (ours.Tensor(dtype=20), "Received: resource"),
        (ours.Tensor(dtype=0), "Received: invalid"),
        (ours.Tensor(dtype=999), "Received: type 999"),
        (ours.Tensor(dtype=7, string_val=[b"a"] * 3), "expected 1 elements"),
    ],
)  # fmt: skip
def test_a_message_that_contradicts_itself(tensor, reason):
    """Refused, and without memory for the shape that it claims."""
    for empty_is_zeros in (False, True):
        if empty_is_zeros and reason == "Received: 0":
            continue
        with pytest.raises(TensorError, match=reason):
            decode_tensor(tensor, empty_is_zeros=empty_is_zeros)


@pytest.mark.parametrize(
    "value", [np.array(["2026-01-01"], "M8[D]"), [b"a", 3.5], [3.5, b"a"], [None], object()]
)
def test_what_has_no_counterpart(value):
    with pytest.raises(TensorError, match="Received"):
        encode(value)


def test_type_names():
    assert [dtype_name(code) for code in (1, 4, 7, 99)] == ["float", "uint8", "string", "type 99"]
    assert all(
        tf.as_dtype(dtype).as_datatype_enum == ours.DataType.Value("DT_" + name)
        for dtype, name in ((tf.float32, "FLOAT"), (tf.uint8, "UINT8"), (tf.string, "STRING"))
    )


def test_masks_of_full_size_are_decoded_fast_from_either_encoding():
    masks = np.random.default_rng(0).random((1, 227, 227, 8), np.float32)  # 1.6 MB
    tensors = [encode(masks), as_ours(with_field(masks))]

    def fastest(function):
        times = []
        for _ in range(7):
            begin = time.perf_counter()
            function()
            times.append(time.perf_counter() - begin)
        return min(times)

    content, field = (fastest(lambda tensor=tensor: decode_tensor(tensor)) for tensor in tensors)
    by_element = fastest(lambda: list(tensors[1].float_val))
    assert content < by_element / 4
    assert field < by_element / 4
