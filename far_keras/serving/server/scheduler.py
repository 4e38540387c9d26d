"""Schedules runs of models: few at once, a bounded queue, and batches of waiting requests.

There is no thread of its own: a request's thread runs the model itself if a slot is free. Otherwise
it waits in the queue; whoever finishes passes the slot to the first in the queue. With batching,
waiting requests for the same signature with the same shapes join that run. So a single request
never waits for others, and batches grow with the load.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import numpy as np
import tensorflow as tf

from far_keras.serving.server.image_headers import count_pixels, image_format
from far_keras.serving.server.limits import Limits, RpcError
from far_keras.serving.server.saved_model import LoadedSignature

if TYPE_CHECKING:
    from far_keras.serving.server.metrics import ServerMetrics

__all__ = ["Scheduler", "Work", "compute", "count_bytes"]

_logger = logging.getLogger(__name__)
_CODES = {code.value[0]: code for code in grpc.StatusCode}  # TensorFlow has the same numbers
_FORMATS = ("JPEG", "PNG")  # which the graphs of `far_keras.export` decode


@dataclass(eq=False)
class Work:
    """One call of a signature with checked inputs.

    Args:
        signature: To be called.
        inputs: An array for each of its inputs.
        pixels: Of each encoded image among the inputs.
        is_wanted: Whether the caller still waits for the outputs.
        model: Name of the model, for metrics.
    """

    signature: LoadedSignature
    inputs: dict[str, np.ndarray]
    pixels: list[int] = field(default_factory=list)
    is_wanted: Callable[[], bool] = lambda: True
    model: str = ""

    @property
    def rows(self) -> int:
        """The size of the inputs' first dimension; 1 if that is not a batch."""
        return len(next(iter(self.inputs.values()))) if self.signature.by_row else 1

    def parts(self, limits: Limits) -> Iterator[dict[str, np.ndarray]]:
        """The inputs, split into parts that each fit into one run."""
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
    """Runs the model at once, in this thread.

    Args:
        work: What to compute.
        limits: Of each run into which it is split.

    Raises:
        RpcError: The model refuses the inputs, the outputs are too large, or the caller left.
    """
    results: list[dict[str, np.ndarray]] = []
    size = 0
    for part in work.parts(limits):
        if not work.is_wanted():
            raise _left()
        results.append(_run(work, part))
        size += sum(map(count_bytes, results[-1].values()))
        # Outputs that a filter drops are counted, too: at most twice what can be sent.
        if size > 2 * limits.max_response_bytes:
            raise RpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the response has more than {limits.max_response_bytes:,} bytes: send fewer rows",
            )
    if len(results) == 1:
        return results[0]
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def count_bytes(array: np.ndarray) -> int:
    """About the size of the array in a response."""
    return sum(map(len, array.flat)) if array.dtype == object else array.nbytes


class _Ticket:
    """A piece of work in the queue, and its outcome."""

    def __init__(self, work: Work, batching: bool):
        self.work = work
        self.since = time.perf_counter()
        self.rows = work.rows
        self.pixels = sum(work.pixels)
        signature = work.signature
        shapes = tuple((array.dtype, array.shape[1:]) for array in work.inputs.values())
        self.key = (id(signature), shapes) if batching and signature.by_row else None
        self.ready = threading.Lock()  # released when the outcome, or the slot, is there
        self.ready.acquire()
        self.batch: list[_Ticket] | None = None  # which this ticket's thread has to run
        self.outcome: dict[str, np.ndarray] | BaseException | None = None

    def result(self) -> dict[str, np.ndarray]:
        if isinstance(self.outcome, dict):
            return self.outcome
        raise self.outcome or RuntimeError("a run ended without an outcome")


class Scheduler:
    """Runs work in the threads that bring it.

    Args:
        parallel_runs: Runs at once.
        max_queue: Pieces of work that may wait; more are refused.
        limits: Of one run.
        batching: Whether rows of several requests may share a run.
        metrics: Receives the time of each piece of work in the queue, and each run.
    """

    def __init__(
        self,
        *,
        parallel_runs: int,
        max_queue: int,
        limits: Limits,
        batching: bool,
        metrics: ServerMetrics,
    ):
        self._free = parallel_runs
        self._max_queue = max_queue
        self._limits = limits
        self._batching = batching
        self._metrics = metrics
        self._lock = threading.Lock()
        self._queue: deque[_Ticket] = deque()

    @property
    def waiting(self) -> int:
        """Pieces of work in the queue."""
        return len(self._queue)

    def run(self, work: Work, timeout: float | None = None) -> dict[str, np.ndarray]:
        """The outputs of the work, after its time in the queue.

        Args:
            work: What to compute.
            timeout: Seconds that its caller still waits; None for no limit.

        Raises:
            RpcError: RESOURCE_EXHAUSTED if the queue is full, DEADLINE_EXCEEDED if the work is
                still queued after `timeout`; also as `compute`.
        """
        ticket = _Ticket(work, self._batching)
        with self._lock:
            if self._free:
                self._free -= 1
                ticket.batch = [ticket]
            elif len(self._queue) >= self._max_queue:
                raise RpcError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"the server is busy: {self._max_queue} requests wait already; try again later",
                )
            else:
                self._queue.append(ticket)
        if ticket.batch is None:
            self._wait(ticket, timeout)
        if ticket.batch is not None:
            self._lead(ticket.batch)
        return ticket.result()

    def _wait(self, ticket: _Ticket, timeout: float | None) -> None:
        if ticket.ready.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return
        with self._lock:
            if ticket in self._queue:
                self._queue.remove(ticket)
                raise RpcError(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    "the deadline passed while the request was queued",
                )
        ticket.ready.acquire()  # it has just become part of a run

    def _lead(self, batch: list[_Ticket]) -> None:
        """Runs a batch, releases all in it, and passes the slot on."""
        try:
            self._run_batch(batch)
        except BaseException as error:
            for ticket in batch:
                ticket.outcome = ticket.outcome or error
            raise
        finally:
            batch[0].batch = None
            self._pass_on()  # the next run begins while these responses are written
            for ticket in batch[1:]:
                ticket.ready.release()

    def _pass_on(self) -> None:
        with self._lock:
            batch = self._next_batch()
            if batch:
                batch[0].batch = batch
            else:
                self._free += 1
        if batch:
            batch[0].ready.release()

    def _next_batch(self) -> list[_Ticket]:
        """Removes the first ticket from the queue, and those that may share its run."""
        if not self._queue:
            return []
        first = self._queue.popleft()
        batch, rows, pixels = [first], first.rows, first.pixels
        if first.key is not None:
            for ticket in list(self._queue):
                fits = (
                    rows + ticket.rows <= self._limits.max_batch
                    and pixels + ticket.pixels <= self._limits.max_pixels
                )
                if ticket.key == first.key and fits:
                    self._queue.remove(ticket)
                    batch.append(ticket)
                    rows, pixels = rows + ticket.rows, pixels + ticket.pixels
        return batch

    def _run_batch(self, batch: list[_Ticket]) -> None:
        wanted = []
        for ticket in batch:
            self._metrics.count_wait(ticket.work, time.perf_counter() - ticket.since)
            if ticket.work.is_wanted():
                wanted.append(ticket)
            else:
                ticket.outcome = _left()
        if len(wanted) > 1 and self._run_merged(wanted):
            return
        for ticket in wanted:
            start = time.perf_counter()
            try:
                ticket.outcome = compute(ticket.work, self._limits)
            except RpcError as error:
                ticket.outcome = error
            self._metrics.count_run(ticket.work, ticket.rows, time.perf_counter() - start)

    def _run_merged(self, batch: list[_Ticket]) -> bool:
        """Whether one run served all: a refusal does not tell whose input it is about."""
        works = [ticket.work for ticket in batch]
        inputs = {
            name: np.concatenate([work.inputs[name] for work in works]) for name in works[0].inputs
        }
        start = time.perf_counter()
        try:
            outputs = compute(Work(works[0].signature, inputs), self._limits)
        except RpcError:
            return False
        rows = sum(ticket.rows for ticket in batch)
        if any(len(array) != rows for array in outputs.values()):
            return False
        self._metrics.count_run(works[0], rows, time.perf_counter() - start)
        first = 0
        for ticket in batch:
            own = slice(first, first + ticket.rows)
            ticket.outcome = {name: array[own] for name, array in outputs.items()}
            first += ticket.rows
        return True


def _left() -> RpcError:
    return RpcError(
        grpc.StatusCode.DEADLINE_EXCEEDED, "the call ended while the request was queued"
    )


def _run(work: Work, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    try:
        return work.signature(inputs)
    except MemoryError:
        raise RpcError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "the inputs need more memory than there is"
        ) from None
    except (tf.errors.OpError, TypeError, ValueError) as error:
        # The error's text quotes the graph, which is only for the server's log.
        _logger.debug("%s: %s", work.signature.name, error)
        code = grpc.StatusCode.INVALID_ARGUMENT
        if isinstance(error, tf.errors.OpError):
            code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
        raise RpcError(code, _describe_failure(work, code)) from None


def _describe_failure(work: Work, code: grpc.StatusCode) -> str:
    signature = work.signature
    for name, array in work.inputs.items():
        if name != "image_bytes" or array.dtype != object:
            continue
        for index, value in enumerate(array.flat):
            if count_pixels(value) is None:
                problem = "no JPEG, PNG, GIF, WebP or BMP" if value else "empty"
                return f"input {name!r}: image {index} is {problem}"
            if (kind := image_format(value)) not in _FORMATS:
                return (
                    f"input {name!r}: image {index} is {kind}, which exported models do not "
                    f"decode; send {' or '.join(_FORMATS)}"
                )
    expected = ", ".join(f"{name} {info}" for name, info in signature.inputs.items())
    received = ", ".join(f"{name} {array.shape}" for name, array in work.inputs.items())
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return (
            f"signature {signature.name!r} refuses the values of its inputs ({expected}). "
            f"Received: {received}; check that images are whole and sizes fit"
        )
    return f"signature {signature.name!r} fails for {received}"
