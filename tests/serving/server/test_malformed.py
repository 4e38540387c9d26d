"""The requests of benchmarks/serving_reliability.py, a few of each kind."""

import collections
import sys
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
COUNT = 400  # 24 or 25 of each of 16 kinds, and one of 100 MB
SIZE = 16


@pytest.fixture(scope="module")
def benchmarks():
    """Modules of the benchmarks, which are outside the package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import malformed_requests
        import serving_reliability
    finally:
        sys.path.remove(str(BENCHMARKS))
    return SimpleNamespace(
        malformed_requests=malformed_requests.malformed_requests,
        Malformed=malformed_requests.Malformed,
        send=serving_reliability.send_malformed,
        options=serving_reliability.OPTIONS,
    )


@pytest.fixture(scope="module")
def channel(small_faces, serve, benchmarks):
    with (
        serve(models=small_faces, poll_seconds=0) as (server, _),
        grpc.insecure_channel(server.address, benchmarks.options) as channel,
    ):
        yield channel


def right_request():
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "faces", "serve_uint8"
    images = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    return request


def test_every_malformed_request_gets_its_status(channel, benchmarks):
    codes, methods = collections.Counter(), collections.Counter()
    for request in benchmarks.malformed_requests("faces", SIZE, COUNT, seed=1):
        code, problem = benchmarks.send(channel, request)
        assert not problem
        codes[code] += 1
        methods[request.method.rpartition("/")[2]] += 1
    assert sum(codes.values()) == COUNT
    assert codes["RESOURCE_EXHAUSTED"] == 1
    assert min(codes["INVALID_ARGUMENT"], codes["NOT_FOUND"], codes["INTERNAL"]) > 5
    assert len(methods) == 5
    assert min(methods.values()) > 5
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    answer = stub.Predict(right_request(), timeout=20)
    assert [dim.size for dim in answer.outputs["attributes"].tensor_shape.dim] == [1, 40]


def test_an_answer_that_should_be_a_refusal_is_a_problem(channel, benchmarks):
    method = "/tensorflow.serving.PredictionService/Predict"
    data = right_request().SerializeToString()
    refused = benchmarks.Malformed("a right one", method, data, frozenset({"NOT_FOUND"}))
    code, problem = benchmarks.send(channel, refused)
    assert code == "OK"
    assert problem == "a right one: OK () instead of NOT_FOUND"
