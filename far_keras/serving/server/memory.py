"""Gives the memory of an unloaded model back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc

__all__ = ["keep_out_of_collections", "release_memory"]


def keep_out_of_collections() -> None:
    """Lets later collections pass over what is in memory now.

    TensorFlow brings a million objects along that never go; looking at them all takes a collection
    a tenth of a second or more, in which no request is answered.
    """
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Frees what only cycles of references hold, as TensorFlow's graphs do, and what malloc keeps.

    Without it each reload of a model costs some 25 MB, for long or for good.
    """
    gc.collect()
    # Other C libraries than GNU's have no such function.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
