"""The table of answers: a row a face, and a row for each image without one.

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
childlike          number   probability of a child's face, 0 to 1; null where not asked or untold
<attribute>        number   its calibrated probability, 0 to 1
<attribute>_decision  boolean  whether the probability reaches the threshold; null if undecided
=================  =======  =======================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from far_keras.recognition.results import PictureResult

__all__ = ["CHILDLIKE", "FACE", "Column", "columns_of", "rows_of"]

Row = list[Any]


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
"""Where a row tells the number of the face, and how probably it is a child's."""


def columns_of(attributes: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a table with these attributes."""
    pairs = ((Column(n, "number"), Column(f"{n}_decision", "boolean")) for n in attributes)
    return (*_FIRST, *(column for pair in pairs for column in pair))


def rows_of(result: PictureResult, attributes: Sequence[str]) -> list[Row]:
    """The rows of one image, in the order of `columns_of`."""
    width, height = result.size or (None, None)
    start: Row = [result.printable_file, result.status, width, height]
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
