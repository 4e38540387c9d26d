"""TF Serving's status codes for requests that it cannot serve.

Each case names the file of https://github.com/tensorflow/serving that decides it.
"""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from grpc import StatusCode
from PIL import Image
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

ONE = np.zeros((1, 32, 32, 3), np.uint8)

# servables/tensorflow/predict_impl.cc, core/basic_manager.cc, model_servers/server_core.cc,
# servables/tensorflow/predict_util.cc
CHOICES = {
    "no model": ({"model": ""}, {StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT}),
    "unknown model": ({"model": "nobody"}, StatusCode.NOT_FOUND),
    "unknown version": ({"version": 987654}, StatusCode.NOT_FOUND),
    # ovmsclient requests version 0 where none is given.
    "version 0": ({"version": 0}, StatusCode.NOT_FOUND),
    "unknown label": ({"label": "nobody"}, StatusCode.INVALID_ARGUMENT),
    "unknown signature": ({"signature": "nobody"}, StatusCode.FAILED_PRECONDITION),
    "unknown output": ({"outputs": ["nobody"]}, StatusCode.INVALID_ARGUMENT),
    "output twice": ({"outputs": ["logits", "logits"]}, StatusCode.INVALID_ARGUMENT),
    "one output unknown": ({"outputs": ["logits", "nobody"]}, StatusCode.INVALID_ARGUMENT),
}


@pytest.mark.parametrize("case", CHOICES)
def test_predict_for_what_is_not_there(stubs, new_request, error_of, case):
    changes, code = CHOICES[case]
    message = new_request(**{"signature": "serve_uint8", "images": ONE, **changes})
    codes = code if isinstance(code, set) else {code}
    assert error_of(stubs.prediction.Predict, message) in codes


def test_predict_without_model_spec(stubs, error_of):
    """servables/tensorflow/predict_impl.cc"""
    message = predict_pb2.PredictRequest()
    assert error_of(stubs.prediction.Predict, message) == StatusCode.INVALID_ARGUMENT


def too_short():
    tensor = tf.make_tensor_proto(ONE)
    tensor.tensor_content = tensor.tensor_content[:-1]
    return tensor


def with_sizes(*sizes):
    tensor = tensor_pb2.TensorProto(dtype=tf.uint8.as_datatype_enum, tensor_content=b"abc")
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


# servables/tensorflow/predict_util.cc: names, and "tensor parsing error"; the rest is the
# session's response to tensors that do not fit the graph.
INPUTS = {
    "none": {},
    "wrong name": {"image": ONE},
    "one too many": {"images": ONE, "more": ONE},
    "content too short": {"images": too_short()},
    "negative size": {"images": with_sizes(1, -2, 2, 3)},
    "more than memory": {"images": with_sizes(2**40, 2**40, 2**40, 3)},
    "wrong dtype": {"images": ONE.astype(np.int64)},
    "text": {"images": np.array([b"x"], object)},
    "three dimensions": {"images": ONE[0]},
    "five dimensions": {"images": ONE[None]},
    "one channel": {"images": ONE[..., :1]},
    "four channels": {"images": np.zeros((1, 32, 32, 4), np.uint8)},
    "empty batch": {"images": ONE[:0]},
    "no pixels": {"images": ONE[:, :0]},
}


@pytest.mark.parametrize("case", INPUTS)
def test_predict_with_inputs_that_do_not_fit(stubs, new_request, error_of, case):
    message = new_request("serve_uint8", **INPUTS[case])
    assert error_of(stubs.prediction.Predict, message) == StatusCode.INVALID_ARGUMENT


def png_of(width, height):
    """A PNG that claims a size and has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + b"\0\0\0\0IEND\xaeB`\x82"


def jpeg():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(
        buffer, "JPEG"
    )
    return buffer.getvalue()


IMAGES = {
    "empty": b"",
    "no image": b"no image",
    "half a JPEG": jpeg()[:200],
    "PNG without pixels": png_of(32, 32),
    "4 gigapixels": png_of(65535, 65535),
}


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("among", [False, True])
def test_predict_with_images_that_cannot_be_decoded(stubs, new_request, error_of, case, among):
    contents = [IMAGES[case]]
    if among:
        contents = [jpeg(), *contents, jpeg()]
    message = new_request("serving_default", image_bytes=np.array(contents, object))
    assert error_of(stubs.prediction.Predict, message) == StatusCode.INVALID_ARGUMENT


def spec(message, target, name=None, **choice):
    message.model_spec.name = target.model if name is None else name
    if "version" in choice:
        message.model_spec.version.value = choice.pop("version")
    for key, value in choice.items():
        setattr(message.model_spec, key, value)
    return message


# servables/tensorflow/get_model_metadata_impl.cc
METADATA = {
    "no field": ({}, [], StatusCode.INVALID_ARGUMENT),
    "unknown field": ({}, ["weather"], StatusCode.INVALID_ARGUMENT),
    "one field unknown": ({}, ["signature_def", "weather"], StatusCode.INVALID_ARGUMENT),
    "unknown model": ({"name": "nobody"}, ["signature_def"], StatusCode.NOT_FOUND),
    "unknown version": ({"version": 987654}, ["signature_def"], StatusCode.NOT_FOUND),
    "unknown label": (
        {"version_label": "nobody"},
        ["signature_def"],
        StatusCode.INVALID_ARGUMENT,
    ),
}


@pytest.mark.parametrize("case", METADATA)
def test_metadata(stubs, target, error_of, case):
    choice, fields, code = METADATA[case]
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    message = spec(message, target, **choice)
    assert error_of(stubs.prediction.GetModelMetadata, message) == code


def test_metadata_without_model_spec(stubs, error_of):
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    assert error_of(stubs.prediction.GetModelMetadata, message) == StatusCode.INVALID_ARGUMENT


# model_servers/get_model_status_impl.cc
@pytest.mark.parametrize("choice", [{"name": "nobody"}, {"version": 987654}, {"version": 0}])
def test_status_of_what_is_not_there(stubs, target, error_of, choice):
    message = spec(get_model_status_pb2.GetModelStatusRequest(), target, **choice)
    assert error_of(stubs.model.GetModelStatus, message) == StatusCode.NOT_FOUND


def test_status_without_model_spec(stubs, error_of):
    message = get_model_status_pb2.GetModelStatusRequest()
    assert error_of(stubs.model.GetModelStatus, message) == StatusCode.INVALID_ARGUMENT


# servables/tensorflow/classification_service.cc, classifier.cc, util.cc
CLASSIFY = {
    "unknown model": ({"name": "nobody"}, StatusCode.NOT_FOUND),
    "unknown version": ({"version": 987654}, StatusCode.NOT_FOUND),
    "unknown label": ({"version_label": "nobody"}, StatusCode.INVALID_ARGUMENT),
    # Predict returns FAILED_PRECONDITION here.
    "unknown signature": ({"signature_name": "nobody"}, StatusCode.INVALID_ARGUMENT),
    "a signature without inputs": (
        {"signature_name": "describe"},
        StatusCode.FAILED_PRECONDITION,
    ),
}


@pytest.mark.parametrize("case", CLASSIFY)
def test_classify_for_what_is_not_there(stubs, target, error_of, case):
    choice, code = CLASSIFY[case]
    message = classification_pb2.ClassificationRequest()
    message = spec(message, target, **{"signature_name": "classify", **choice})
    feature = message.input.example_list.examples.add().features.feature["image/encoded"]
    feature.bytes_list.value.append(jpeg())
    assert error_of(stubs.prediction.Classify, message) == code


def test_classify_without_examples(stubs, target, error_of):
    message = spec(classification_pb2.ClassificationRequest(), target, signature_name="classify")
    assert error_of(stubs.prediction.Classify, message) == StatusCode.INVALID_ARGUMENT
    message.input.example_list.SetInParent()
    assert error_of(stubs.prediction.Classify, message) == StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("content", [None, b"no image"])
def test_classify_with_examples_that_do_not_fit(stubs, target, error_of, content):
    message = spec(classification_pb2.ClassificationRequest(), target, signature_name="classify")
    features = message.input.example_list.examples.add().features
    if content is not None:
        features.feature["image/encoded"].bytes_list.value.append(content)
    assert error_of(stubs.prediction.Classify, message) == StatusCode.INVALID_ARGUMENT


def test_a_reload_without_a_configuration(stubs, error_of):
    """model_servers/model_service_impl.cc"""
    message = model_management_pb2.ReloadConfigRequest()
    assert error_of(stubs.model.HandleReloadConfigRequest, message) == StatusCode.INVALID_ARGUMENT
