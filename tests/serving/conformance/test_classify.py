"""Classify: attributes as classes with scores."""

import numpy as np
import pytest
from tensorflow_serving.apis import classification_pb2

TIMEOUT = 30.0


@pytest.fixture
def classify(stubs, target):
    def call(contents, in_context=False):
        message = classification_pb2.ClassificationRequest()
        message.model_spec.name = target.model
        message.model_spec.signature_name = "classify"
        if in_context:
            # One image for all examples, as a context that they share.
            (content,) = set(contents)
            shared = message.input.example_list_with_context
            feature = shared.context.features.feature["image/encoded"]
            feature.bytes_list.value.append(content)
            for _ in contents:
                shared.examples.add()
        else:
            for content in contents:
                example = message.input.example_list.examples.add()
                feature = example.features.feature["image/encoded"]
                feature.bytes_list.value.append(content)
        return stubs.prediction.Classify(message, TIMEOUT)

    return call


@pytest.mark.parametrize("count", [1, 2, 6])
def test_scores_are_what_predict_gives(classify, predict, images, encode, description, count):
    contents = [encode(image) for image in images[:count]]
    response = classify(contents)
    expected, _ = predict(image_bytes=np.array(contents, object))
    rows = response.result.classifications
    assert len(rows) == count
    for row, values in zip(rows, expected["attributes"], strict=True):
        assert [one.label for one in row.classes] == list(description.attributes)
        scores = [one.score for one in row.classes]
        np.testing.assert_allclose(scores, values, rtol=0, atol=1e-5)


def test_the_response_names_the_model(classify, images, encode, target, versions):
    spec = classify([encode(images[0])]).model_spec
    assert spec.name == target.model and spec.version.value == versions[-1]
    assert spec.signature_name == "classify"


def test_a_shared_context(classify, images, encode):
    """servables/tensorflow/util.cc joins the context with each example."""
    content = encode(images[0])
    shared = classify([content, content], in_context=True).result
    assert shared == classify([content, content]).result
