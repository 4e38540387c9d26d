"""Whose turn it is: few runs of models at once, a bounded queue, and merging of what waits.

No thread of its own: the thread of a request runs the model itself if a place is free. Otherwise
it waits, and whoever finishes hands the place to the one that has waited longest. With merging,
what else waits for the same signature with the same shapes goes along in one run. So a lone
request never waits for company, and under load batches grow by themselves.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import grpc
import numpy as np

from far_keras.serving.server.limits import Limits
from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.work import Work, compute

__all__ = ["Scheduler"]


class _Ticket:
    """A piece of work in the queue, and what becomes of it."""

    def __init__(self, work: Work, merges: bool):
        self.work = work
        self.since = time.perf_counter()
        self.rows = work.rows
        self.pixels = sum(work.pixels)
        signature = work.signature
        shapes = tuple((array.dtype, array.shape[1:]) for array in work.inputs.values())
        self.key = (id(signature), shapes) if merges and signature.by_row else None
        self.turn = threading.Lock()  # released when the outcome, or the place, is there
        self.turn.acquire()
        self.batch: list[_Ticket] | None = None  # of the one who has to run
        self.outcome: dict[str, np.ndarray] | BaseException | None = None

    def result(self) -> dict[str, np.ndarray]:
        if isinstance(self.outcome, dict):
            return self.outcome
        raise self.outcome or RuntimeError("a run ended without an outcome")


class Scheduler:
    """Runs work in the threads that bring it.

    Args:
        places: Runs at once.
        max_queue: Pieces of work that may wait; more are refused.
        limits: Of one run.
        merges: Whether rows of several requests may share a run.
        on_turn: Told of each piece of work whose turn has come, and of the seconds it waited.
        on_run: Told of each run: the first piece of work in it, its rows and its seconds.
    """

    def __init__(
        self,
        *,
        places: int,
        max_queue: int,
        limits: Limits,
        merges: bool = False,
        on_turn: Callable[[Work, float], None] | None = None,
        on_run: Callable[[Work, int, float], None] | None = None,
    ):
        self._free = places
        self._max_queue = max_queue
        self._limits = limits
        self._merges = merges
        self._on_turn = on_turn
        self._on_run = on_run
        self._lock = threading.Lock()
        self._queue: deque[_Ticket] = deque()

    @property
    def waiting(self) -> int:
        """Pieces of work in the queue."""
        return len(self._queue)

    def run(self, work: Work, timeout: float | None = None) -> dict[str, np.ndarray]:
        """The outputs, when the work's turn has come.

        Args:
            work: What to compute.
            timeout: Seconds that its caller still waits; None for as long as it takes.

        Raises:
            RpcError: RESOURCE_EXHAUSTED if too many wait already, DEADLINE_EXCEEDED if the turn
                did not come in time, or what `compute` raises.
        """
        ticket = _Ticket(work, self._merges)
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
        if ticket.turn.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return
        with self._lock:
            if ticket in self._queue:
                self._queue.remove(ticket)
                raise RpcError(
                    grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the turn came"
                )
        ticket.turn.acquire()  # a run of others has it along by now

    def _lead(self, batch: list[_Ticket]) -> None:
        """Runs a batch, answers all in it, and hands the place on."""
        try:
            self._run_batch(batch)
        except BaseException as error:
            for ticket in batch:
                ticket.outcome = ticket.outcome or error
            raise
        finally:
            batch[0].batch = None
            self._hand_on()  # the next run begins while these answers are written
            for ticket in batch[1:]:
                ticket.turn.release()

    def _hand_on(self) -> None:
        with self._lock:
            batch = self._next_batch()
            if batch:
                batch[0].batch = batch
            else:
                self._free += 1
        if batch:
            batch[0].turn.release()

    def _next_batch(self) -> list[_Ticket]:
        """Takes the longest waiting ticket out of the queue, and what may share its run."""
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
            if self._on_turn is not None:
                self._on_turn(ticket.work, time.perf_counter() - ticket.since)
            if ticket.work.is_wanted():
                wanted.append(ticket)
            else:
                ticket.outcome = RpcError(
                    grpc.StatusCode.DEADLINE_EXCEEDED, "the call ended before its turn came"
                )
        if len(wanted) > 1 and self._run_merged(wanted):
            return
        for ticket in wanted:
            start = time.perf_counter()
            try:
                ticket.outcome = compute(ticket.work, self._limits)
            except RpcError as error:
                ticket.outcome = error
            self._report([ticket], start)

    def _run_merged(self, batch: list[_Ticket]) -> bool:
        """Whether one run answered all: a refusal does not say whose input it is about."""
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
        self._report(batch, start)
        position = 0
        for ticket in batch:
            rows_of_it = slice(position, position + ticket.rows)
            ticket.outcome = {name: array[rows_of_it] for name, array in outputs.items()}
            position += ticket.rows
        return True

    def _report(self, batch: list[_Ticket], start: float) -> None:
        if self._on_run is not None:
            rows = sum(ticket.rows for ticket in batch)
            self._on_run(batch[0].work, rows, time.perf_counter() - start)
