import io
import logging
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

from far_keras.errors import ServerError
from far_keras.schema import CELEBA
from far_keras.serving.server import Limits
from far_keras.serving.server.predict import WARMUP_FILE, warm_up
from far_keras.serving.server.saved_model import SavedModel


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


def lying(sizes, dtype=1, **fields):
    """A request with a tensor that does not have the elements of its shape."""
    message = request(x=None)
    message.inputs["x"].CopyFrom(tensor_pb2.TensorProto(dtype=dtype, **fields))
    for size in sizes:
        message.inputs["x"].tensor_shape.dim.add(size=size)
    return message


def faces(signature, **inputs):
    return request(**({"x": None} | inputs), name="faces", signature=signature)


def image(width=40, height=30, kind="JPEG"):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_responses_name_the_model_version_and_signature(caller):
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


def test_images_and_pixels_give_the_outputs_of_a_direct_call(caller, small_faces):
    direct = tf.saved_model.load(str(small_faces / "faces" / "1")).signatures
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 25, 3)).astype(np.uint8)
    for signature, inputs in (
        ("serve_uint8", {"images": images}),
        ("serve_float", {"images": images.astype(np.float32)}),
        ("serving_default", {"image_bytes": np.array([image(40), image(50)], object)}),
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


def test_the_last_of_too_few_values_fills_the_rest_as_in_tensorflow(caller):
    for given, total in (([5.0, 6.0], 17), ([], 0)):
        answer = caller.prediction.Predict(lying([1, 3], float_val=given), timeout=10)
        assert list(answer.outputs["sum"].float_val) == [total]


@pytest.mark.parametrize("tensor_content", [False, True])
def test_numbers_are_in_the_typed_field_unless_set_otherwise(small_sums, serve, tensor_content):
    with serve(models=small_sums, tensor_content=tensor_content) as (_, caller):
        tensor = caller.prediction.Predict(request(), timeout=10).outputs["sum"]
        assert (len(tensor.float_val), len(tensor.tensor_content)) == (
            (0, 4) if tensor_content else (1, 0)
        )


def test_bfloat16_reaches_the_model_and_comes_back(tmp_path, serve):
    module = tf.Module()
    spec = tf.TensorSpec((None, 3), tf.bfloat16, name="x")
    double = tf.function(lambda x: {"double": x + x}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "half" / "1"), {"serving_default": double})
    x = tf.constant([[1.5, -2, 0.25]], tf.bfloat16)
    with serve(models=tmp_path) as (_, caller):
        answer = caller.prediction.Predict(request(x=x.numpy(), name="half"), timeout=10)
    doubled = tf.make_ndarray(answer.outputs["double"])
    assert doubled.dtype == x.dtype.as_numpy_dtype
    assert doubled.tolist() == [[3.0, -4.0, 0.5]]


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
        (lying([2**62, 3], float_val=[1]), "INVALID_ARGUMENT", "input 'x': expected a tensor of"),
        (lying([2**31, 3], tensor_content=b"12"), "INVALID_ARGUMENT", "Received: 2"),
        (lying([1, 3], float_val=[1] * 4), "INVALID_ARGUMENT", "expected 3 elements"),
        (lying([1] * 65), "INVALID_ARGUMENT", "shape 65 dimensions"),
        (lying([-1, 3], float_val=[1]), "INVALID_ARGUMENT", "known shape"),
        (lying([1, 3], dtype=99), "INVALID_ARGUMENT", "dtype 99"),
        (request(x=((-1, 0, 0),)), "INVALID_ARGUMENT", "refuses the values"),
        (faces("serve_uint8", images=IMAGES[0]), "INVALID_ARGUMENT", "(N, N, N, 3)"),
        (faces("serve_uint8", images=IMAGES[:, :0]), "INVALID_ARGUMENT", "refuses the values"),
        (faces("serving_default", image_bytes=[b"text"]), "INVALID_ARGUMENT", "image 0 is no"),
        (faces("serving_default", image_bytes=[image(), b""]), "INVALID_ARGUMENT", "1 is empty"),
        (faces("serving_default", image_bytes=[image()[:200]]), "INVALID_ARGUMENT", "whole"),
        (
            faces("serving_default", image_bytes=[image(), image(kind="WEBP")[:200]]),
            "INVALID_ARGUMENT",
            "image 1 is WebP",
        ),
        (
            faces("serving_default", image_bytes=[image(2000, 1000)]),
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


def test_bytes_that_are_no_request_are_refused(models, serve):
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


def test_batching_gives_the_same_outputs(models, serve):
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


def png(level):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (level, 10, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def classify_request(*images, signature="classify", feature="image/encoded"):
    message = classification_pb2.ClassificationRequest()
    message.model_spec.name, message.model_spec.signature_name = "faces", signature
    message.input.example_list.SetInParent()
    for image in images:
        features = message.input.example_list.examples.add().features.feature
        features[feature].bytes_list.value.append(image)
    return message


def test_attributes_are_the_classes(caller):
    answer = caller.prediction.Classify(classify_request(png(0), png(250)), timeout=20)
    assert answer.model_spec.signature_name == "classify"
    assert answer.model_spec.version.value == 1
    first, second = answer.result.classifications
    assert [one.label for one in first.classes] == list(CELEBA.attributes)
    scores = np.array([[one.score for one in row.classes] for row in (first, second)])
    assert np.abs(scores[0] - scores[1]).max() > 0.01
    predicted = predict_pb2.PredictRequest()
    predicted.model_spec.name = "faces"
    predicted.inputs["image_bytes"].dtype = 7
    predicted.inputs["image_bytes"].tensor_shape.dim.add(size=2)
    predicted.inputs["image_bytes"].string_val.extend([png(0), png(250)])
    expected = caller.prediction.Predict(predicted, timeout=20).outputs["attributes"].float_val
    np.testing.assert_allclose(scores.ravel(), expected, atol=1e-6)


def test_the_context_gives_what_an_example_lacks(caller):
    message = classify_request(signature="classify")
    both = message.input.example_list_with_context
    both.context.features.feature["image/encoded"].bytes_list.value.append(png(7))
    both.examples.add()
    answer = caller.prediction.Classify(message, timeout=20)
    alone = caller.prediction.Classify(classify_request(png(7)), timeout=20)
    assert answer.result == alone.result


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (classify_request(), "INVALID_ARGUMENT", "Input is empty"),
        (classify_request(b"text"), "INVALID_ARGUMENT", "refuses the values"),
        (classify_request(png(1), feature="image"), "INVALID_ARGUMENT", "refuses the values"),
        (classify_request(png(1), signature=""), "FAILED_PRECONDITION", "No classification inputs"),
        (classify_request(png(1), signature="none"), "INVALID_ARGUMENT", "not found in signature"),
    ],
)
def test_what_cannot_be_classified(caller, message, code, says):
    received, text = caller.refusal(caller.prediction.Classify, message)
    assert received == code
    assert says in text


def test_a_bomb_inside_an_example_is_refused(caller):
    bomb = bytearray(png(1))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    code, text = caller.refusal(caller.prediction.Classify, classify_request(bytes(bomb)))
    assert code == "INVALID_ARGUMENT"
    assert "3,600,000,000" in text


@pytest.fixture
def version(tmp_path, write_sums):
    return write_sums(tmp_path / "1", 1)


def write(version, *logs):
    path = version / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def predict_log(signature, values=((1, 2, 3),)):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "whatever", signature
    request.model_spec.version.value = 77  # of the model that it was recorded with
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32(values)))
    return log


def test_every_record_runs(version, monkeypatch):
    write(version, predict_log("serving_default"), predict_log("doubled"), predict_log("doubled"))
    model = SavedModel(version)
    ran = []
    run = type(model.signatures["doubled"]).__call__
    monkeypatch.setattr(
        type(model.signatures["doubled"]),
        "__call__",
        lambda self, inputs: ran.append(self.name) or run(self, inputs),
    )
    assert warm_up(model) > 0
    assert ran == ["serving_default", "doubled", "doubled"]
    model.close()


def test_a_record_that_fails_is_named(version):
    write(version, predict_log("doubled"), predict_log("serving_default", ((-1, 0, 0),)))
    with pytest.raises(ServerError, match="warm-up record 1 fails: signature 'serving_default'"):
        warm_up(SavedModel(version))


def test_without_records_nothing_happens(version):
    assert warm_up(SavedModel(version)) == 0


def test_a_record_of_another_kind_is_passed_over_aloud(version, caplog):
    log = prediction_log_pb2.PredictionLog()
    log.regress_log.request.model_spec.name = "x"
    write(version, log)
    with caplog.at_level(logging.WARNING):
        warm_up(SavedModel(version))
    assert "record 0, a regress_log, is not run here" in caplog.text
