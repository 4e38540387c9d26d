"""Safe writing of files and folders: atomic replacement, one writer at a time, clear errors.

Every module that writes a file uses `atomic_path` or `write_atomically`; every job that fills a
folder holds `exclusive` and translates the system's errors with `writing`.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from far_keras.errors import FarError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "atomic_path",
    "exclusive",
    "list_versions",
    "remove_temporary_files",
    "write_atomically",
    "writing",
]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces `path` when the block ends.

    If the block raises (also on Ctrl-C), the temporary file is removed and `path` is unchanged.
    After a kill or a power cut a file ``.<name>.<random>.tmp<suffix>`` may remain
    (`remove_temporary_files`), but `path` is never incomplete. Missing parent folders are created.

    Args:
        path: File to write. The temporary path keeps its suffix, because some writers choose the
            format by it.

    Example:
        >>> with atomic_path("labels.csv") as temporary:  # doctest: +SKIP
        ...     temporary.write_text("name,label")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Writes bytes, or text as UTF-8; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def remove_temporary_files(folder: Path) -> None:
    """Removes what killed processes left of `atomic_path` in a folder."""
    for temporary in folder.glob(".*.tmp*"):
        temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(folder: str | Path, error: type[FarError]) -> Iterator[None]:
    """Locks a folder for this process while the block runs.

    The lock belongs to the process and ends with it; no lock file remains. On systems that cannot
    lock folders (Windows, some network drives) nothing is checked.

    Args:
        folder: An existing folder.
        error: Class of the exception to raise.

    Raises:
        FarError: Another process holds the lock.
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
                    f"{folder}: another process is working in this folder. Wait until it has "
                    "ended, or stop it, then run the same command again"
                ) from refusal
        yield
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: str | Path, error: type[FarError], advice: str) -> Iterator[None]:
    """Translates an `OSError` of the block into an exception that names the path.

    Args:
        path: What the block writes.
        error: Class of the exception to raise.
        advice: What the user should do, and what has been kept.

    Raises:
        FarError: The block raised `OSError`, for instance because the disk is full.
    """
    try:
        yield
    except FarError:
        raise
    except OSError as reason:
        text = reason.strerror or str(reason)
        if reason.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "the disk is full"
        raise error(f"{path}: cannot write: {text}. {advice}") from reason


def list_versions(folder: str | Path) -> dict[int, Path]:
    """The versions in a model's folder by number, ascending: entries with names such as ``7``.

    As in TensorFlow Serving, entries whose names are not whole numbers are ignored.

    Raises:
        OSError: The folder cannot be read.
    """
    numbers: dict[int, Path] = {}
    for path in sorted(Path(folder).iterdir()):
        if path.name.isascii() and path.name.isdigit():
            numbers.setdefault(int(path.name), path)
    return dict(sorted(numbers.items()))
