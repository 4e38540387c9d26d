"""Long jobs: a journal of finished items, so that a job can resume, and a pool of processes.

Used by annotation, prediction, rendering and the quickstart. A job writes each finished item to its
`Journal`; when the same command runs again, items in the journal are skipped.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from far_keras.errors import FarError
from far_keras.files import writing

__all__ = ["Journal", "WorkerPool", "check_settings", "stop_requested", "usable_cores"]

State = TypeVar("State")
Task = TypeVar("Task")
Result = TypeVar("Result")

_FORMAT = 2
_WATCH_SECONDS = 5.0  # between two looks at the workers while a result is awaited
_IN_FLIGHT = 4  # submitted tasks per worker: enough that none waits for the consumer
_RESUME = "Free some space or choose another location, then run the same command again: it resumes"


def check_settings(
    where: str | Path,
    stored: Mapping[str, Any],
    wanted: Mapping[str, Any],
    error: type[FarError],
    advice: str = "Use the same settings, or choose another location",
) -> None:
    """Refuses to resume a job with other settings.

    Args:
        where: The file or folder of the job, for the message.
        stored: Settings that the job was started with.
        wanted: Settings of this run.
        error: Class of the exception to raise.
        advice: What the user should do.

    Raises:
        FarError: The two differ; the message lists each setting with both values.
    """
    wanted = json.loads(json.dumps(wanted))
    names = sorted(name for name in {*stored, *wanted} if stored.get(name) != wanted.get(name))
    if names:
        changes = ", ".join(
            f"{name} = {_short(stored.get(name))}, not {_short(wanted.get(name))}" for name in names
        )
        raise error(f"{where}: was started with other settings: {changes}. {advice}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class Journal:
    """The finished items of a job: an append-only file of JSON lines.

    The first line holds the settings, every other line one item: its key and its value. A line is
    passed to the system as a whole, so a killed process loses only the items in progress. An
    incomplete last line, left by a power cut, is removed.

    Args:
        path: The file. It is created with the first item, so that a job that fails at once leaves
            nothing behind.
        settings: Everything that the values depend on (JSON data).
        error: Class of the exceptions to raise.
        on_item: Called with the key and the value of each stored and each added item.

    Raises:
        FarError: The file is not a journal, is damaged, was started with other settings, or cannot
            be read.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        error: type[FarError],
        on_item: Callable[[str, Any], None] | None = None,
    ) -> None:
        self.path = path
        self._settings, self._error = settings, error
        self._on_item = on_item or (lambda key, value: None)
        self._positions: dict[str, int] = {}  # byte offset of each item's line
        self._file: IO[bytes] | None = None
        if path.exists():
            try:
                self._file = path.open("r+b")
                self._load(self._file)
            except OSError as reason:
                self.close()
                raise error(f"{path}: cannot read: {reason.strerror or reason}") from reason
            except BaseException:
                self.close()
                raise

    def __contains__(self, key: str) -> bool:
        return key in self._positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, key: str) -> Any:
        """The value of a finished item; KeyError if it is not finished."""
        position = self._positions[key]
        assert self._file is not None
        self._file.seek(position)
        return json.loads(self._file.readline())["value"]

    def keys(self) -> list[str]:
        """Keys of the finished items, in the order in which they were first added."""
        return list(self._positions)

    def add(self, items: Mapping[str, Any]) -> None:
        """Appends finished items; an item that was finished before gets its new value.

        Raises:
            FarError: The journal cannot be written, for instance because the disk is full.
        """
        with writing(self.path, self._error, _RESUME):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w+b")
                self._file.write(_line({"format": _FORMAT, "settings": self._settings}))
            position = self._file.seek(0, os.SEEK_END)
            text = b""
            for key, value in items.items():
                self._positions[key] = position + len(text)
                self._on_item(key, value)
                text += _line({"key": key, "value": value})
            self._file.write(text)
            self._file.flush()

    def close(self, *, remove: bool = False) -> None:
        """Closes the file, and deletes it on request (after the job's last step)."""
        if self._file is not None:
            with suppress(OSError):  # of items that `add` could not write, and has reported
                self._file.close()
            self._file = None
        if remove:
            self.path.unlink(missing_ok=True)

    def _load(self, file: IO[bytes]) -> None:
        header = _parse(file.readline())
        if (
            header is None
            or header.get("format") != _FORMAT
            or not isinstance(header.get("settings"), dict)
        ):
            raise self._error(
                f"{self.path}: expected the journal of an interrupted job. Received: another file. "
                "Delete it, or choose another location"
            )
        check_settings(
            self.path,
            header["settings"],
            self._settings,
            self._error,
            "Use the same settings, choose another location, or delete this file to start over",
        )
        end = file.tell()
        for line in iter(file.readline, b""):
            item = _parse(line) if line.endswith(b"\n") else None
            if item is None or not isinstance(item.get("key"), str) or "value" not in item:
                if file.read(1):  # not the last line: nothing that an interruption does
                    raise self._error(
                        f"{self.path}: line at byte {end} is damaged. Delete the file to start over"
                    )
                break
            self._positions[item["key"]] = end
            self._on_item(item["key"], item["value"])
            end += len(line)
        if file.seek(0, os.SEEK_END) > end:  # else the file stays as it is, with its time
            file.truncate(end)


def _line(data: Any) -> bytes:
    # ASCII escapes, because file names may contain bytes that are not UTF-8.
    return json.dumps(data).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def usable_cores() -> int:
    """Number of cores that this process may use (its CPU affinity, where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerPool(Generic[State]):
    """Worker processes, each with a state of its own (a detector, a model).

    Processes are spawned, not forked: TensorFlow, MediaPipe and LiteRT do not survive a fork. So a
    script must call this under ``if __name__ == "__main__":``. Workers ignore Ctrl-C, which the
    parent handles, and end when the parent is killed.

    Args:
        factory: Creates the state in each worker, at its first task; picklable. A state with a
            ``close`` method is closed if it lives in this process.
        workers: Number of processes, at least 1.
        error: Class of the exception to raise when a worker dies.
        in_process: Whether a single worker works in this process instead of a new one.
        environment: Environment variables of the worker processes.

    Example:
        >>> with WorkerPool(dict, 1, FarError) as pool:
        ...     list(pool.map(lambda state, task: task + 1, [1, 2]))
        [2, 3]
    """

    def __init__(
        self,
        factory: Callable[[], State],
        workers: int,
        error: type[FarError],
        *,
        in_process: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._factory, self._workers, self._error = factory, workers, error
        self._environment = environment or {}
        self._state: State | None = None
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1 or not in_process:
            context = get_context("spawn")
            self._stop = context.Event()
            self._pool = ProcessPoolExecutor(workers, context, _start_worker, (factory, self._stop))

    def map(
        self, function: Callable[[State, Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Result]:
        """Yields ``function(state, task)`` of each task, in the order of the tasks.

        At most four tasks per worker are in progress, so memory stays bounded.

        Args:
            function: Picklable, unless it runs in this process.
            tasks: Picklable, unless they run in this process.

        Raises:
            FarError: A worker process died.
        """
        if self._pool is None:
            for task in tasks:
                if self._state is None:
                    self._state = self._factory()
                yield function(self._state, task)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                pending.append(self._submit(function, task))
                if len(pending) >= _IN_FLIGHT * self._workers:
                    yield self._result(pending.popleft())
            while pending:
                yield self._result(pending.popleft())
        except BrokenProcessPool as reason:
            raise self._error(
                "a worker process died, perhaps because memory ran out. Run the same command "
                "again: it resumes; fewer workers need less memory"
            ) from reason

    def _submit(self, function: Callable[[State, Task], Result], task: Task) -> Future[Result]:
        pool: Any = self._pool
        try:
            with _environment(self._environment):  # of a worker that starts now
                return pool.submit(_run, function, task)
        except OSError as reason:  # a worker died while another one started
            raise BrokenProcessPool(str(reason)) from reason

    def _result(self, future: Future[Result]) -> Result:
        """The result of a task, also if a worker died in a way that the executor does not notice.

        The executor waits forever for the rest of a result if the worker dies while it sends it.
        """
        pool: Any = self._pool
        while not wait([future], _WATCH_SECONDS).done:
            workers = list((pool._processes or {}).values())
            if all(worker.is_alive() for worker in workers):
                continue
            ended = not pool._executor_manager_thread.is_alive()
            if ended and not future.done():
                raise BrokenProcessPool("the executor ended without a result")
            for worker in workers:
                worker.kill()
            pool._result_queue._writer.close()  # so that the executor reads the end of the pipe
        return future.result()

    def close(self) -> None:
        """Ends the workers after the tasks in progress; tasks can poll `stop_requested`."""
        if self._pool is not None:
            self._stop.set()
            workers = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=True, cancel_futures=True)
            for worker in workers:  # one that started while the pool broke, which nothing else ends
                worker.kill()
        if self._state is not None and hasattr(self._state, "close"):
            self._state.close()
        self._state = None

    def __enter__(self) -> WorkerPool[State]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Worker:
    """What a worker process holds."""

    factory: Callable[[], Any]
    state: Any = None
    stop: Any = None  # multiprocessing.Event


def stop_requested() -> bool:
    """Whether the parent asked this worker to stop; False outside a `WorkerPool`'s worker."""
    return _Worker.stop is not None and _Worker.stop.is_set()


def _start_worker(factory: Callable[[], Any], stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.factory, _Worker.stop = staticmethod(factory), stop


def _end_with_parent() -> None:
    """Ends this process when its parent is killed, which ProcessPoolExecutor does not do."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _run(function: Callable[[Any, Any], Any], task: Any) -> Any:
    if _Worker.state is None:  # here, since errors of an initializer do not reach the parent
        _Worker.state = _Worker.factory()
    return function(_Worker.state, task)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
