"""Predict, Classify and GetModelMetadata on one version of a model, and its warm-up.

Requests are checked in TensorFlow Serving's order, so that errors have the same status codes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    input_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from far_keras.errors import ServerError
from far_keras.serving.server.image_headers import count_pixels, is_animated_webp
from far_keras.serving.server.limits import Limits, RpcError
from far_keras.serving.server.saved_model import LoadedSignature, SavedModel, TensorInfo
from far_keras.serving.server.scheduler import Work, compute
from far_keras.serving.tensors import TensorError, decode_tensor

__all__ = [
    "DEFAULT_SIGNATURE",
    "WARMUP_FILE",
    "Run",
    "check_images",
    "check_metadata_fields",
    "classify",
    "describe_signatures",
    "predict",
    "warm_up",
]

DEFAULT_SIGNATURE = "serving_default"
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")

_INPUTS, _CLASSES, _SCORES = "inputs", "classes", "scores"  # TensorFlow Serving's aliases
_SIGNATURE_DEF = "signature_def"
_MAX_WARMUP_RECORDS = 1000  # as TensorFlow Serving

_logger = logging.getLogger(__name__)

Run = Callable[[Work], dict[str, np.ndarray]]


def predict(
    model: SavedModel, request: predict_pb2.PredictRequest, run: Run, limits: Limits
) -> dict[str, np.ndarray]:
    """The requested outputs by alias.

    Args:
        model: The version to run.
        request: Only its signature, inputs and output filter are used.
        run: Computes the outputs.
        limits: What the request may cost.

    Raises:
        RpcError: FAILED_PRECONDITION for an unknown signature; INVALID_ARGUMENT for unknown or
            missing inputs or outputs, and for tensors that do not fit; or an error of `run`.
    """
    unknown = grpc.StatusCode.FAILED_PRECONDITION
    signature = _find_signature(model, request.model_spec.signature_name, unknown)
    _check_names(signature, request.inputs)
    chosen = _choose_outputs(signature, request.output_filter)
    inputs = {
        name: _read_input(info, request.inputs[name]) for name, info in signature.inputs.items()
    }
    pixels: list[int] = []
    for name, array in inputs.items():
        if array.dtype == object:
            pixels += check_images(array, limits.max_pixels, name)
    if signature.by_row:
        _check_rows(signature, inputs, limits)
    outputs = run(Work(signature, inputs, pixels))
    return {name: outputs[name] for name in chosen}


def classify(
    model: SavedModel, request: classification_pb2.ClassificationRequest, run: Run, limits: Limits
) -> classification_pb2.ClassificationResult:
    """Labels with scores for each `tf.Example`, as TensorFlow Serving computes them.

    The signature must have the one input ``inputs`` (string (N,), serialized examples) and the
    outputs ``classes`` (string (N, C)), ``scores`` (float32 (N, C)) or both. In models that
    `far_keras.export` wrote it is called ``classify``.

    Args:
        model: The version to run.
        request: Only its signature and examples are used.
        run: Computes the outputs.
        limits: What the request may cost.

    Raises:
        RpcError: INVALID_ARGUMENT without examples or for ones that the model refuses;
            FAILED_PRECONDITION for a signature that is unknown or cannot classify.
    """
    unknown = grpc.StatusCode.INVALID_ARGUMENT
    signature = _find_signature(model, request.model_spec.signature_name, unknown)
    _check_classifies(signature)
    examples = _read_examples(request.input, limits)
    pixels = [_count_example_pixels(example, limits) for example in examples]
    serialized = _objects(example.SerializeToString() for example in examples)
    outputs = run(Work(signature, {_INPUTS: serialized}, pixels))
    return _classification_result(signature, outputs, len(examples))


def check_metadata_fields(request: get_model_metadata_pb2.GetModelMetadataRequest) -> None:
    """Refuses requests for other metadata than signatures.

    Raises:
        RpcError: INVALID_ARGUMENT.
    """
    if not request.metadata_field:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            "GetModelMetadataRequest must specify at least one metadata_field",
        )
    for field in request.metadata_field:
        if field != _SIGNATURE_DEF:
            raise RpcError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Metadata field {field[:80]} is not supported; expected {_SIGNATURE_DEF}",
            )


def describe_signatures(model: SavedModel) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signatures as the model's file has them, in a response without name and version."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in model.signature_defs.items():
        signatures.signature_def[name].CopyFrom(definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata[_SIGNATURE_DEF].Pack(signatures)
    return response


def warm_up(model: SavedModel) -> float:
    """Runs the requests that an export recorded, so that the first real request is fast.

    Args:
        model: Not in use yet.

    Returns:
        Seconds it took; 0 without records.

    Raises:
        ServerError: The file is damaged, or the model refuses one of its requests.
    """
    path = model.folder / WARMUP_FILE
    if not path.is_file():
        return 0.0
    start, limits = time.perf_counter(), Limits()

    def run(work: Work) -> dict[str, np.ndarray]:
        return compute(work, limits)

    for index, log in enumerate(_read_warmup(path)):
        if index == _MAX_WARMUP_RECORDS:
            break
        kind = log.WhichOneof("log_type")
        try:
            if kind == "predict_log":
                predict(model, log.predict_log.request, run, limits)
            elif kind == "classify_log":
                classify(model, log.classify_log.request, run, limits)
            else:
                _logger.warning("%s: record %d, a %s, is not run here", path, index, kind)
        except RpcError as error:
            raise ServerError(f"{path}: warm-up record {index} fails: {error.text}") from None
    return time.perf_counter() - start


def check_images(values: np.ndarray, max_pixels: int, name: str) -> list[int]:
    """Refuses images that would decode to too many pixels, and animated WebP.

    Args:
        values: bytes objects, any shape. Data of unknown formats are accepted.
        max_pixels: For one image, over all its frames.
        name: Of the input, for errors.

    Returns:
        The pixels of each, in order; 0 for unknown formats.

    Raises:
        RpcError: INVALID_ARGUMENT, with the index of the image.
    """
    counts = [count_pixels(value) or 0 for value in values.flat]
    for index, pixels in enumerate(counts):
        if is_animated_webp(values.flat[index]):
            # TensorFlow 2.21 writes beyond the memory that it allocated for one.
            raise _bad_input(
                name,
                f"expected a still image. Received: an animated WebP as image {index}",
            )
        if pixels > max_pixels:
            raise _bad_input(
                name,
                f"expected images of at most {max_pixels:,} pixels. "
                f"Received: {pixels:,} in image {index}; scale it down first",
            )
    return counts


def _bad_input(name: str, text: str) -> RpcError:
    return RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"input {name[:80]!r}: {text}")


def _find_signature(model: SavedModel, name: str, unknown: grpc.StatusCode) -> LoadedSignature:
    """The signature of that name, or the default one; `unknown` is the code if there is none."""
    name = name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise RpcError(
            unknown,
            f'Serving signature name: "{name}" not found in signature def; '
            f"expected one of {', '.join(sorted(model.signatures))}",
        )
    return model.signatures[name]


def _check_names(signature: LoadedSignature, inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    extra = sorted(set(inputs) - set(signature.inputs))
    missing = sorted(set(signature.inputs) - set(inputs))
    if extra or missing:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"signature {signature.name!r}: expected inputs {{{_names(signature.inputs)}}}. "
            f"Sent extra: {{{_names(extra)}}}. Missing but required: {{{_names(missing)}}}",
        )


def _choose_outputs(signature: LoadedSignature, wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in signature.outputs:
            raise RpcError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {name[:80]}. Outputs expected to be "
                f"in the set {{{_names(signature.outputs)}}}",
            )
    if len(set(wanted)) < len(wanted):
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"expected each output once in output_filter. Received: {_names(wanted)}",
        )
    return list(wanted) or list(signature.outputs)


def _names(names: Iterable[str]) -> str:
    return ", ".join(name[:80] for name in list(names)[:20])


def _read_input(info: TensorInfo, proto: tensor_pb2.TensorProto) -> np.ndarray:
    received = ""
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.dtype != info.dtype:
        received = f"dtype {_dtype_name(proto.dtype)}"
    elif not info.accepts(shape) or proto.tensor_shape.unknown_rank:
        received = f"shape {shape if len(shape) <= 8 else f'{len(shape)} dimensions'}"
    if received:
        raise _bad_input(info.name, f"expected {info}. Received: {received}")
    try:
        array = decode_tensor(proto, empty_is_zeros=True)
    except TensorError as error:
        raise _bad_input(info.name, str(error)) from None
    if proto.dtype == types_pb2.DT_BFLOAT16:  # which is decoded to float32
        return array.astype(tf.bfloat16.as_numpy_dtype)
    return array


def _dtype_name(number: int) -> str:
    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return str(number)


def _check_rows(
    signature: LoadedSignature, inputs: Mapping[str, np.ndarray], limits: Limits
) -> None:
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1 or max(sizes) > limits.max_rows:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"signature {signature.name!r}: expected the same number of rows in every input, "
            f"at most {limits.max_rows:,}. Received: {', '.join(map(str, sorted(sizes)))}",
        )


def _check_classifies(signature: LoadedSignature) -> None:
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


def _read_examples(given: input_pb2.Input, limits: Limits) -> list[example_pb2.Example]:
    if given.WhichOneof("kind") == "example_list_with_context":
        # Features of the example override those of the context.
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


def _count_example_pixels(example: example_pb2.Example, limits: Limits) -> int:
    return sum(
        sum(check_images(_objects(feature.bytes_list.value), limits.max_pixels, name))
        for name, feature in example.features.feature.items()
    )


def _objects(values: Iterable[bytes]) -> np.ndarray:
    listed = list(values)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array


def _classification_result(
    signature: LoadedSignature, outputs: dict[str, np.ndarray], rows: int
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


def _read_warmup(path: Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except (tf.errors.OpError, DecodeError):
        raise ServerError(
            f"{path}: expected a TFRecord file of PredictionLog. Received: a damaged file; "
            "export the model again"
        ) from None
