"""The table of results, one row per face, and its files: Parquet, JSON lines or CSV.

=================  =======  =======================================================================
column             type     content
=================  =======  =======================================================================
file               text     path of the image
status             text     ``ok``, ``no face``, ``unreadable: why`` or ``failed: why``
width, height      integer  pixels of the image that the box refers to; null if unreadable
face               integer  1 for the image's largest face, and so on; null without a face
left … bottom      number   the box in pixels: ``left``, ``top``, ``right``, ``bottom``
confidence         number   the detector's, 0 to 1
not_visible        text     groups whose mask is empty, joined by ``;``
childlike          number   probability of a child's face, 0 to 1; null if not wanted or unknown
<attribute>        number   its calibrated probability, 0 to 1
<attribute>_decision  boolean  whether the probability reaches the threshold; null if undecided
=================  =======  =======================================================================

An image without a face has one row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from far_keras.errors import OutputError
from far_keras.extras import require
from far_keras.files import atomic_path
from far_keras.recognition.results import ImageResult

__all__ = [
    "CHILDLIKE",
    "FACE",
    "FORMATS",
    "Column",
    "TableRow",
    "check_format",
    "columns_of",
    "rows_of",
    "write_rows",
]

TableRow = list[Any]

_ROW_GROUP = 8192  # rows of a Parquet file that are in memory at once


@dataclass(frozen=True)
class Column:
    """A column's name, and its type: ``"text"``, ``"integer"``, ``"number"`` or ``"boolean"``."""

    name: str
    kind: str


_FIRST = (
    Column("file", "text"),
    Column("status", "text"),
    Column("width", "integer"),
    Column("height", "integer"),
    Column("face", "integer"),
    Column("left", "number"),
    Column("top", "number"),
    Column("right", "number"),
    Column("bottom", "number"),
    Column("confidence", "number"),
    Column("not_visible", "text"),
    Column("childlike", "number"),
)
FACE, CHILDLIKE = ([column.name for column in _FIRST].index(name) for name in ("face", "childlike"))
"""Positions in a row of the face's number and of the probability of a child's face."""


def columns_of(attributes: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a table with these attributes."""
    pairs = ((Column(n, "number"), Column(f"{n}_decision", "boolean")) for n in attributes)
    return (*_FIRST, *(column for pair in pairs for column in pair))


def rows_of(result: ImageResult, attributes: Sequence[str]) -> list[TableRow]:
    """The rows of one image, in the order of `columns_of`."""
    width, height = result.size or (None, None)
    start: TableRow = [result.printable_file, result.status, width, height]
    if not result.faces:
        return [start + [None] * (len(_FIRST) - len(start) + 2 * len(attributes))]
    rows = []
    for number, face in enumerate(result.faces, 1):
        row = [*start, number, *(round(float(side), 2) for side in face.box)]
        childlike = None if face.childlike is None else round(face.childlike, 4)
        row += [round(face.confidence, 4), ";".join(face.not_visible), childlike]
        for name in attributes:
            row += [round(face.probabilities[name], 6), face.decisions[name]]
        rows.append(row)
    return rows


def check_format(path: str | Path) -> None:
    """Checks that a table of this name can be written.

    Raises:
        OutputError: The suffix is not in `FORMATS`, or a package for it is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"{path}: expected a file name that ends in one of {', '.join(FORMATS)}")
    if path.is_dir():
        raise OutputError(f"{path}: expected the name of a file. Received: a folder")
    if path.suffix.lower() == ".parquet":
        require("parquet", f"{path}: a Parquet table (.jsonl and .csv need nothing)")


def write_rows(path: str | Path, columns: Sequence[Column], rows: Iterable[TableRow]) -> None:
    """Writes a table; the file is never incomplete, and rows are not held in memory.

    Args:
        path: The suffix chooses the format, see `FORMATS`.
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


def _write_parquet(path: Path, columns: Sequence[Column], rows: Iterator[TableRow]) -> None:
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


def _write_jsonl(path: Path, columns: Sequence[Column], rows: Iterator[TableRow]) -> None:
    names = [column.name for column in columns]
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            data = dict(zip(names, row, strict=True))
            file.write(json.dumps(data, ensure_ascii=False) + "\n")


def _write_csv(path: Path, columns: Sequence[Column], rows: Iterator[TableRow]) -> None:
    words = {True: "true", False: "false"}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in columns])
        for row in rows:
            writer.writerow([words[cell] if isinstance(cell, bool) else cell for cell in row])


FORMATS = {".parquet": _write_parquet, ".jsonl": _write_jsonl, ".csv": _write_csv}
"""Writers by suffix."""
