"""What `far-keras predict` does: photographs in, annotated pictures and tables out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from far_keras.errors import ImageError
from far_keras.images import list_images, read_image, write_image
from far_keras.recognition.drawing import draw_faces
from far_keras.recognition.results import FaceResult, PictureResult

if TYPE_CHECKING:
    from rich.console import RenderableType

    from far_keras.recognition.recognizer import Recognizer

__all__ = ["Prediction", "list_photographs", "predict_files", "tables"]


@dataclass(frozen=True)
class Prediction:
    """The answer to one photograph and where its annotated copy is.

    Args:
        result: Status and faces.
        annotated: The written picture, or None if the photograph cannot be read.
    """

    result: PictureResult
    annotated: Path | None

    @property
    def readable(self) -> bool:
        """Whether the photograph could be read, with a face or without."""
        return self.result.size is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        annotated = None if self.annotated is None else str(self.annotated)
        return {**self.result.to_dict(), "annotated": annotated}


def list_photographs(entries: Iterable[str | Path]) -> list[Path]:
    """The pictures that are named, and those of the folders that are, sorted by name.

    Raises:
        ImageError: A folder holds no pictures.
    """
    files: list[Path] = []
    for entry in map(Path, entries):
        files += list_images(entry) if entry.is_dir() else [entry]
    return files


def predict_files(
    recognizer: Recognizer, photographs: Sequence[str | Path], output: str | Path
) -> Iterator[Prediction]:
    """Answers photographs and writes an annotated copy of each, one after another.

    Args:
        recognizer: What answers.
        photographs: Paths of pictures.
        output: Folder for the annotated copies, ``<name>.png``; made if missing. A number is added
            to a name that another copy or one of the photographs has.

    Yields:
        A prediction a photograph. One that cannot be read has a status that says why.
    """
    files = [Path(photograph) for photograph in photographs]
    progress = track(
        zip(files, _unique_paths(files, Path(output)), recognizer.stream(files), strict=True),
        "answering",
        total=len(files),
        console=Console(stderr=True),
        transient=True,
        disable=len(files) < 2,
    )
    for file, path, result in progress:
        annotated = None
        if result.size is not None:
            try:
                picture = draw_faces(read_image(file), result.faces)
            except ImageError:  # it has vanished since it was answered; the answer stands
                yield Prediction(result, None)
                continue
            annotated = path
            write_image(annotated, picture)
        yield Prediction(result, annotated)


def tables(prediction: Prediction) -> list[RenderableType]:
    """For `rich`: a line about the photograph, then a table a face."""
    from rich.text import Text

    result = prediction.result
    line = Text(result.file, style="bold")
    if result.ok:
        count = len(result.faces)
        line.append(f": {count} face" + ("s" if count > 1 else ""), style="not bold")
    else:
        line.append(f": {result.status}", style="not bold red")
    if prediction.annotated is not None:
        line.append(f" -> {prediction.annotated}", style="not bold")
    return [line, *(_face_table(i, face) for i, face in enumerate(result.faces, 1))]


def _face_table(number: int, face: FaceResult) -> RenderableType:
    from rich.table import Table

    left, top, right, bottom = (round(float(side)) for side in face.box)
    table = Table(
        title=f"face {number} at x {left}-{right}, y {top}-{bottom}", title_justify="left"
    )
    table.add_column("group")
    table.add_column("yes, and how sure")
    table.add_column("no", style="dim")
    for group in dict.fromkeys(face.group_of.values()):
        members = [name for name in face.probabilities if face.group_of[name] == group]
        yes = [f"{n} {face.certainty(n):.0%}" for n in members if face.decisions[n]]
        no = [n for n in members if not face.decisions[n]]
        table.add_row(group, "\n".join(yes), ", ".join(no))
    return table


def _unique_paths(files: Sequence[Path], output: Path) -> list[Path]:
    """Where to write each annotated copy: ``<stem>.png``, with a number where that is taken.

    Neither another photograph's copy nor a photograph itself is overwritten.
    """
    taken = {file.resolve() for file in files}
    paths = []
    for file in files:
        names = (f"{file.stem}-{count}.png" for count in itertools.count(2))
        for name in itertools.chain([f"{file.stem}.png"], names):
            path = output / name
            if path.resolve() not in taken:
                break
        taken.add(path.resolve())
        paths.append(path)
    return paths
