import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from far_keras.serving.server import Server, ServerConfig


@pytest.fixture(scope="module")
def models(tmp_path_factory, write_sums):
    folder = tmp_path_factory.mktemp("served")
    write_sums(folder / "sums" / "1", 1)
    write_sums(folder / "sums" / "3", 3)
    return folder


@pytest.fixture(scope="module")
def stub(models):
    with (
        Server(ServerConfig(models=models, port=0)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(x=((1, 2, 3),), name="sums", signature="", **inputs):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = name
    message.model_spec.signature_name = signature
    for key, value in ({"x": np.float32(x)} | inputs).items():
        message.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return message


def refusal(stub, message):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(message, timeout=10)
    text = caught.value.details()
    assert "\n" not in text
    assert "Traceback" not in text
    assert "{{" not in text
    return caught.value.code().name, text


def test_answers_name_the_model_version_and_signature(stub):
    answer = stub.Predict(request(), timeout=10)
    assert answer.model_spec.name == "sums"
    assert answer.model_spec.version.value == 3  # the latest
    assert answer.model_spec.signature_name == "serving_default"
    assert set(answer.outputs) == {"sum", "version"}
    assert list(answer.outputs["sum"].float_val) == [6.0]
    assert list(answer.outputs["version"].float_val) == [3.0]


def test_unknown_model_is_not_found(stub):
    assert refusal(stub, request(name="nobody"))[0] == "NOT_FOUND"
