"""Writes the text files of CelebA's layout, and any file so that it is whole or absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from far_keras.files import write_atomically
from far_keras.schema import CELEBA, MISSING

__all__ = [
    "IMAGES",
    "REGION_MAPS",
    "Row",
    "picture_name",
    "split_of",
    "write_lists",
]

IMAGES = "img_align_celeba"
REGION_MAPS = "regions"


@dataclass(frozen=True)
class Row:
    """What the text files say about one image."""

    number: int  # counted from 1
    identity: int
    negative: bool  # not to be answered
    labels: np.ndarray  # (40,) int8: 1, 0, MISSING


def picture_name(number: int) -> str:
    """The file name of image `number`, counted from 1."""
    return f"{number:06d}.jpg"


def split_of(identity: int) -> int:
    """0 train, 1 valid, 2 test, about 80/10/10; a small set has all three from identity 3 on."""
    return {2: 1, 3: 2}.get(identity % 10, 0)


def write_lists(directory: Path, rows: Sequence[Row]) -> None:
    """Writes CelebA's lists for `rows`, and `list_no_face.txt`.

    A missing label is written as 0, a no as -1.
    """
    attributes = [str(len(rows)), " ".join(CELEBA.attributes)]
    partition, identities, no_face = [], [], []
    for row in rows:
        name = picture_name(row.number)
        signs = np.where(row.labels == MISSING, 0, np.where(row.labels == 1, 1, -1))
        attributes.append(f"{name} " + " ".join(f"{sign:2d}" for sign in signs))
        partition.append(f"{name} {split_of(row.identity)}")
        identities.append(f"{name} {row.identity}")
        if row.negative:
            no_face.append(name)
    for file, lines in (
        ("list_eval_partition.txt", partition),
        ("identity_CelebA.txt", identities),
        ("list_no_face.txt", no_face),
        ("list_attr_celeba.txt", attributes),
    ):
        write_atomically(directory / file, "".join(f"{line}\n" for line in lines).encode())
