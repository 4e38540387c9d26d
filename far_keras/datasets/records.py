"""The record format: TFRecord shards of annotated faces, and the manifest that lists them.

Every record is a `tf.train.Example` of one image:

==============  =======  ==========================================================================
feature         type     content
==============  =======  ==========================================================================
``file``        bytes    name of the image in its data set, UTF-8
``image``       bytes    JPEG, 178 x 218, RGB
``labels``      bytes    A bytes, int8: 1, 0, or -1 for missing
``masks``       bytes    single-channel PNG, 178 x 218: bit r is set where ``REGIONS[r]`` is, from
                         landmarks; empty if no face was found
``true_masks``  bytes    the same from a rendered region map; empty if there is none
``identity``    int64    person, -1 if unknown
==============  =======  ==========================================================================

``manifest.json`` is written last, so a folder with a manifest is complete. Reading it does not
need TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from far_keras.datasets.dataset import NO_IDENTITY, SPLITS
from far_keras.errors import DatasetError
from far_keras.files import atomic_path, write_atomically

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    "MANIFEST_FILE",
    "MANIFEST_VERSION",
    "FaceRecord",
    "Manifest",
    "RecordTable",
    "Shard",
    "parse_record",
    "read_manifest",
    "read_shard",
    "read_table_of_records",
    "shard_size",
    "write_shard",
]

MANIFEST_FILE = "manifest.json"
MANIFEST_VERSION = 1

# TFRecord frames every record with its length (8 bytes) and two checksums of 4 bytes.
_FRAME = 16


@dataclass(frozen=True)
class Shard:
    """One record file, and the results of the images that were planned for it.

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
        """Builds it from JSON data of `dataclasses.asdict`."""
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
        """The shards of one split in reading order; DatasetError for an unknown split."""
        if split not in SPLITS:
            raise DatasetError(f"split: expected one of {list(SPLITS)}. Received: {split!r}")
        return tuple(shard for shard in self.shards if shard.split == split)

    def count(self, split: str) -> int:
        """Number of images of one split."""
        return sum(shard.records for shard in self.split_shards(split))

    def write(self, directory: str | Path) -> Path:
        """Writes `manifest.json` into the folder atomically and returns its path."""
        path = Path(directory) / MANIFEST_FILE
        # The counts are for people who read the file; `read_manifest` counts the shards.
        data = {"counts": {split: self.count(split) for split in SPLITS}, **asdict(self)}
        write_atomically(path, json.dumps(data, indent=1) + "\n")
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
            "complete. Run `far-keras annotate` (it resumes where it stopped)"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["version"]
        if version != MANIFEST_VERSION:
            raise DatasetError(
                f"{path}: expected records of version {MANIFEST_VERSION}. Received: {version!r}. "
                "Annotate the data set again into a new folder: far-keras annotate DATASET RECORDS"
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


@dataclass(frozen=True, eq=False)
class FaceRecord:
    """One record; see the table in this module's docstring. `labels` is int8 (A,)."""

    file: str
    image: bytes
    labels: np.ndarray
    masks: bytes = b""
    true_masks: bytes = b""
    identity: int = NO_IDENTITY


@dataclass(frozen=True, eq=False)
class RecordTable:
    """All of one split but its pixels, in reading order.

    Args:
        files: Names of the N images.
        labels: int8 (N, A).
        identities: int64 (N,), -1 where unknown.
    """

    files: tuple[str, ...]
    labels: np.ndarray
    identities: np.ndarray


def _serialize(record: FaceRecord) -> bytes:
    import tensorflow as tf

    def feature(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "file": feature(record.file.encode()),
        "image": feature(record.image),
        "labels": feature(record.labels.astype(np.int8).tobytes()),
        "masks": feature(record.masks),
        "true_masks": feature(record.true_masks),
        "identity": tf.train.Feature(int64_list=tf.train.Int64List(value=[record.identity])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _features() -> dict[str, tf.io.FixedLenFeature]:
    import tensorflow as tf

    names = ("file", "image", "labels", "masks", "true_masks")
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in names}
    return {**features, "identity": tf.io.FixedLenFeature([], tf.int64)}


def parse_record(serialized: tf.Tensor, num_attributes: int) -> dict[str, tf.Tensor]:
    """Parses one serialized record, or a vector of them, inside a graph.

    Args:
        serialized: string, shape () or (B,).
        num_attributes: Length A of each record's labels.

    Returns:
        The features by name, each with the shape of `serialized`; ``labels`` decoded to int8 with
        A more elements in a last axis.
    """
    import tensorflow as tf

    parsed = tf.io.parse_example(serialized, _features())
    labels = tf.io.decode_raw(parsed["labels"], tf.int8)
    parsed["labels"] = tf.ensure_shape(labels, [*serialized.shape, num_attributes])
    return parsed


def write_shard(path: str | Path, records: Iterable[FaceRecord]) -> int:
    """Writes a shard atomically.

    Returns:
        The size of the file in bytes.

    Raises:
        DatasetError: The file cannot be written, for example because the disk is full.
    """
    import tensorflow as tf

    path = Path(path)
    expected = 0
    try:
        with atomic_path(path) as temporary:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for record in records:
                    data = _serialize(record)
                    expected += len(data) + _FRAME
                    writer.write(data)
            # A writer that lost bytes on a full disk must not go unnoticed.
            if (size := temporary.stat().st_size) != expected:
                raise OSError(f"only {size} of {expected} bytes were written")
    except (OSError, tf.errors.OpError) as error:
        reason = error.message if isinstance(error, tf.errors.OpError) else error
        raise DatasetError(
            f"{path}: cannot write the records: {reason}. Check the free space and the rights of "
            "the folder, then run the same again: finished record files are kept"
        ) from error
    return expected


def read_shard(path: str | Path) -> Iterator[FaceRecord]:
    """The records of one shard in their order.

    Raises:
        DatasetError: The file is missing, truncated or damaged.
    """
    import tensorflow as tf

    try:
        for serialized in tf.data.TFRecordDataset(str(path)):
            parsed = tf.io.parse_single_example(serialized, _features())
            yield FaceRecord(
                file=parsed["file"].numpy().decode(),
                image=parsed["image"].numpy(),
                labels=np.frombuffer(parsed["labels"].numpy(), np.int8),
                masks=parsed["masks"].numpy(),
                true_masks=parsed["true_masks"].numpy(),
                identity=int(parsed["identity"]),
            )
    except tf.errors.OpError as error:
        raise DatasetError(f"{path}: damaged or missing record file: {error.message}") from error


def read_table_of_records(directory: str | Path, split: str) -> RecordTable:
    """Reads file names, labels and identities of one split, in the order of evaluation batches.

    Raises:
        DatasetError: See `read_manifest`; or a shard is damaged.
    """
    import tensorflow as tf

    manifest = read_manifest(directory)
    paths = [str(Path(directory) / shard.file) for shard in manifest.split_shards(split)]
    width = len(manifest.attributes)
    files: list[str] = []
    labels = [np.zeros((0, width), np.int8)]
    identities = [np.zeros(0, np.int64)]
    try:
        for serialized in tf.data.TFRecordDataset(paths).batch(512):
            parsed = parse_record(serialized, width)
            files.extend(name.decode() for name in parsed["file"].numpy())
            labels.append(parsed["labels"].numpy())
            identities.append(parsed["identity"].numpy())
    except tf.errors.OpError as error:
        raise DatasetError(f"{directory}: damaged record file: {error.message}") from error
    return RecordTable(tuple(files), np.concatenate(labels), np.concatenate(identities))
