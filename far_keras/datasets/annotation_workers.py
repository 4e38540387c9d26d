"""Annotates images in several processes, in order, with little in flight."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

from far_keras.datasets.picture import AnnotatedPicture, PictureAnnotator, PictureTask
from far_keras.errors import DatasetError

__all__ = ["annotate_chunks"]

# Chunks handed out per worker: enough that none waits while the results of others are written.
_IN_FLIGHT = 4

_annotator: PictureAnnotator | None = None  # of a worker process


def annotate_chunks(
    chunks: Sequence[Sequence[PictureTask]], workers: int, model: str | Path
) -> Iterator[list[AnnotatedPicture]]:
    """Yields the annotated images of each chunk, in the order of the chunks.

    Args:
        chunks: Lists of images that one worker does at a time.
        workers: Number of processes; 1 works in this process.
        model: Path of the landmark model.

    Raises:
        DatasetError: An image's region map is damaged, or a worker process died.
    """
    if workers == 1:
        annotator = PictureAnnotator(model)
        try:
            for chunk in chunks:
                yield [annotator.annotate(task) for task in chunk]
        finally:
            annotator.close()
        return

    # Spawned, not forked: the landmark model and TensorFlow do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (str(model),))
    try:
        waiting: deque[Future[list[AnnotatedPicture]]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(_annotate_in_worker, list(chunk)))
            if len(waiting) >= _IN_FLIGHT * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DatasetError(
            "a worker process died, perhaps because memory ran out. Run the same again: finished "
            "record files are kept; with fewer workers it takes less memory"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(model: str) -> None:
    global _annotator
    # Ctrl-C reaches the whole process group; the parent alone decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _annotator = PictureAnnotator(model)


def _end_with_parent() -> None:
    """Ends this process when its parent is killed, which a pool's worker does not notice."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _annotate_in_worker(tasks: list[PictureTask]) -> list[AnnotatedPicture]:
    assert _annotator is not None  # set by _start_worker
    return [_annotator.annotate(task) for task in tasks]
