"""Reads CelebA's folder as it is downloaded, and rendered sets, which have the same layout.

Z. Liu, P. Luo, X. Wang, X. Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from far_keras.datasets.dataset import SPLITS, FaceDataset
from far_keras.errors import DatasetError
from far_keras.schema import MISSING

__all__ = ["ATTRIBUTE_FILES", "find_table", "read_celeba"]

ATTRIBUTE_FILES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITION_FILES = ("list_eval_partition.txt", "list_eval_partition.csv")
IDENTITY_FILES = ("identity_CelebA.txt", "identity_CelebA.csv")
NO_FACE_FILE = "list_no_face.txt"
TABLE_FOLDERS = ("", "Anno", "Eval", "Img")
# The last one is how the archive on Kaggle unpacks.
IMAGE_FOLDERS = (
    "img_align_celeba/img_align_celeba",
    "img_align_celeba",
    "Img/img_align_celeba/img_align_celeba",
    "Img/img_align_celeba",
)

_LABELS = {"1": 1, "-1": 0, "0": MISSING}


def read_celeba(root: str | Path) -> FaceDataset:
    """Reads a folder in CelebA's layout.

    Needed: ``list_attr_celeba``, ``list_eval_partition`` and the folder ``img_align_celeba`` of
    images; read when there: ``identity_CelebA``, and from rendered sets ``regions/*.png`` and
    ``list_no_face.txt`` (one name per line; all labels of such an image become missing). The
    tables may be ``.txt``, or ``.csv`` as on Kaggle, directly in the folder or under ``Anno/``,
    ``Eval/``, ``Img/``.

    In the attribute table 1 is yes, -1 is no, and 0, which CelebA itself never writes, is missing.

    Args:
        root: The folder.

    Returns:
        The set in the order of the attribute table. Image names are relative to the image
        folder, such as ``"000001.jpg"``.

    Raises:
        DatasetError: A file is missing (the message lists the searched folders), a row cannot be
            read, two tables do not list the same images, or listed images are not
            in the folder (they are counted and the first are named).
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root}: there is no such folder")
    attribute_file = _need_table(root, ATTRIBUTE_FILES)
    partition_file = _need_table(root, PARTITION_FILES)
    names, attributes, labels = _read_attributes(attribute_file)
    partition = _read_pairs(partition_file)
    splits = _join(names, partition, attribute_file, partition_file)
    if not np.isin(splits, range(len(SPLITS))).all():
        raise DatasetError(
            f"{partition_file}: the partition must be 0 (train), 1 (valid) or 2 (test). "
            f"Received: {np.unique(splits).tolist()}"
        )
    identities = None
    if (identity_file := find_table(root, IDENTITY_FILES)) is not None:
        identity = _read_pairs(identity_file)
        identities = _join(names, identity, attribute_file, identity_file)
        if (identities < 0).any():
            raise DatasetError(f"{identity_file}: identities must be numbers from 0 on")

    faceless = _read_no_face(find_table(root, (NO_FACE_FILE,)), names)
    labels[faceless] = MISSING
    image_folder = _find_images(root, names)
    regions = root / "regions"
    region_folder = regions if regions.is_dir() else None
    if region_folder is not None:
        _check_there(region_folder, [f"{Path(name).stem}.png" for name in names], "region maps")
    return FaceDataset(
        name=root.resolve().name,
        root=image_folder,
        attributes=attributes,
        files=tuple(image_folder / name for name in names),
        labels=labels,
        splits=splits,
        identities=identities,
        faceless=faceless,
        region_folder=region_folder,
    )


def find_table(root: Path, names: Sequence[str]) -> Path | None:
    """The first of `names` that is in `root` or in one of CelebA's subfolders, or None."""
    candidates = (root / folder / name for name in names for folder in TABLE_FOLDERS)
    return next((path for path in candidates if path.is_file()), None)


def _need_table(root: Path, names: Sequence[str]) -> Path:
    path = find_table(root, names)
    if path is None:
        places = ", ".join(str(root / folder) for folder in TABLE_FOLDERS)
        raise DatasetError(
            f"{root}: found neither {names[0]} nor {names[1]}. Looked in: {places}. "
            "It belongs to CelebA's download, folders Anno and Eval; see docs/datasets.md"
        )
    return path


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each non-empty line, split at commas (.csv) or white space."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                for number, cells in enumerate(csv.reader(file), start=1):
                    if cells:
                        yield number, [cell.strip() for cell in cells]
            else:
                for number, line in enumerate(file, start=1):
                    if cells := line.split():
                        yield number, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot read the table: {error}") from error


def _read_attributes(path: Path) -> tuple[list[str], tuple[str, ...], np.ndarray]:
    rows = _rows(path)
    announced = None
    if path.suffix == ".csv":
        _, header = next(rows, (1, []))
        attributes = tuple(header[1:])
    else:
        _, first = next(rows, (1, []))
        if len(first) != 1 or not first[0].isdigit():
            raise DatasetError(
                f"{path}, line 1: expected the number of images. Received: {' '.join(first)!r}"
            )
        announced = int(first[0])
        _, header = next(rows, (2, []))
        attributes = tuple(header)
    if not attributes:
        raise DatasetError(f"{path}: expected the attributes' names in the header. Received: none")

    names: list[str] = []
    values: list[int] = []
    for number, cells in rows:
        if len(cells) != len(attributes) + 1:
            raise DatasetError(
                f"{path}, line {number}: expected a file name and {len(attributes)} labels. "
                f"Received: {len(cells)} cells, beginning with {cells[:3]}"
            )
        names.append(cells[0])
        try:
            values.extend([_LABELS[cell] for cell in cells[1:]])
        except KeyError as error:
            raise DatasetError(
                f"{path}, line {number}: labels must be 1 (yes), -1 (no) or 0 (missing). "
                f"Received: {error.args[0]!r}"
            ) from None
    if announced is not None and announced != len(names):
        raise DatasetError(
            f"{path}: line 1 announces {announced} images, but {len(names)} rows follow; "
            "the file was probably cut off: get it again"
        )
    return names, attributes, np.array(values, np.int8).reshape(len(names), len(attributes))


def _read_pairs(path: Path) -> dict[str, int]:
    """Reads a table of names with one number each; a .csv has a header line."""
    pairs: dict[str, int] = {}
    rows = _rows(path)
    if path.suffix == ".csv":
        next(rows, None)
    for number, cells in rows:
        try:
            name, text = cells
            value = int(text)
        except ValueError:
            raise DatasetError(
                f"{path}, line {number}: expected a file name and a number. "
                f"Received: {' '.join(cells)!r}"
            ) from None
        if pairs.setdefault(name, value) != value:
            raise DatasetError(
                f"{path}, line {number}: {name} is listed twice, with {pairs[name]} and {value}"
            )
    return pairs


def _join(names: list[str], pairs: dict[str, int], left: Path, right: Path) -> np.ndarray:
    unmatched = [name for name in names if name not in pairs]
    extra = pairs.keys() - set(names)
    if unmatched or extra:
        raise DatasetError(
            f"{left} and {right} do not list the same images: "
            f"{_some(unmatched)} only in the first, {_some(sorted(extra))} only in the second"
        )
    return np.array([pairs[name] for name in names], np.int64)


def _read_no_face(path: Path | None, names: list[str]) -> np.ndarray:
    if path is None:
        return np.zeros(len(names), bool)
    listed = {cells[0] for _, cells in _rows(path)}
    if unknown := sorted(listed - set(names)):
        raise DatasetError(f"{path}: {_some(unknown)} not in the attribute table")
    return np.array([name in listed for name in names], bool)


def _find_images(root: Path, names: list[str]) -> Path:
    folders = [root / folder for folder in IMAGE_FOLDERS if (root / folder).is_dir()]
    if not folders:
        archive = next(root.rglob("img_align_celeba.zip"), None)
        hint = f"; unpack {archive}" if archive else "; see docs/datasets.md"
        raise DatasetError(
            f"{root}: found no folder of images. Looked for: {', '.join(IMAGE_FOLDERS)}{hint}"
        )
    _check_there(folders[0], names, "images")
    return folders[0]


def _check_there(folder: Path, names: Iterable[str], what: str) -> None:
    # Listing the folder once is far faster than checking each of 202,599 names.
    present = {entry.name for entry in os.scandir(folder)}
    missing = [
        name
        for name in names
        if name not in present and not ("/" in name and (folder / name).is_file())
    ]
    if missing:
        raise DatasetError(
            f"{folder}: {_some(missing)} listed but not there. Unpack the archive again, "
            f"or remove the rows of these {what} from the tables"
        )


def _some(names: Sequence[str]) -> str:
    if not names:
        return "0 files"
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} files ({shown})"
