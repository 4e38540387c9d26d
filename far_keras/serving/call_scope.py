"""Calls that end together."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from far_keras.errors import ServingError

__all__ = ["CallScope"]


class CallScope:
    """The calls of one stream, which end with it.

    Attributes:
        cancelled: Set when they are to end.
    """

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._calls: set[Any] = set()

    def result(self, call: Any) -> Any:
        """Waits for a call.

        Args:
            call: A `grpc.Future` that has begun.

        Raises:
            ServingError: It was cancelled.
            grpc.RpcError: It failed.
        """
        with self._lock:
            self._calls.add(call)
        try:
            if self.cancelled.is_set():
                call.cancel()
            return call.result()
        except grpc.FutureCancelledError:
            raise ServingError("the stream was closed", "CANCELLED") from None
        finally:
            with self._lock:
                self._calls.discard(call)

    def cancel(self) -> None:
        """Ends all calls, and those that would begin later."""
        self.cancelled.set()
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()
