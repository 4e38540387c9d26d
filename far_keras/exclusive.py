"""One process at a time in a folder that a long job writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from far_keras.errors import FarError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["exclusive"]


@contextmanager
def exclusive(folder: str | Path, error: type[FarError]) -> Iterator[None]:
    """Keeps a folder for this process while the block runs.

    Two jobs in one folder would do all work twice and take each other's unfinished files away. The
    lock is the system's: no file is left, and it ends with the process, whatever ends that. Where
    folders cannot be locked (Windows, some network drives) nothing is checked.

    Args:
        folder: It must exist.
        error: What to raise.

    Raises:
        FarError: Of the kind asked for: another process is at work there.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as refusal:
            if refusal.errno in (errno.EAGAIN, errno.EACCES):
                raise error(
                    f"{folder}: another process is at work in this folder. Wait until it has "
                    "ended, or stop it; then run the same again"
                ) from refusal
        yield
    finally:
        os.close(descriptor)
