"""Answers images in several processes, in order, with little in flight."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import takewhile
from multiprocessing import connection, get_context, parent_process
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from far_keras.errors import OutputError
from far_keras.recognition.annotated import write_annotated
from far_keras.recognition.batch.columns import Row, rows_of

if TYPE_CHECKING:
    from far_keras.recognition.recognizer import Recognizer

__all__ = ["Answerable", "Answered", "Task", "WorkerSettings", "Workers"]

Task = tuple[Path, Path | None]
"""An image, and where to write its annotated copy."""

Answered = list[tuple[str, list[Row]]]

# Chunks handed out per worker: enough that none waits while another's chunk takes long.
_IN_FLIGHT = 4


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process needs to make its recogniser.

    Args:
        model: A path, see `open_engine`.
        sensitive: Whether sensitive attributes are answered.
        children: Whether faces with a child's proportions are decided like others.
        batch_size: Faces answered at once.
        threads: Of one operation of TensorFlow, where it runs the model; None leaves it to
            TensorFlow.
    """

    model: str
    sensitive: bool
    children: bool
    batch_size: int
    threads: int | None = None

    def load(self) -> Recognizer:
        """Makes the recogniser."""
        if self.threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(self.threads)
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(self.threads)
        from far_keras.quiet import load_tensorflow
        from far_keras.recognition.engines.opening import needs_tensorflow
        from far_keras.recognition.recognizer import Recognizer

        if needs_tensorflow(self.model):
            load_tensorflow()
        return Recognizer.load(
            self.model,
            sensitive=self.sensitive,
            children=self.children,
            batch_size=self.batch_size,
        )


@dataclass(frozen=True)
class Answerable:
    """What the model of the workers answers, see `Recognizer`'s attributes."""

    attributes: tuple[str, ...]
    untrained: tuple[str, ...]
    left_out: tuple[str, ...]
    description: str


class Workers:
    """Processes that each have a detector and a model of their own.

    Args:
        settings: What each makes its recogniser of.
        count: How many; 1 works in this process.

    Attributes:
        answerable: What the model answers.

    Raises:
        FarError: As `Recognizer.load`.
    """

    def __init__(self, settings: WorkerSettings, count: int) -> None:
        self._count = count
        self._local: Recognizer | None = None
        self._pool: ProcessPoolExecutor | None = None
        if count == 1:
            self._local = settings.load()
            self.answerable = _answerable(self._local)
            return
        # Spawned, not forked: MediaPipe and TensorFlow do not survive a fork.
        context = get_context("spawn")
        self._stop = context.Event()
        self._pool = ProcessPoolExecutor(count, context, _start, (settings, self._stop))
        try:
            # As many calls as processes, so that all begin to load at once.
            calls = [self._pool.submit(_describe) for _ in range(count)]
            self.answerable = calls[0].result()
        except BrokenProcessPool as error:
            self.close()
            raise _died() from error
        except BaseException:
            self.close()
            raise

    def answer(self, chunks: Sequence[Sequence[Task]]) -> Iterator[Answered]:
        """The rows of each chunk's images, in the order of the chunks.

        Raises:
            OutputError: A worker process died.
            OSError: An annotated copy cannot be written.
        """
        if self._local is not None:
            for chunk in chunks:
                yield from (
                    [answered] for answered in _answer_chunk(self._local, chunk, lambda: False)
                )
            return
        assert self._pool is not None
        waiting: deque[Future[Answered]] = deque()
        try:
            for chunk in chunks:
                waiting.append(self._pool.submit(_answer_in_worker, list(chunk)))
                if len(waiting) >= _IN_FLIGHT * self._count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise _died() from error

    def close(self) -> None:
        """Ends the processes after the images that they have in work."""
        if self._local is not None:
            self._local.close()
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _died() -> OutputError:
    return OutputError(
        "a worker process died, perhaps because memory ran out. Run the same again: it continues; "
        "with fewer --workers it takes less memory"
    )


# In a worker process:

_settings: WorkerSettings
_stop: Event
_recognizer: Recognizer | None = None


def _start(settings: WorkerSettings, stop: Event) -> None:
    global _settings, _stop
    # Ctrl-C reaches the whole process group; the parent alone decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _settings, _stop = settings, stop


def _end_with_parent() -> None:
    """Ends this process when its parent is killed, which a pool's worker does not notice."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _own() -> Recognizer:
    # Not in `_start`, whose errors do not reach the parent.
    global _recognizer
    if _recognizer is None:
        _recognizer = _settings.load()
    return _recognizer


def _describe() -> Answerable:
    return _answerable(_own())


def _answerable(recognizer: Recognizer) -> Answerable:
    return Answerable(
        recognizer.attributes,
        recognizer.untrained,
        recognizer.left_out,
        recognizer.engine.description.to_json(),
    )


def _answer_in_worker(chunk: Sequence[Task]) -> Answered:
    return list(_answer_chunk(_own(), chunk, _stop.is_set))


def _answer_chunk(
    recognizer: Recognizer, chunk: Sequence[Task], stopped: Callable[[], bool]
) -> Iterator[tuple[str, list[Row]]]:
    files = takewhile(lambda _: not stopped(), (file for file, _ in chunk))
    for (file, copy), result in zip(chunk, recognizer.stream(files), strict=False):
        if copy is not None:
            write_annotated(file, result, copy)
        yield result.file, rows_of(result, recognizer.attributes)
