import grpc
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.tensors import decode_tensor, encode_tensor

DTYPES = "f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 ? f2".split()


@pytest.fixture(params=[*DTYPES, ml_dtypes.bfloat16])
def array(request):
    values = np.random.default_rng(0).normal(0, 60, (2, 3, 4))
    return np.abs(values).astype(request.param)


@pytest.mark.parametrize("as_content", [False, True])
def test_tensorflow_reads_what_is_written(array, as_content):
    read = tf.make_ndarray(encode_tensor(array, as_content=as_content))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("as_content", [False, True])
def test_what_is_written_is_read(array, as_content):
    np.testing.assert_array_equal(
        decode_tensor(encode_tensor(array, as_content=as_content), "x"), array
    )


def test_what_tensorflow_writes_is_read(array):
    np.testing.assert_array_equal(decode_tensor(tf.make_tensor_proto(array), "x"), array)


def test_floats_are_in_float_val_unless_asked_otherwise():
    assert list(encode_tensor(np.float32([1, 2])).float_val) == [1, 2]
    assert not encode_tensor(np.float32([1, 2]), as_content=True).float_val


def test_strings():
    array = np.array([[b"a", b""], [b"\xff\x00", b"long" * 1000]], object)
    proto = encode_tensor(array)
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    np.testing.assert_array_equal(decode_tensor(proto, "x"), array)


def test_an_empty_batch_is_read():
    proto = tf.make_tensor_proto(np.zeros((0, 3), np.float32))
    assert decode_tensor(proto, "x").shape == (0, 3)


@pytest.mark.parametrize(("given", "filled"), [([5, 6], [5, 6, 6, 6]), ([], [0, 0, 0, 0])])
def test_the_last_of_too_few_values_fills_the_rest_as_in_tensorflow(given, filled):
    proto = proto_of([4], int_val=given)
    np.testing.assert_array_equal(decode_tensor(proto, "x"), filled)
    if given:
        np.testing.assert_array_equal(tf.make_ndarray(proto), filled)


def proto_of(sizes, dtype=tf.int32, **fields):
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, **fields)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        proto_of([2**62, 2**62], int_val=[1]),
        proto_of([2**31], int_val=[1]),
        proto_of([2**31], tf.string, string_val=[b"x"]),
        proto_of([2**63 - 1], tensor_content=b"1234"),
        proto_of([2], tensor_content=b"1234"),
        proto_of([-1], tensor_content=b"1234"),
        proto_of([1] * 65, tensor_content=b"1234"),
        proto_of([1], int_val=[1, 2]),
        proto_of([1], tf.string, tensor_content=b"1234"),
        proto_of([1], tf.complex64, scomplex_val=[1, 2]),
        proto_of([1], tf.resource),
        tensor_pb2.TensorProto(dtype=99),
        tensor_pb2.TensorProto(),
    ],
)
def test_a_shape_that_lies_is_refused_without_memory_for_it(proto):
    with pytest.raises(RpcError) as refused:
        decode_tensor(proto, "x")
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.text.startswith("input 'x': expected ")
