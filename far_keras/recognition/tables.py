"""Answers as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from far_keras.recognition.annotated import Prediction
from far_keras.recognition.results import FaceResult
from far_keras.results import attribute_table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["foot_lines", "tables"]


def tables(prediction: Prediction) -> list[RenderableType]:
    """For `rich`: a line about the photograph, then a table a face."""
    result = prediction.result
    line = Text(result.printable_file, style="bold")
    if result.ok:
        count = len(result.faces)
        line.append(f": {count} face" + ("s" if count > 1 else ""), style="not bold")
    else:
        line.append(f": {result.status}", style="not bold red")
    if prediction.annotated is not None:
        line.append(f" -> {prediction.annotated}", style="not bold")
    return [line, *(_face_table(i, face) for i, face in enumerate(result.faces, 1))]


def foot_lines(untrained: Sequence[str], left_out: Sequence[str]) -> list[str]:
    """What the answers leave out, and why; empty if nothing.

    Args:
        untrained: See `Recognizer`.
        left_out: See `Recognizer`.
    """
    lines = []
    if untrained:
        names = ", ".join(untrained)
        lines.append(f"not answered, since the model's training data could not teach it: {names}")
    if left_out:
        names = ", ".join(left_out)
        lines.append(f"sensitive, left out unless --sensitive is given: {names}")
    return lines


def _face_table(number: int, face: FaceResult) -> RenderableType:
    left, top, right, bottom = (round(float(side)) for side in face.box)
    title = f"face {number} at x {left}-{right}, y {top}-{bottom}"
    if face.is_child:
        return Text(f"{title}: a child's proportions, nothing decided (unless --children is given)")
    return attribute_table(face, title)
