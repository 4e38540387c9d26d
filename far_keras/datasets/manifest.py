"""`manifest.json`: what a folder of records holds. It is written last, to vouch for the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from far_keras.datasets.dataset import SPLITS
from far_keras.errors import DatasetError
from far_keras.files import atomic_path

__all__ = ["MANIFEST_FILE", "MANIFEST_VERSION", "Manifest", "Shard", "read_manifest"]

MANIFEST_FILE = "manifest.json"
MANIFEST_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """One record file, and what came of the images that were meant for it.

    Args:
        file: Name in the folder, such as ``"train-00000-of-00004.tfrecord"``.
        split: One of `SPLITS`.
        records: Images in the file.
        size: Bytes of the file.
        faces_not_found: Names of images that are in it without a mask.
        faceless: How many images are in it that are known to show no face.
        unreadable: Names of images that are not in it, each with the reason.
    """

    file: str
    split: str
    records: int
    size: int
    faces_not_found: tuple[str, ...] = ()
    faceless: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shard:
        """Reads back what `dataclasses.asdict` and JSON made of a shard."""
        values = dict(data)
        values["faces_not_found"] = tuple(values["faces_not_found"])
        values["unreadable"] = tuple((name, reason) for name, reason in values["unreadable"])
        return cls(**values)


@dataclass(frozen=True)
class Manifest:
    """What a folder of records holds.

    Args:
        name: Of the data set that the records were made from.
        attributes: Names of the label columns, in the order of every record's labels.
        true_masks: Whether the records have rendered true masks beside the landmark masks.
        fingerprint: Hash of the labels, names and settings that the records were made from.
        shards: All record files.
        version: Of the record format.
    """

    name: str
    attributes: tuple[str, ...]
    true_masks: bool
    fingerprint: str
    shards: tuple[Shard, ...]
    version: int = MANIFEST_VERSION

    def split_shards(self, split: str) -> tuple[Shard, ...]:
        """The shards of one split in reading order; DatasetError if `split` is none of `SPLITS`."""
        if split not in SPLITS:
            raise DatasetError(f"split: expected one of {list(SPLITS)}. Received: {split!r}")
        return tuple(shard for shard in self.shards if shard.split == split)

    def count(self, split: str) -> int:
        """Number of images of one split."""
        return sum(shard.records for shard in self.split_shards(split))

    def write(self, directory: str | Path) -> Path:
        """Writes `manifest.json` into the folder, whole or not at all, and returns its path."""
        path = Path(directory) / MANIFEST_FILE
        # The counts are for people who look into the file; reading goes by the shards.
        data = {"counts": {split: self.count(split) for split in SPLITS}, **asdict(self)}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        return path


def read_manifest(directory: str | Path) -> Manifest:
    """Reads the manifest of a folder of records and checks that each shard is there and whole.

    Raises:
        DatasetError: The folder has no manifest (never annotated, or stopped half-way), it cannot
            be read, it is of another version, or a shard is missing or not as long as it was.
    """
    directory = Path(directory)
    path = directory / MANIFEST_FILE
    if not path.is_file():
        raise DatasetError(
            f"{directory}: there is no {MANIFEST_FILE}, so the records are not there or not "
            "complete. Run `far-keras annotate` (it goes on where it was stopped)"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["version"]
        if version != MANIFEST_VERSION:
            raise DatasetError(
                f"{path}: expected records of version {MANIFEST_VERSION}. Received: {version!r}. "
                "Annotate the data set again into a new folder"
            )
        manifest = Manifest(
            name=data["name"],
            attributes=tuple(data["attributes"]),
            true_masks=bool(data["true_masks"]),
            fingerprint=data["fingerprint"],
            shards=tuple(Shard.from_dict(shard) for shard in data["shards"]),
            version=version,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: cannot read the manifest: {error!r}") from error
    for shard in manifest.shards:
        if (size := shard_size(directory, shard)) != shard.size:
            found = "no such file" if size is None else f"{size} bytes"
            raise DatasetError(
                f"{directory / shard.file}: expected a record file of {shard.size} bytes. "
                f"Received: {found}. Copy the file again, or annotate into a new folder"
            )
    return manifest


def shard_size(directory: Path, shard: Shard) -> int | None:
    """Bytes of the shard's file as it is now; None if it is not there."""
    file = directory / shard.file
    return file.stat().st_size if file.is_file() else None
