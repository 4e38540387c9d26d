import io
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2

from far_keras.serving.server import Limits


@pytest.fixture(scope="module")
def models(tmp_path_factory, write_sums, small_faces):
    folder = tmp_path_factory.mktemp("served")
    write_sums(folder / "sums" / "1", 1)
    write_sums(folder / "sums" / "3", 3)
    (folder / "faces").symlink_to(small_faces / "faces")
    return folder


@pytest.fixture(scope="module")
def caller(models, serve):
    with serve(models=models, limits=Limits(max_pixels=10**6)) as (_, caller):
        yield caller


def request(x=((1, 2, 3),), name="sums", signature="", **inputs):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = name
    message.model_spec.signature_name = signature
    if isinstance(x, tuple):
        x = np.float32(x)
    for key, value in ({"x": x} | inputs).items():
        if value is not None:
            message.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return message


def faces(signature, **inputs):
    return request(**({"x": None} | inputs), name="faces", signature=signature)


def picture(width=40, height=30, kind="JPEG"):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_answers_name_the_model_version_and_signature(caller):
    answer = caller.prediction.Predict(request(), timeout=10)
    assert answer.model_spec.name == "sums"
    assert answer.model_spec.version.value == 3  # the latest
    assert answer.model_spec.signature_name == "serving_default"
    assert set(answer.outputs) == {"sum", "version"}
    assert list(answer.outputs["sum"].float_val) == [6.0]
    assert list(answer.outputs["version"].float_val) == [3.0]


def test_a_signature_by_name(caller):
    answer = caller.prediction.Predict(request(signature="doubled"), timeout=10)
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["double"]), [[2, 4, 6]])


def test_output_filter_keeps_what_it_names(caller):
    message = request()
    message.output_filter.append("sum")
    assert set(caller.prediction.Predict(message, timeout=10).outputs) == {"sum"}


def test_pictures_and_pixels_give_the_direct_answer(caller, small_faces):
    direct = tf.saved_model.load(str(small_faces / "faces" / "1")).signatures
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 25, 3)).astype(np.uint8)
    for signature, inputs in (
        ("serve_uint8", {"images": images}),
        ("serve_float", {"images": images.astype(np.float32)}),
        ("serving_default", {"image_bytes": np.array([picture(40), picture(50)], object)}),
    ):
        answer = caller.prediction.Predict(faces(signature, **inputs), timeout=10)
        for name, value in direct[signature](
            **{k: tf.constant(v) for k, v in inputs.items()}
        ).items():
            # The same graph; another thread may add up in another order.
            np.testing.assert_allclose(tf.make_ndarray(answer.outputs[name]), value, atol=1e-6)


def test_more_rows_than_a_run_takes_give_the_same_rows(caller):
    images = np.random.default_rng(0).integers(0, 256, (70, 4, 4, 3)).astype(np.uint8)
    answer = caller.prediction.Predict(faces("serve_uint8", images=images), timeout=10)
    last = caller.prediction.Predict(faces("serve_uint8", images=images[-1:]), timeout=10)
    logits = tf.make_ndarray(answer.outputs["logits"])
    assert logits.shape == (70, 40)
    np.testing.assert_allclose(logits[-1:], tf.make_ndarray(last.outputs["logits"]), atol=1e-6)


def change(message, **spec):
    if "version" in spec:
        message.model_spec.version.value = spec["version"]
    if "label" in spec:
        message.model_spec.version_label = spec["label"]
    return message


def with_outputs(message, *names):
    message.output_filter.extend(names)
    return message


IMAGES = np.zeros((1, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (request(name="nobody"), "NOT_FOUND", "Latest(nobody)"),
        (request(name=""), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (change(request(), version=2), "NOT_FOUND", "Specific(sums, 2)"),
        (change(request(), version=1), "NOT_FOUND", "Specific(sums, 1)"),  # not the latest
        (change(request(), version=0), "NOT_FOUND", "Specific(sums, 0)"),
        (change(request(), label="stable"), "INVALID_ARGUMENT", "label: stable"),
        (request(signature="none"), "FAILED_PRECONDITION", '"none" not found in signature'),
        (request(y=1.0), "INVALID_ARGUMENT", "Sent extra: {y}"),
        (request(x=None), "INVALID_ARGUMENT", "Missing but required: {x}"),
        (with_outputs(request(), "none"), "INVALID_ARGUMENT", "not found in signature: none"),
        (with_outputs(request(), "sum", "sum"), "INVALID_ARGUMENT", "each output once"),
        (request(x=np.ones((1, 3))), "INVALID_ARGUMENT", "float32 (N, 3)"),
        (request(x=np.ones((3, 2), np.float32)), "INVALID_ARGUMENT", "shape (3, 2)"),
        (request(x=((-1, 0, 0),)), "INVALID_ARGUMENT", "refuses the values"),
        (faces("serve_uint8", images=IMAGES[0]), "INVALID_ARGUMENT", "(N, N, N, 3)"),
        (faces("serve_uint8", images=IMAGES[:, :0]), "INVALID_ARGUMENT", "refuses the values"),
        (faces("serving_default", image_bytes=[b"text"]), "INVALID_ARGUMENT", "image 0 is no"),
        (faces("serving_default", image_bytes=[picture(), b""]), "INVALID_ARGUMENT", "1 is empty"),
        (faces("serving_default", image_bytes=[picture()[:200]]), "INVALID_ARGUMENT", "whole"),
        (
            faces("serving_default", image_bytes=[picture(), picture(kind="WEBP")[:200]]),
            "INVALID_ARGUMENT",
            "image 1 is WebP",
        ),
        (
            faces("serving_default", image_bytes=[picture(2000, 1000)]),
            "INVALID_ARGUMENT",
            "at most 1,000,000 pixels",
        ),
        (
            faces("serve_uint8", images=np.zeros((20_000, 1, 1, 3), np.uint8)),
            "INVALID_ARGUMENT",
            "at most 10,000",
        ),
    ],
)
def test_wrong_requests_have_the_status_of_tensorflow_serving(caller, message, code, says):
    received, text = caller.refusal(caller.prediction.Predict, message)
    assert received == code
    assert says in text


def test_bytes_that_are_no_request(models, serve):
    with serve(models=models) as (server, _), grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff", timeout=10)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "the request is no tensorflow.serving.PredictRequest"


def test_messages_over_64_mb_are_refused_and_those_under_it_are_not(models, serve):
    with (
        serve(models=models) as (server, _),
        grpc.insecure_channel(server.address, [("grpc.max_receive_message_length", -1)]) as channel,
    ):
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            predict_pb2.PredictRequest.SerializeToString,
            predict_pb2.PredictResponse.FromString,
        )
        rows = np.ones((1_500_000, 3), np.float32)  # 18 MB: gRPC's own limit is 4
        answer = call(with_outputs(request(x=rows), "sum"), timeout=60)
        assert tf.make_ndarray(answer.outputs["sum"]).sum() == 3 * len(rows)
        with pytest.raises(grpc.RpcError) as caught:
            call(request(x=np.tile(rows, (4, 1))), timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_deadline_that_has_passed_ends_the_call(models, serve):
    rows = np.ones((1_500_000, 3), np.float32)  # a small request may be answered in time
    with serve(models=models) as (_, caller):
        start = time.monotonic()
        code, _ = caller.refusal(caller.prediction.Predict, request(x=rows), timeout=1e-6)
    assert code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - start < 5


def test_batching_gives_the_same_answers(models, serve):
    with serve(models=models, batching=True) as (_, caller):
        calls = [
            caller.prediction.Predict.future(request(x=((i, i, i),)), timeout=20) for i in range(60)
        ]
        sums = [tf.make_ndarray(call.result().outputs["sum"]).tolist() for call in calls]
    assert sums == [[3.0 * i] for i in range(60)]


def test_other_methods_are_unimplemented(caller):
    from tensorflow_serving.apis import regression_pb2

    code, text = caller.refusal(caller.prediction.Regress, regression_pb2.RegressionRequest())
    assert code == "UNIMPLEMENTED"
    assert "TensorFlow Serving" in text
