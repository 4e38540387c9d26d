"""Classify: `tf.Example` in, labels with scores out."""

from __future__ import annotations

import grpc
import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2

from far_keras.serving.server.limits import Limits
from far_keras.serving.server.pictures import check_pictures
from far_keras.serving.server.predict import Run, find_signature, run_alone
from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.saved_model import SavedModel, Signature
from far_keras.serving.server.work import Work

__all__ = ["classify"]

_INPUTS, _CLASSES, _SCORES = "inputs", "classes", "scores"  # TensorFlow Serving's aliases


def classify(
    model: SavedModel,
    request: classification_pb2.ClassificationRequest,
    run: Run = run_alone,
    limits: Limits | None = None,
) -> classification_pb2.ClassificationResult:
    """Answers a request with a signature that classifies, as TensorFlow Serving does.

    Such a signature has the one input ``inputs`` (string (N,), serialized examples) and the outputs
    ``classes`` (string (N, C)), ``scores`` (float32 (N, C)) or both. In models that
    `far_keras.export` wrote it is called ``classify``.

    Args:
        model: The version that was asked.
        request: Its model is not looked at, only its signature and examples.
        run: Computes the outputs.
        limits: What the request may cost.

    Raises:
        RpcError: INVALID_ARGUMENT without examples or with ones that the model refuses;
            FAILED_PRECONDITION for a signature that is unknown or cannot classify.
    """
    limits = limits or Limits()
    signature = find_signature(
        model, request.model_spec.signature_name, grpc.StatusCode.INVALID_ARGUMENT
    )
    _check_signature(signature)
    examples = _examples(request.input, limits)
    pixels = [_count_pixels(example, limits) for example in examples]
    serialized = np.empty(len(examples), object)
    serialized[:] = [example.SerializeToString() for example in examples]
    outputs = run(Work(signature, {_INPUTS: serialized}, pixels))
    return _result(signature, outputs, len(examples))


def _check_signature(signature: Signature) -> None:
    if list(signature.inputs) != [_INPUTS]:
        raise RpcError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"No classification inputs found in signature {signature.name!r}: expected the input "
            f"'{_INPUTS}'. Received: {', '.join(signature.inputs) or 'none'}",
        )
    if not {_CLASSES, _SCORES} & set(signature.outputs):
        raise RpcError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"Expected classification signature {signature.name!r} to have the output "
            f"'{_CLASSES}' or '{_SCORES}'. Received: {', '.join(signature.outputs)}",
        )


def _examples(given: input_pb2.Input, limits: Limits) -> list[example_pb2.Example]:
    if given.WhichOneof("kind") == "example_list_with_context":
        # Features of the example win over those of the context.
        examples = []
        for own in given.example_list_with_context.examples:
            merged = example_pb2.Example()
            merged.CopyFrom(given.example_list_with_context.context)
            merged.MergeFrom(own)
            examples.append(merged)
    else:
        examples = list(given.example_list.examples)
    if not examples:
        raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, "Input is empty: give an example")
    if len(examples) > limits.max_rows:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"expected at most {limits.max_rows:,} examples. Received: {len(examples):,}",
        )
    return examples


def _count_pixels(example: example_pb2.Example, limits: Limits) -> int:
    """Of all images in it; refuses bombs."""
    total = 0
    for name, feature in example.features.feature.items():
        if feature.bytes_list.value:
            values = np.empty(len(feature.bytes_list.value), object)
            values[:] = feature.bytes_list.value
            total += sum(check_pictures(values, limits.max_pixels, name))
    return total


def _result(
    signature: Signature, outputs: dict[str, np.ndarray], rows: int
) -> classification_pb2.ClassificationResult:
    given = [outputs[name] for name in (_CLASSES, _SCORES) if name in outputs]
    shape = given[0].shape
    if len(shape) != 2 or shape[0] != rows or any(array.shape != shape for array in given):
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"signature {signature.name!r} cannot classify: expected outputs of shape (N, classes) "
            f"for {rows} examples. Received: {', '.join(str(array.shape) for array in given)}",
        )
    scores = outputs.get(_SCORES, np.zeros(shape, np.float32)).tolist()
    labels = outputs.get(_CLASSES, np.full(shape, b"", object)).tolist()
    result = classification_pb2.ClassificationResult()
    for texts, values in zip(labels, scores, strict=True):
        classes = result.classifications.add().classes
        for text, value in zip(texts, values, strict=True):
            classes.add(label=text.decode("utf-8", errors="replace"), score=value)
    return result
