"""Reads a CSV table of the user's labelled images."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np

from far_keras.datasets.dataset import NO_IDENTITY, SPLITS, FaceDataset
from far_keras.errors import DatasetError
from far_keras.schema import MISSING

__all__ = ["assign_split", "read_table"]

_LABELS = {"1": 1, "true": 1, "yes": 1, "0": 0, "false": 0, "no": 0, "": MISSING}
_OWN_COLUMNS = ("file", "split", "identity")


def read_table(path: str | Path) -> FaceDataset:
    """Reads a CSV table with a header line and one image per row.

    Columns:
        ``file``: the image, relative to the table's folder or absolute. Needed.
        ``split``: ``train``, ``valid`` or ``test``. Without this column each image gets its
            split from `assign_split`, by identity if there is one, else by file name.
        ``identity``: any text; the same text is the same person, empty is unknown.
        all others: attributes. ``1``/``true``/``yes``, ``0``/``false``/``no``, empty = missing.

    ``-1`` is refused: in CelebA's files it means no, elsewhere missing, so it could be either.

    Raises:
        DatasetError: No such file, no ``file`` column, no attribute column, a cell with another
            value, a row of another length, an image listed twice, or missing images (counted, the
            first are named).
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [(number, cells) for number, cells in enumerate(csv.reader(file), 1) if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot read the table: {error}") from error
    if not rows:
        raise DatasetError(f"{path}: expected a header line with the column 'file'. Received: none")
    header = [cell.strip() for cell in rows[0][1]]
    columns = _check_header(path, header)
    attributes = tuple(name for name in header if name not in _OWN_COLUMNS)

    files: list[Path] = []
    labels: list[list[int]] = []
    identities: list[str] = []
    splits: list[int] = []
    for number, row in rows[1:]:
        where = f"{path}, line {number}"
        if len(row) != len(header):
            raise DatasetError(
                f"{where}: expected {len(header)} cells as in the header. Received: {len(row)}"
            )
        cells = [cell.strip() for cell in row]
        name = cells[columns["file"]]
        if not name:
            raise DatasetError(f"{where}: the cell 'file' is empty")
        identity = cells[columns["identity"]] if "identity" in columns else ""
        files.append(path.parent / name)
        identities.append(identity)
        if "split" in columns:
            splits.append(_read_split(cells[columns["split"]], where))
        else:
            splits.append(SPLITS.index(assign_split(f"person {identity}" if identity else name)))
        labels.append([_read_label(cells[columns[a]], a, where) for a in attributes])

    missing = [file for file in files if not file.is_file()]
    if missing:
        shown = ", ".join(str(file) for file in missing[:5])
        raise DatasetError(
            f"{path}: {len(missing)} of {len(files)} images are not there, such as {shown}. "
            "Names are relative to the table's folder"
        )
    return FaceDataset(
        name=path.stem,
        root=path.parent,
        attributes=attributes,
        files=tuple(files),
        labels=np.array(labels, np.int8).reshape(len(files), len(attributes)),
        splits=np.array(splits, np.int8),
        identities=_number(identities) if "identity" in columns else None,
    )


def assign_split(key: str) -> str:
    """The split of a person or image without one: about 80% train, 10% valid, 10% test.

    It depends only on the sha256 of `key`, so it does not change when images are added.
    """
    tenth = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10
    return "test" if tenth == 9 else "valid" if tenth == 8 else "train"


def _check_header(path: Path, header: list[str]) -> dict[str, int]:
    columns = {name: position for position, name in enumerate(header)}
    if len(columns) != len(header):
        repeated = sorted({name for name in header if header.count(name) > 1})
        raise DatasetError(f"{path}: columns given twice: {repeated}")
    if "" in columns:
        raise DatasetError(f"{path}: column {columns[''] + 1} has no name")
    if "file" not in columns:
        raise DatasetError(
            f"{path}: expected a column 'file' with the images' names. Received: {header}"
        )
    if not set(header) - set(_OWN_COLUMNS):
        raise DatasetError(
            f"{path}: expected at least one attribute column besides {list(_OWN_COLUMNS)}. "
            f"Received: {header}"
        )
    return columns


def _read_split(cell: str, where: str) -> int:
    if cell not in SPLITS:
        raise DatasetError(f"{where}: split must be one of {list(SPLITS)}. Received: {cell!r}")
    return SPLITS.index(cell)


def _read_label(cell: str, attribute: str, where: str) -> int:
    try:
        return _LABELS[cell.lower()]
    except KeyError:
        pass
    if cell == "-1":
        advice = "write 0 for no, and leave the cell empty where it is not known"
    else:
        advice = "if this column is not an attribute, remove it from the table"
    raise DatasetError(
        f"{where}: attribute {attribute!r} must be 1/true/yes, 0/false/no or empty. "
        f"Received: {cell!r}; {advice}"
    )


def _number(identities: list[str]) -> np.ndarray:
    """Persons as numbers from 0 on in alphabetical order, int64 (N,)."""
    numbers = {name: number for number, name in enumerate(sorted(set(identities) - {""}))}
    return np.array([numbers.get(name, NO_IDENTITY) for name in identities], np.int64)
