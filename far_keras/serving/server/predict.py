"""Predict: tensors in, tensors out, checked in the order that TensorFlow Serving checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from far_keras.serving.server.limits import Limits
from far_keras.serving.server.pictures import check_pictures
from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.saved_model import SavedModel, Signature, TensorSpec
from far_keras.serving.server.tensors import decode_tensor
from far_keras.serving.server.work import Work, compute

__all__ = ["DEFAULT_SIGNATURE", "Run", "find_signature", "predict", "run_alone"]

DEFAULT_SIGNATURE = "serving_default"

Run = Callable[[Work], dict[str, np.ndarray]]


def run_alone(work: Work) -> dict[str, np.ndarray]:
    """Computes at once, in this thread, without a queue."""
    return compute(work, Limits())


def predict(
    model: SavedModel,
    request: predict_pb2.PredictRequest,
    run: Run = run_alone,
    limits: Limits | None = None,
) -> dict[str, np.ndarray]:
    """Answers a request.

    Args:
        model: The version that was asked.
        request: Its model is not looked at, only its signature, inputs and output filter.
        run: Computes the outputs.
        limits: What the request may cost.

    Returns:
        The outputs that were asked for, by alias.

    Raises:
        RpcError: FAILED_PRECONDITION for an unknown signature; INVALID_ARGUMENT for unknown or
            missing inputs or outputs, and for tensors that do not fit; or what `run` raises.
    """
    limits = limits or Limits()
    signature = find_signature(model, request.model_spec.signature_name)
    _check_names(signature, request.inputs)
    chosen = _choose_outputs(signature, request.output_filter)
    inputs = {
        name: _read_input(spec, request.inputs[name]) for name, spec in signature.inputs.items()
    }
    work = Work(signature, inputs, _count_pixels(inputs, limits))
    if signature.by_row:
        _check_rows(work, limits)
    outputs = run(work)
    return {name: outputs[name] for name in chosen}


def find_signature(
    model: SavedModel,
    name: str,
    unknown: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION,
) -> Signature:
    """The signature of that name; of no name, the default one.

    Args:
        model: The version that was asked.
        name: What the request says.
        unknown: The code if there is none, in which TensorFlow Serving's methods differ.

    Raises:
        RpcError: There is none.
    """
    try:
        return model.signatures[name or DEFAULT_SIGNATURE]
    except KeyError:
        raise RpcError(
            unknown,
            f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def; '
            f"expected one of {', '.join(sorted(model.signatures))}",
        ) from None


def _check_names(signature: Signature, inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    extra = sorted(set(inputs) - set(signature.inputs))
    missing = sorted(set(signature.inputs) - set(inputs))
    if extra or missing:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"signature {signature.name!r}: expected inputs {{{_names(signature.inputs)}}}. "
            f"Sent extra: {{{_names(extra)}}}. Missing but required: {{{_names(missing)}}}",
        )


def _choose_outputs(signature: Signature, wanted: Sequence[str]) -> list[str]:
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


def _read_input(spec: TensorSpec, proto: tensor_pb2.TensorProto) -> np.ndarray:
    if proto.dtype != spec.dtype:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"input {spec.name!r}: expected {spec}. Received: dtype {_dtype_name(proto.dtype)}",
        )
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if not spec.takes(shape) or proto.tensor_shape.unknown_rank:
        received = shape if len(shape) <= 8 else f"{len(shape)} dimensions"
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"input {spec.name!r}: expected {spec}. Received: shape {received}",
        )
    return decode_tensor(proto, spec.name)


def _count_pixels(inputs: Mapping[str, np.ndarray], limits: Limits) -> list[int]:
    counts: list[int] = []
    for name, array in inputs.items():
        if array.dtype == object:
            counts += check_pictures(array, limits.max_pixels, name)
    return counts


def _check_rows(work: Work, limits: Limits) -> None:
    sizes = {len(array) for array in work.inputs.values()}
    if len(sizes) > 1 or max(sizes) > limits.max_rows:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"signature {work.signature.name!r}: expected the same number of rows in every input, "
            f"at most {limits.max_rows:,}. Received: {', '.join(map(str, sorted(sizes)))}",
        )


def _names(names: Iterable[str]) -> str:
    return ", ".join(name[:80] for name in list(names)[:20])


def _dtype_name(number: int) -> str:
    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return str(number)
