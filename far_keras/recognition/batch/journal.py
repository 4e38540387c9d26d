"""What a long prediction has answered so far, so that it can go on after a kill."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from far_keras.errors import OutputError
from far_keras.recognition.batch.columns import CHILDLIKE, FACE, Row
from far_keras.recognition.visibility import is_child

__all__ = ["Journal"]

FORMAT = 1


class Journal:
    """A file of JSON lines beside the table to be: the settings, then a line an image.

    Lines are appended whole and handed to the system at once, so that a kill loses at most the
    images that were in work. A line that a power cut left unfinished is cut off.

    Args:
        path: Made with the first answers, so that a run that fails at once leaves nothing.
        settings: All that the answers depend on, but the images. A journal that was begun with
            others is refused.

    Attributes:
        done: By file, where its line begins.
        statuses: How many images have which status, without its reason.
        faces: How many faces there are.
        children: How many of them are undecided for a child's proportions.

    Raises:
        OutputError: The journal was begun with other settings, or is none.
        OSError: It cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[str, int] = {}
        self.statuses: Counter[str] = Counter()
        self.faces = 0
        self.children = 0
        self._settings = settings
        self._file: IO[bytes] | None = None
        if path.exists():
            self._file = path.open("r+b")
            try:
                self._read(self._file, settings)
            except BaseException:
                self._file.close()
                raise

    def add(self, pictures: Sequence[tuple[str, list[Row]]]) -> None:
        """Notes the rows of answered images, each with its file.

        Raises:
            OutputError: The journal cannot be written, for instance because the disk is full.
        """
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w+b")
                self._file.write(_line({"format": FORMAT, "settings": self._settings}))
            position = self._file.seek(0, os.SEEK_END)
            text = b""
            for file, rows in pictures:
                self._count(file, rows, position + len(text))
                text += _line({"file": file, "rows": rows})
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write: {error.strerror or error}. Make room, then run the "
                "same again: it continues"
            ) from error

    def rows(self, files: Sequence[str]) -> Iterator[Row]:
        """The rows of `files`, which must all be done, in their order."""
        for file in files:
            assert self._file is not None
            self._file.seek(self.done[file])
            yield from json.loads(self._file.readline())["rows"]

    def close(self, *, remove: bool = False) -> None:
        """Closes the file, which stays unless it is to be removed."""
        if self._file is not None:
            self._file.close()
        if remove:
            self.path.unlink(missing_ok=True)

    def _read(self, file: IO[bytes], settings: Mapping[str, Any]) -> None:
        first = file.readline()
        begun = _parse(first)
        if begun is None or begun.get("format") != FORMAT:
            raise OutputError(
                f"{self.path}: expected the notes of an interrupted prediction. Received: another "
                "file; give another --out, or remove it"
            )
        wanted = json.loads(json.dumps(settings))
        if begun["settings"] != wanted:
            other = [key for key in wanted if begun["settings"].get(key) != wanted[key]]
            raise OutputError(
                f"{self.path}: the prediction was begun with other settings: {', '.join(other)}. "
                "Repeat it with those, give another --out, or delete this file to begin anew"
            )
        whole = file.tell()
        for line in iter(file.readline, b""):
            entry = _parse(line) if line.endswith(b"\n") else None
            if entry is None:
                break
            self._count(entry["file"], entry["rows"], whole)
            whole += len(line)
        file.truncate(whole)

    def _count(self, file: str, rows: list[Row], position: int) -> None:
        self.done[file] = position
        self.statuses[rows[0][1].partition(":")[0]] += 1
        self.faces += sum(row[FACE] is not None for row in rows)
        self.children += sum(is_child(row[CHILDLIKE]) for row in rows)


def _line(data: Any) -> bytes:
    # Escaped, since names of files may hold bytes that are no UTF-8.
    return json.dumps(data).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
