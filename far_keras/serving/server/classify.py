"""Classify: `tf.Example` in, labels with scores out."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2

from far_keras.serving.server.pictures import check_pictures
from far_keras.serving.server.predict import Run, find_signature, run_alone
from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.saved_model import SavedModel, Signature
from far_keras.serving.server.work import Limits, Work

__all__ = ["PICTURE_FEATURE", "classify"]

PICTURE_FEATURE = "image/encoded"

_INPUTS, _CLASSES, _SCORES = "inputs", "classes", "scores"  # TensorFlow Serving's aliases


def classify(
    model: SavedModel,
    request: classification_pb2.ClassificationRequest,
    run: Run = run_alone,
    limits: Limits | None = None,
) -> classification_pb2.ClassificationResult:
    """Answers a request.

    A signature with the input ``inputs`` (serialized examples) and the outputs ``classes``,
    ``scores`` or both is called with the examples, as TensorFlow Serving does. A model that
    `far_keras.export` wrote has no such signature: its attributes are the classes, their
    probabilities the scores, and the picture is taken from the examples' feature
    ``image/encoded``, as JPEG or PNG.

    Args:
        model: The version that was asked.
        request: Its model is not looked at, only its signature and examples.
        run: Computes the outputs.
        limits: What the request may cost.

    Raises:
        RpcError: INVALID_ARGUMENT without examples or with ones that cannot be used;
            FAILED_PRECONDITION for a signature that is unknown or cannot classify.
    """
    limits = limits or Limits()
    signature = find_signature(
        model, request.model_spec.signature_name, grpc.StatusCode.INVALID_ARGUMENT
    )
    examples = _examples(request.input, limits)
    if list(signature.inputs) == [_INPUTS]:
        outputs = run(Work(signature, {_INPUTS: _serialized(examples)}))
        return _result(signature, outputs, len(examples))
    if model.far_keras is None or "image_bytes" not in signature.inputs:
        raise RpcError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"signature {signature.name!r} cannot classify: expected one with the input "
            f"'{_INPUTS}'. Received: one with {', '.join(signature.inputs) or 'no input'}",
        )
    pictures = _pictures(examples)
    pixels = check_pictures(pictures, limits.max_pixels, PICTURE_FEATURE)
    scores = run(Work(signature, {"image_bytes": pictures}, pixels))["attributes"]
    names = model.far_keras["attributes"]
    return _to_proto(scores, lambda row, column: names[column])


def _examples(given: input_pb2.Input, limits: Limits) -> list[example_pb2.Example]:
    kind = given.WhichOneof("kind")
    if kind == "example_list_with_context":
        # Features of the example win over those of the context.
        context = given.example_list_with_context.context
        examples = []
        for own in given.example_list_with_context.examples:
            merged = example_pb2.Example()
            merged.CopyFrom(context)
            merged.MergeFrom(own)
            examples.append(merged)
    else:
        examples = list(given.example_list.examples)
    if not 0 < len(examples) <= limits.max_rows:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"Input is empty; expected 1 to {limits.max_rows:,} examples"
            if not examples
            else f"expected at most {limits.max_rows:,} examples. Received: {len(examples):,}",
        )
    return examples


def _serialized(examples: list[example_pb2.Example]) -> np.ndarray:
    array = np.empty(len(examples), object)
    array[:] = [example.SerializeToString() for example in examples]
    return array


def _pictures(examples: list[example_pb2.Example]) -> np.ndarray:
    pictures = np.empty(len(examples), object)
    for index, example in enumerate(examples):
        feature = example.features.feature
        found = PICTURE_FEATURE in feature
        values = list(feature[PICTURE_FEATURE].bytes_list.value) if found else []
        if len(values) != 1:
            raise RpcError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"example {index}: expected one picture in the feature {PICTURE_FEATURE!r}. "
                f"Received: {len(values)}",
            )
        pictures[index] = bytes(values[0])
    return pictures


def _result(
    signature: Signature, outputs: dict[str, np.ndarray], rows: int
) -> classification_pb2.ClassificationResult:
    classes, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    if classes is None and scores is None:
        raise RpcError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"signature {signature.name!r} cannot classify: expected the output '{_CLASSES}' or "
            f"'{_SCORES}'. Received: {', '.join(signature.outputs)}",
        )
    given = [array for array in (classes, scores) if array is not None]
    if any(array.ndim != 2 or array.shape != given[0].shape for array in given) or any(
        len(array) != rows for array in given
    ):
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"signature {signature.name!r} cannot classify: expected outputs of shape (N, classes) "
            f"for {rows} examples. Received: {', '.join(str(array.shape) for array in given)}",
        )
    numbers = np.zeros(given[0].shape, np.float32) if scores is None else scores
    return _to_proto(
        numbers,
        lambda row, column: "" if classes is None else _text(classes[row][column]),
    )


def _to_proto(
    scores: np.ndarray, label: Callable[[int, int], str]
) -> classification_pb2.ClassificationResult:
    result = classification_pb2.ClassificationResult()
    for row, values in enumerate(scores.tolist()):
        classes = result.classifications.add().classes
        for column, value in enumerate(values):
            classes.add(label=label(row, column), score=value)
    return result


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", errors="replace")
