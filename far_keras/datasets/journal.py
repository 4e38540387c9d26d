"""Remembers which shards of a long job are finished, so that it can go on after a kill."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from far_keras.datasets.manifest import MANIFEST_FILE, Shard, read_manifest, shard_size
from far_keras.errors import DatasetError
from far_keras.files import atomic_path

__all__ = ["Journal", "cannot_write"]

_FOLDER = ".progress"
_SETTINGS = "settings.json"


class Journal:
    """The state of the annotation of one folder of records, kept in its folder ``.progress``.

    A shard counts as finished once its entry is there, which is written after the shard itself.

    Args:
        directory: Folder for the records; made if missing.
        fingerprint: Hash of everything that the records depend on. A folder that was begun with
            another one is refused.

    Attributes:
        finished: The finished shards by file name.
        complete: Whether the manifest is written, so that nothing is left to do.

    Raises:
        DatasetError: The folder holds records of other data or settings, or it is damaged or
            cannot be written.
    """

    def __init__(self, directory: str | Path, fingerprint: str) -> None:
        self.directory = Path(directory)
        self.fingerprint = fingerprint
        self.finished: dict[str, Shard] = {}
        self._folder = self.directory / _FOLDER
        self.complete = (self.directory / MANIFEST_FILE).is_file()
        if self.complete:
            manifest = read_manifest(self.directory)
            self._check_same(manifest.fingerprint)
            self.finished = {shard.file: shard for shard in manifest.shards}
            return
        settings = self._folder / _SETTINGS
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if settings.is_file():
                self._check_same(_read(settings).get("fingerprint"))
            else:
                self._write(_SETTINGS, {"fingerprint": fingerprint})
            for leftover in self.directory.glob(".*.tmp.tfrecord"):  # of a killed run
                leftover.unlink()
        except OSError as error:
            raise cannot_write(self.directory, error) from error
        for entry in sorted(self._folder.glob("*.tfrecord.json")):
            shard = Shard.from_dict(_read(entry))
            if shard_size(self.directory, shard) == shard.size:  # else it is done again
                self.finished[shard.file] = shard

    def add(self, shard: Shard) -> None:
        """Notes that a shard is written; DatasetError if that cannot be noted."""
        self._write(f"{shard.file}.json", asdict(shard))
        self.finished[shard.file] = shard

    def close(self) -> None:
        """Removes the notes once the manifest is written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, name: str, data: dict) -> None:
        path = self._folder / name
        try:
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(data), encoding="utf-8")
        except OSError as error:
            raise cannot_write(path, error) from error

    def _check_same(self, found: str | None) -> None:
        if found != self.fingerprint:
            raise DatasetError(
                f"{self.directory}: the folder holds records of another data set, of other labels "
                "or of other settings. Give another folder, or delete this one first"
            )


def cannot_write(path: Path, error: OSError) -> DatasetError:
    """The error to raise when a file of the job cannot be written."""
    return DatasetError(
        f"{path}: cannot write: {error.strerror or error}. Check the free space and the rights of "
        "the folder, then run the same again: finished record files are kept"
    )


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path}: cannot read the notes of the run before: {error}. Delete the folder of "
            "records and begin anew"
        ) from error
