"""The numbered versions of a model in a folder that a server watches."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from far_keras.errors import ModelError

__all__ = ["list_versions", "new_version"]


def list_versions(folder: str | Path) -> list[int]:
    """The numbers of the versions in `folder`, ascending; none if there is no such folder.

    As TF Serving does, entries whose names are not whole numbers are passed over.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir())
    return sorted({int(name) for name in names if name.isascii() and name.isdigit()})


@contextmanager
def new_version(folder: str | Path, version: int | None = None) -> Iterator[Version]:
    """Lends a folder; what is written there becomes the next version at the end of the block.

    The version appears whole, by one renaming, after its content has reached the disk: a server
    that watches `folder` never sees half of it. Two that do this at once get two numbers. If the
    block raises, nothing is left; after a kill a hidden folder ``.<random>.tmp`` may stay behind.

    Args:
        folder: The folder of a model's versions; made if it is missing.
        version: The number to give it; None for one more than the highest there is.

    Yields:
        The version to be: write into its ``folder``. After the block, ``folder`` is where it is
        and ``number`` says which it became.

    Raises:
        ModelError: `version` is below 1 or there already.
        OSError: `folder` cannot be made or written.
    """
    folder = Path(folder)
    if version is not None:
        _check_free(folder, version)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(6)}.tmp"
    temporary.mkdir()
    lent = Version(temporary)
    try:
        yield lent
        _flush(temporary)
        while True:
            number = version or max(list_versions(folder), default=0) + 1
            try:
                # An empty folder would be replaced in silence.
                if (folder / str(number)).exists():
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                os.rename(temporary, folder / str(number))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                if version is not None:
                    _check_free(folder, version)
                continue  # another exporter was faster
            break
        _flush_entry(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    lent.folder, lent.number = folder / str(number), number


class Version:
    """A version that is being written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0


def _check_free(folder: Path, version: int) -> None:
    if version < 1:
        raise ModelError(f"version: expected a number from 1 on. Received: {version}")
    if version in list_versions(folder):
        raise ModelError(
            f"{folder / str(version)}: this version is there already, and servers may have loaded "
            f"it. Expected a new number, such as {max(list_versions(folder)) + 1}"
        )


def _flush(folder: Path) -> None:
    """Waits until everything in `folder` is on the disk."""
    for directory, _, files in os.walk(folder):
        for name in files:
            _flush_entry(Path(directory) / name)
        _flush_entry(Path(directory))


def _flush_entry(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
