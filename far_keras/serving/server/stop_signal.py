"""Waiting for SIGTERM or Ctrl-C in a process with many threads."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stop_signal"]

_STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signal() -> Iterator[Callable[[], None]]:
    """Gives the main thread a function that returns when SIGTERM or SIGINT has come.

    The system may hand a signal to any thread, and does so to one that is starting another thread
    at that moment. Python runs the handler in the main thread only, and wakes none that sleeps on
    a lock, as `threading.Event.wait` does: the signal would be lost. So the main thread reads from
    a socket, into which Python writes in whichever thread the signal came.

    After the block a further signal ends the process at once. For the main thread only.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            for number in _STOPPING:
                signal.signal(number, lambda *_: None)

            def wait() -> None:
                while not set(reader.recv(64)) & set(_STOPPING):
                    pass  # another signal that has a handler in Python

            yield wait
        finally:
            for number in _STOPPING:
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(previous)
