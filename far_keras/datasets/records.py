"""The record format: one image with labels and masks as a `tf.train.Example` in TFRecord shards.

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
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from far_keras.datasets.dataset import NO_IDENTITY
from far_keras.datasets.manifest import read_manifest
from far_keras.errors import DatasetError
from far_keras.files import atomic_path

__all__ = [
    "FaceRecord",
    "RecordTable",
    "parse_record",
    "read_shard",
    "read_table_of_records",
    "record_files",
    "serialize",
    "write_shard",
]

_FEATURES = {
    "file": tf.io.FixedLenFeature([], tf.string),
    "image": tf.io.FixedLenFeature([], tf.string),
    "labels": tf.io.FixedLenFeature([], tf.string),
    "masks": tf.io.FixedLenFeature([], tf.string),
    "true_masks": tf.io.FixedLenFeature([], tf.string),
    "identity": tf.io.FixedLenFeature([], tf.int64),
}
# TFRecord frames every record with its length (8 bytes) and two checksums of 4 bytes.
_FRAME = 16


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


def serialize(record: FaceRecord) -> bytes:
    """The bytes of a record."""

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


def parse_record(serialized: tf.Tensor, num_attributes: int) -> dict[str, tf.Tensor]:
    """Parses one serialized record, or a vector of them, inside a graph.

    Args:
        serialized: string, shape () or (B,).
        num_attributes: Length A of each record's labels.

    Returns:
        The features by name, each with the shape of `serialized`; ``labels`` decoded to int8 with
        A more elements in a last axis.
    """
    parsed = tf.io.parse_example(serialized, _FEATURES)
    labels = tf.io.decode_raw(parsed["labels"], tf.int8)
    parsed["labels"] = tf.ensure_shape(labels, [*serialized.shape, num_attributes])
    return parsed


def write_shard(path: str | Path, records: Iterable[FaceRecord]) -> int:
    """Writes a shard, whole or not at all.

    Returns:
        The size of the file in bytes.

    Raises:
        DatasetError: The file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    expected = 0
    try:
        with atomic_path(path) as temporary:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for record in records:
                    data = serialize(record)
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
    try:
        for serialized in tf.data.TFRecordDataset(str(path)):
            parsed = tf.io.parse_single_example(serialized, _FEATURES)
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
    """Reads file names, labels and identities of one split in the order of evaluation batches.

    Raises:
        DatasetError: See `read_manifest`; or a shard is damaged.
    """
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


def record_files(directory: str | Path, split: str) -> tuple[str, ...]:
    """Names of one split's images in the order of evaluation batches."""
    return read_table_of_records(directory, split).files
