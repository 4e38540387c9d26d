"""Silences start-up notices of native libraries, and imports TensorFlow without them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from far_keras.extras import require_modules

__all__ = ["load_tensorflow", "quiet"]

_stderr_lock = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Drops what native code writes to standard error within the block.

    MediaPipe prints a dozen lines per model, TensorFlow per process, and no setting turns them off.
    Standard error belongs to the process: lines of other threads are dropped too, so keep blocks
    short.
    """
    with _stderr_lock:
        sys.stderr.flush()
        try:
            saved = os.dup(2)
        except OSError:  # standard error is closed: nothing to hide
            yield
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(sink)


def load_tensorflow(threads: int | None = None) -> None:
    """Imports TensorFlow and initializes its devices, without the notices that both print.

    Args:
        threads: Number of threads that share one operation, in the whole process; 0 for one per
            core, None for the current setting. No effect once the process has used TensorFlow.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    require_modules("train", "running a network in TensorFlow", ["tensorflow"])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet():
        import tensorflow as tf

        if threads is not None:
            with suppress(RuntimeError):  # a process that has used TensorFlow keeps its threads
                tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.list_logical_devices()
