"""One computation that a request asks for: its inputs, its size, and whether anyone still waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc
import numpy as np
import tensorflow as tf

from far_keras.serving.server.limits import Limits
from far_keras.serving.server.pictures import count_pixels, picture_format
from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.saved_model import Signature

__all__ = ["Work", "compute", "count_bytes"]

_logger = logging.getLogger(__name__)
_CODES = {code.value[0]: code for code in grpc.StatusCode}  # the same numbers in TensorFlow

_FORMATS = ("JPEG", "PNG")  # what the graphs of `far_keras.export` decode


def _always() -> bool:
    return True


@dataclass(eq=False)
class Work:
    """Inputs that were checked, for a signature.

    Args:
        signature: What is to be called.
        inputs: An array for each of its inputs.
        pixels: Of each encoded image among the inputs.
        is_wanted: Whether the caller still waits for the answer.
        model: Name of the model, for metrics.
    """

    signature: Signature
    inputs: dict[str, np.ndarray]
    pixels: list[int] = field(default_factory=list)
    is_wanted: Callable[[], bool] = _always
    model: str = ""

    @property
    def rows(self) -> int:
        """The size of the inputs' first dimension; 1 where that is not a batch."""
        return len(next(iter(self.inputs.values()))) if self.signature.by_row else 1

    def parts(self, limits: Limits) -> Iterator[dict[str, np.ndarray]]:
        """The inputs, in pieces of which each may go into one run."""
        start, pixels = 0, 0
        for row in range(self.rows if self.signature.by_row else 0):
            cost = self.pixels[row] if len(self.pixels) == self.rows else 0
            if row > start and (
                row - start == limits.max_batch or pixels + cost > limits.max_pixels
            ):
                yield {name: array[start:row] for name, array in self.inputs.items()}
                start, pixels = row, 0
            pixels += cost
        yield {name: array[start:] for name, array in self.inputs.items()} if start else self.inputs


def compute(work: Work, limits: Limits) -> dict[str, np.ndarray]:
    """Runs the model.

    Args:
        work: What to compute.
        limits: Into how large runs it is cut.

    Raises:
        RpcError: The model refuses the inputs, or nobody waits any more.
    """
    answers: list[dict[str, np.ndarray]] = []
    for part in work.parts(limits):
        if not work.is_wanted():
            raise RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "the call ended before its turn came")
        answers.append(_run(work, part))
        _check_size(answers, limits)
    if len(answers) == 1:
        return answers[0]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _run(work: Work, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    try:
        return work.signature(inputs)
    except tf.errors.OpError as error:
        # Its text quotes the graph: that is for the server's own log.
        _logger.debug("%s: %s", work.signature.name, error.message)
        code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
        raise RpcError(code, _describe(work, code)) from None
    except MemoryError:
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        raise RpcError(code, "the inputs need more memory than there is") from None
    except (TypeError, ValueError) as error:
        _logger.debug("%s: %s", work.signature.name, error)
        code = grpc.StatusCode.INVALID_ARGUMENT
        raise RpcError(code, _describe(work, code)) from None


def _describe(work: Work, code: grpc.StatusCode) -> str:
    signature = work.signature
    for name, array in work.inputs.items():
        if name != "image_bytes" or array.dtype != object:
            continue
        for index, value in enumerate(array.flat):
            if count_pixels(value) is None:
                what = "no JPEG, PNG, GIF, WebP or BMP" if value else "empty"
                return f"input {name!r}: image {index} is {what}"
            if (kind := picture_format(value)) not in _FORMATS:
                return (
                    f"input {name!r}: image {index} is {kind}, which exported models do not "
                    f"decode; send {' or '.join(_FORMATS)}"
                )
    expected = ", ".join(f"{name} {spec}" for name, spec in signature.inputs.items())
    received = ", ".join(f"{name} {array.shape}" for name, array in work.inputs.items())
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return (
            f"signature {signature.name!r} refuses the values of its inputs ({expected}). "
            f"Received: {received}; check that images are whole and sizes fit"
        )
    return f"signature {signature.name!r} fails for {received}"


def count_bytes(array: np.ndarray) -> int:
    """About what the array takes in an answer."""
    return sum(map(len, array.flat)) if array.dtype == object else array.nbytes


def _check_size(answers: list[dict[str, np.ndarray]], limits: Limits) -> None:
    size = sum(count_bytes(array) for answer in answers for array in answer.values())
    # Outputs that a filter leaves out are counted, too: at most twice what can be sent.
    if size > 2 * limits.max_answer_bytes:
        raise RpcError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"the answer has more than {limits.max_answer_bytes:,} bytes: send fewer rows",
        )
