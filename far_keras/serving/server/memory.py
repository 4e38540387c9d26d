"""Gives the memory of an unloaded model back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc

__all__ = ["prepare_memory", "release_memory"]

_M_ARENA_MAX = -8  # of GNU's malloc.h


def prepare_memory() -> None:
    """Makes a process that loads and unloads models for long fit for it; call it before the first.

    TensorFlow brings a million objects along that never go. They are kept out of collections:
    looking at them all takes a tenth of a second or more, in which no request is answered.
    """
    gc.collect()
    gc.freeze()
    # malloc's areas for each thread, of which only the top can be given back.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def release_memory() -> None:
    """Frees what only cycles of references hold, as TensorFlow's graphs do, and what malloc keeps.

    Without it each reload of a model costs some 25 MB, for long or for good.
    """
    gc.collect()
    # Other C libraries than GNU's have no such function.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
