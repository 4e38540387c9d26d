"""Annotated copies of photographs, in a folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far_keras.errors import ImageError
from far_keras.images import read_image, write_image
from far_keras.recognition.drawing import draw_faces
from far_keras.recognition.results import PictureResult

if TYPE_CHECKING:
    from far_keras.recognition.recognizer import Recognizer

__all__ = ["Prediction", "annotated_paths", "predict_files", "write_annotated"]


@dataclass(frozen=True)
class Prediction:
    """The answer to one photograph and where its annotated copy is.

    Args:
        result: Status and faces.
        annotated: The written image, or None if there is none.
    """

    result: PictureResult
    annotated: Path | None = None

    @property
    def readable(self) -> bool:
        """Whether the photograph could be read, with a face or without."""
        return self.result.size is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        annotated = None if self.annotated is None else str(self.annotated)
        return {**self.result.to_dict(), "annotated": annotated}


def predict_files(
    recognizer: Recognizer, photographs: Sequence[str | Path], annotated: str | Path | None = None
) -> Iterator[Prediction]:
    """Answers photographs and writes an annotated copy of each, one after another.

    Args:
        recognizer: What answers.
        photographs: Paths of images.
        annotated: Folder for the annotated copies, see `annotated_paths`; made if missing. None
            writes none.

    Yields:
        A prediction a photograph. One that cannot be read has a status that says why.
    """
    files = [Path(photograph) for photograph in photographs]
    paths: Sequence[Path | None] = [None] * len(files)
    if annotated is not None:
        paths = annotated_paths(files, annotated)
    for file, path, result in zip(files, paths, recognizer.stream(files), strict=True):
        written = path is not None and write_annotated(file, result, path)
        yield Prediction(result, path if written else None)


def write_annotated(file: Path, result: PictureResult, path: Path) -> bool:
    """Writes the annotated copy of a photograph; False if the photograph cannot be read.

    Raises:
        OSError: The copy cannot be written.
    """
    if result.size is None:
        return False
    try:
        picture = draw_faces(read_image(file), result.faces)
    except ImageError:  # it has vanished since it was answered; the answer stands
        return False
    write_image(path, picture)
    return True


def annotated_paths(files: Sequence[Path], folder: str | Path) -> list[Path]:
    """Where to write each annotated copy: ``<stem>.png``, with a number where that is taken.

    Neither another photograph's copy nor one of the photographs is overwritten.
    """
    taken = {file.resolve() for file in files}
    counts: dict[str, Iterator[int]] = {}  # so that ten thousand namesakes take no time
    paths = []
    for file in files:
        name = f"{file.stem}.png"
        while (path := Path(folder) / name).resolve() in taken:
            name = f"{file.stem}-{next(counts.setdefault(file.stem, itertools.count(2)))}.png"
        taken.add(path.resolve())
        paths.append(path)
    return paths
