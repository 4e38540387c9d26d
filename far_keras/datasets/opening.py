"""Opens a data set whatever its kind: the reader is chosen by the files that are there."""

from __future__ import annotations

from pathlib import Path

from far_keras.datasets.celeba import ATTRIBUTE_FILES, find_table, read_celeba
from far_keras.datasets.dataset import FaceDataset
from far_keras.datasets.table import read_table
from far_keras.errors import DatasetError

__all__ = ["open_dataset"]


def open_dataset(path: str | Path) -> FaceDataset:
    """Opens a set of labelled images: the reader is chosen by what is there.

    - a folder with ``list_attr_celeba.txt`` or ``.csv`` (also under ``Anno/`` or ``Eval/``):
      CelebA as downloaded, or a rendered set; see `read_celeba`
    - a ``.csv`` file, or a folder with ``labels.csv``: own images; see `read_table`

    Raises:
        DatasetError: Nothing of that kind is there, or its files contradict each other.
    """
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
