import io

import numpy as np
import pytest
from PIL import Image
from tensorflow_serving.apis import classification_pb2, predict_pb2

from far_keras.schema import CELEBA


@pytest.fixture(scope="module")
def caller(small_faces, serve):
    with serve(models=small_faces) as (_, caller):
        yield caller


def png(level):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (level, 10, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def request(*pictures, signature="classify", feature="image/encoded"):
    message = classification_pb2.ClassificationRequest()
    message.model_spec.name, message.model_spec.signature_name = "faces", signature
    message.input.example_list.SetInParent()
    for picture in pictures:
        features = message.input.example_list.examples.add().features.feature
        features[feature].bytes_list.value.append(picture)
    return message


def test_attributes_are_the_classes(caller):
    answer = caller.prediction.Classify(request(png(0), png(250)), timeout=20)
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
    message = request(signature="classify")
    both = message.input.example_list_with_context
    both.context.features.feature["image/encoded"].bytes_list.value.append(png(7))
    both.examples.add()
    answer = caller.prediction.Classify(message, timeout=20)
    alone = caller.prediction.Classify(request(png(7)), timeout=20)
    assert answer.result == alone.result


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (request(), "INVALID_ARGUMENT", "Input is empty"),
        (request(b"text"), "INVALID_ARGUMENT", "refuses the values"),
        (request(png(1), feature="picture"), "INVALID_ARGUMENT", "refuses the values"),
        (request(png(1), signature=""), "FAILED_PRECONDITION", "No classification inputs"),
        (request(png(1), signature="none"), "INVALID_ARGUMENT", "not found in signature"),
    ],
)
def test_what_cannot_be_classified(caller, message, code, says):
    received, text = caller.refusal(caller.prediction.Classify, message)
    assert received == code
    assert says in text


def test_a_bomb_inside_an_example_is_refused(caller):
    bomb = bytearray(png(1))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    code, text = caller.refusal(caller.prediction.Classify, request(bytes(bomb)))
    assert code == "INVALID_ARGUMENT"
    assert "3,600,000,000" in text
