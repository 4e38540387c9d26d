"""A data set of labelled face images as one immutable table, whatever its file format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from far_keras.errors import DatasetError
from far_keras.schema import MISSING

__all__ = ["NO_IDENTITY", "SPLITS", "FaceDataset", "open_dataset"]

SPLITS = ("train", "valid", "test")
"""The splits, in the order of CelebA's partition numbers 0, 1, 2."""

NO_IDENTITY = -1
"""The identity of an unknown person."""


@dataclass(frozen=True, eq=False)
class FaceDataset:
    """Images with labels, splits and identities.

    N images, A attributes. The arrays are made read-only.

    Args:
        name: Name in messages, such as ``"celeba"``.
        root: The folder that the image names are relative to.
        attributes: Names of the label columns.
        files: The images, N paths.
        labels: int8 (N, A): 1 yes, 0 no, `MISSING` unknown.
        splits: int8 (N,): index into `SPLITS`.
        identities: int64 (N,): equal numbers are the same person, `NO_IDENTITY` is unknown.
            None if the set has no identities.
        faceless: bool (N,): images known to show no face. All their labels must be missing.
        region_folder: Folder of rendered region maps, ``<stem of the image>.png``, or None.

    Raises:
        DatasetError: The lengths differ, a name is repeated, a label or split has another value, a
            faceless image has a label, or the set is empty.
    """

    name: str
    root: Path
    attributes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: np.ndarray
    splits: np.ndarray
    identities: np.ndarray | None = None
    faceless: np.ndarray | None = None
    region_folder: Path | None = None

    def __post_init__(self) -> None:
        count = len(self.files)
        faceless = np.zeros(count, bool) if self.faceless is None else self.faceless
        object.__setattr__(self, "faceless", _frozen(faceless, bool))
        object.__setattr__(self, "labels", _frozen(self.labels, np.int8))
        object.__setattr__(self, "splits", _frozen(self.splits, np.int8))
        if self.identities is not None:
            object.__setattr__(self, "identities", _frozen(self.identities, np.int64))

        if count == 0:
            raise DatasetError(f"data set {self.name!r}: no images in {self.root}")
        if repeated := _repeated(self.attributes):
            raise DatasetError(f"data set {self.name!r}: attributes given twice: {repeated}")
        if repeated := _repeated([str(file) for file in self.files]):
            raise DatasetError(
                f"data set {self.name!r}: {len(repeated)} images are listed more than once, "
                f"such as {repeated[:3]}; keep one row for each"
            )
        shapes = {
            "labels": (self.labels, (count, len(self.attributes))),
            "splits": (self.splits, (count,)),
            "faceless": (self.faceless, (count,)),
            "identities": (self.identities, (count,)),
        }
        for argument, (array, shape) in shapes.items():
            if array is not None and array.shape != shape:
                raise DatasetError(
                    f"data set {self.name!r}: {argument} must have shape {shape}. "
                    f"Received: {array.shape}"
                )
        if not np.isin(self.labels, (0, 1, MISSING)).all():
            raise DatasetError(
                f"data set {self.name!r}: labels must be 1, 0 or {MISSING} (missing). "
                f"Received: {np.unique(self.labels).tolist()}"
            )
        if not np.isin(self.splits, range(len(SPLITS))).all():
            raise DatasetError(
                f"data set {self.name!r}: splits must be indices of {SPLITS}. "
                f"Received: {np.unique(self.splits).tolist()}"
            )
        if (self.labels[self.faceless] != MISSING).any():
            raise DatasetError(
                f"data set {self.name!r}: an image without a face cannot have labels"
            )

    def __len__(self) -> int:
        return len(self.files)

    def name_of(self, row: int) -> str:
        """An image's name in records and messages: its path relative to `root`, with ``/``."""
        file = self.files[row]
        inside = file.is_relative_to(self.root)
        return (file.relative_to(self.root) if inside else file).as_posix()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all images, see `name_of`."""
        return tuple(self.name_of(row) for row in range(len(self)))

    def split_indices(self, split: str) -> np.ndarray:
        """int64 row numbers of one of `SPLITS`, ascending; may be empty."""
        if split not in SPLITS:
            raise DatasetError(f"split: expected one of {list(SPLITS)}. Received: {split!r}")
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def region_map(self, row: int) -> Path | None:
        """The rendered region map of an image, or None if the set has none."""
        if self.region_folder is None:
            return None
        return self.region_folder / f"{self.files[row].stem}.png"


def open_dataset(path: str | Path) -> FaceDataset:
    """Opens a set of labelled images; its files decide which reader is used.

    - a folder with ``list_attr_celeba.txt`` or ``.csv`` (also under ``Anno/`` or ``Eval/``):
      CelebA as downloaded, or a rendered set; see `read_celeba`
    - a ``.csv`` file, or a folder with ``labels.csv``: own images; see `read_table`

    Raises:
        DatasetError: The path holds no data set, or its files contradict each other.
    """
    # Here, because both readers import this module.
    from far_keras.datasets.celeba import ATTRIBUTE_FILES, find_table, read_celeba
    from far_keras.datasets.table import read_table

    path = Path(path)
    if path.is_file():
        if path.suffix.lower() == ".csv":
            return read_table(path)
        raise DatasetError(
            f"{path}: expected a folder or a .csv table of images. Received: a file of another kind"
        )
    if not path.is_dir():
        raise DatasetError(f"{path}: there is no such folder or .csv table")
    if find_table(path, ATTRIBUTE_FILES) is not None:
        return read_celeba(path)
    if (path / "labels.csv").is_file():
        return read_table(path / "labels.csv")
    found = sorted(entry.name for entry in path.iterdir())[:8]
    raise DatasetError(
        f"{path}: found no data set. Looked for CelebA's list_attr_celeba.txt (or .csv; also in "
        f"Anno/ and Eval/) and for labels.csv. The folder holds: {found or 'nothing'}. "
        "See docs/datasets.md for the layouts."
    )


def _frozen(array: np.ndarray, dtype: type) -> np.ndarray:
    array = np.array(array, dtype)
    array.flags.writeable = False
    return array


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
