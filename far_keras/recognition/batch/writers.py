"""Tables as Parquet, JSON lines or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from far_keras.errors import OutputError
from far_keras.files import atomic_path
from far_keras.recognition.batch.columns import Column, Row

__all__ = ["FORMATS", "check_format", "write_rows"]

_ROW_GROUP = 8192  # rows of a Parquet file that are in memory at once


def check_format(path: str | Path) -> None:
    """Whether a file of this name can be written here.

    Raises:
        OutputError: The ending is none of `FORMATS`, or what it needs is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"{path}: expected a file name that ends in one of {', '.join(FORMATS)}")
    if path.is_dir():
        raise OutputError(f"{path}: expected the name of a file. Received: a folder")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise OutputError(
                f"{path}: Parquet files need the package pyarrow, which is an extra: "
                "pip install 'far_keras[parquet]', or write .jsonl or .csv"
            ) from error


def write_rows(path: str | Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Writes a table; the file is whole or not there, and rows are not held in memory.

    Args:
        path: The ending chooses the format, see `FORMATS`.
        columns: Names and types.
        rows: Values in the order of the columns, None for null.

    Raises:
        OutputError: See `check_format`.
        OSError: The file cannot be written.
    """
    path = Path(path)
    check_format(path)
    with atomic_path(path) as temporary:
        FORMATS[path.suffix.lower()](temporary, columns, iter(rows))


def _write_parquet(path: Path, columns: Sequence[Column], rows: Iterator[Row]) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    types = {
        "text": pyarrow.string(),
        "integer": pyarrow.int32(),
        "number": pyarrow.float32(),
        "boolean": pyarrow.bool_(),
    }
    schema = pyarrow.schema([(column.name, types[column.kind]) for column in columns])
    with ParquetWriter(path, schema) as writer:
        while part := list(islice(rows, _ROW_GROUP)):
            arrays = [
                pyarrow.array(values, field.type)
                for values, field in zip(zip(*part, strict=True), schema, strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _write_jsonl(path: Path, columns: Sequence[Column], rows: Iterator[Row]) -> None:
    names = [column.name for column in columns]
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            data = dict(zip(names, row, strict=True))
            file.write(json.dumps(data, ensure_ascii=False) + "\n")


def _write_csv(path: Path, columns: Sequence[Column], rows: Iterator[Row]) -> None:
    words = {True: "true", False: "false"}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in columns])
        for row in rows:
            writer.writerow([words[cell] if isinstance(cell, bool) else cell for cell in row])


FORMATS = {".parquet": _write_parquet, ".jsonl": _write_jsonl, ".csv": _write_csv}
"""By a file name's ending, what writes it."""
