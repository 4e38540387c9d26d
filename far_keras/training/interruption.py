"""Stopping a training at the end of a step instead of in the middle of one."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import keras

__all__ = ["StopAtStep", "StopRequestedError"]


class StopRequestedError(Exception):
    """Raised out of `fit` or `evaluate` at the end of a step after Ctrl-C or a termination."""


class StopAtStep(keras.callbacks.Callback):
    """A callback, and while entered a handler of SIGINT (Ctrl-C) and SIGTERM.

    The first signal lets the running step end and then raises `StopRequestedError`; a second Ctrl-C
    interrupts at once. Signals reach Python's main thread only: elsewhere nothing is changed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requested = False
        self.steps_done = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopAtStep:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # os.write, since a handler must not re-enter the buffered streams that it interrupts.
        os.write(2, b"\nstopping after this step; once more to stop at once\n")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps_done += 1
        self._check()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check()

    def _check(self) -> None:
        if self.requested:
            raise StopRequestedError
