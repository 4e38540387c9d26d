"""Predict on every signature of an exported model."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import tensor_pb2

# Two ways to the same network: other kernels add up float32 in another order.
CLOSE = 1e-5


@pytest.fixture
def expected(predict, images):
    return predict("serve_uint8", images=images)[0]


def assert_same(response, expected, rows=slice(None), atol=CLOSE):
    assert set(response) == set(expected)
    for name, value in response.items():
        np.testing.assert_allclose(value, expected[name][rows], rtol=0, atol=atol, err_msg=name)


def test_outputs_are_what_the_description_says(expected, description, images):
    attributes = len(description.attributes)
    shapes = {"attributes": (6, attributes), "logits": (6, attributes)}
    if description.has_masks:
        shapes["masks"] = (6, *description.mask_size, len(description.groups))
    assert {name: value.shape for name, value in expected.items()} == shapes
    for value in expected.values():
        assert value.dtype == np.float32 and np.isfinite(value).all()
    slopes = np.float32(description.calibration.slopes(description.attributes))
    offsets = np.float32(description.calibration.offsets(description.attributes))
    calibrated = 1 / (1 + np.exp(-(expected["logits"] * slopes + offsets)))
    np.testing.assert_allclose(expected["attributes"], calibrated, rtol=0, atol=1e-6)
    # The images differ, and so must their outputs: none is that of another row.
    assert len(np.unique(expected["logits"].round(4), axis=0)) == len(images)


def test_float_pixels(predict, images, expected):
    response, _ = predict("serve_float", images=images.astype(np.float32))
    assert_same(response, expected)


@pytest.mark.parametrize("signature", ["", "serving_default"])
def test_encoded_images(predict, images, expected, encode, signature):
    contents = np.array([encode(image) for image in images], object)
    response, spec = predict(signature, image_bytes=contents)
    assert_same(response, expected)
    assert spec.signature_name == "serving_default"


def test_jpeg(predict, images, encode):
    contents = [encode(image, "JPEG", quality=90) for image in images]
    response, _ = predict("", ["attributes"], image_bytes=np.array(contents, object))
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in contents])
    assert np.abs(decoded.astype(int) - images).max() > 0
    # Releases of libjpeg may decode a pixel to a neighbouring grey level.
    expected, _ = predict("serve_uint8", ["attributes"], images=decoded)
    assert_same(response, expected, atol=0.02)


def test_images_of_another_size(predict, make_images, encode):
    """CelebA's aligned size, on every way in."""
    images = make_images(218, 178, 2)
    response, _ = predict("serve_uint8", images=images)
    assert_same(predict("serve_float", images=images.astype(np.float32))[0], response)
    contents = np.array([encode(image) for image in images], object)
    assert_same(predict(image_bytes=contents)[0], response)


def test_encoded_images_of_different_sizes(predict, make_images, encode):
    images = [make_images(*size, 1)[0] for size in ((30, 40), (218, 178), (100, 90))]
    contents = np.array([encode(image) for image in images], object)
    together, _ = predict(image_bytes=contents)
    for row, content in enumerate(contents):
        alone, _ = predict(image_bytes=np.array([content], object))
        assert_same(alone, together, rows=[row])


@pytest.mark.parametrize("count", [1, 2, 5, 17])
def test_batch_sizes(predict, images, expected, count):
    rows = np.arange(count) % len(images)
    response, _ = predict("serve_uint8", images=images[rows])
    assert_same(response, expected, rows)


def test_fields_and_content_are_the_same_request(predict, images, expected):
    """A tensor may be sent as bytes or number by number (tensorflow/core/framework/tensor.cc)."""
    image = images[:1]
    numbers = tensor_pb2.TensorProto(dtype=tf.uint8.as_datatype_enum)
    numbers.tensor_shape.CopyFrom(tf.TensorShape(image.shape).as_proto())
    content = tensor_pb2.TensorProto()
    content.CopyFrom(numbers)
    numbers.int_val.extend(image.ravel().tolist())
    content.tensor_content = image.tobytes()
    for tensor in (numbers, content):
        assert_same(predict("serve_uint8", images=tensor)[0], expected, rows=[0])


def test_floats_as_fields_and_as_content(predict, images, expected):
    image = images[:1].astype(np.float32)
    numbers = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum)
    numbers.tensor_shape.CopyFrom(tf.TensorShape(image.shape).as_proto())
    content = tensor_pb2.TensorProto()
    content.CopyFrom(numbers)
    numbers.float_val.extend(image.ravel().tolist())
    content.tensor_content = image.tobytes()
    for tensor in (numbers, content):
        assert_same(predict("serve_float", images=tensor)[0], expected, rows=[0])


def test_the_last_number_stands_for_the_rest(predict, description):
    """As `tf.make_tensor_proto` writes it for a constant."""
    shape = (2, description.image_size, description.image_size, 3)
    short = tf.make_tensor_proto(128, tf.uint8, shape)
    assert len(short.int_val) == 1 and not short.tensor_content
    full, _ = predict("serve_uint8", images=np.full(shape, 128, np.uint8))
    assert_same(predict("serve_uint8", images=short)[0], full)


@pytest.mark.parametrize("outputs", [["attributes"], ["logits"], ["logits", "attributes"]])
@pytest.mark.parametrize("signature", ["serving_default", "serve_uint8", "serve_float"])
def test_output_filter(predict, images, expected, encode, signature, outputs):
    inputs = {
        "serving_default": {"image_bytes": np.array([encode(images[0])], object)},
        "serve_uint8": {"images": images[:1]},
        "serve_float": {"images": images[:1].astype(np.float32)},
    }
    response, _ = predict(signature, outputs, **inputs[signature])
    assert_same(response, {name: expected[name] for name in outputs}, rows=[0])


def test_masks_alone(predict, images, expected, description):
    if not description.has_masks:
        pytest.skip("not checked: masks, which this model does not have; serve one that has them")
    response, _ = predict("serve_uint8", ["masks"], images=images)
    assert_same(response, {"masks": expected["masks"]})


@pytest.mark.parametrize("rows", [1, 3])
def test_description(predict, rows):
    outputs, spec = predict("describe", rows=np.zeros(rows, np.int32))
    assert outputs["json"].shape == (rows,) and len(set(outputs["json"])) == 1
    assert spec.signature_name == "describe"


def test_the_response_names_the_model(predict, target, versions, images):
    _, spec = predict("serve_uint8", images=images[:1])
    assert (spec.name, spec.signature_name) == (target.model, "serve_uint8")
    assert spec.version.value == versions[-1]
