"""An image of what a model is bad at."""

from __future__ import annotations

from pathlib import Path

from far_keras.evaluation.answers import answer_split
from far_keras.evaluation.gallery import read_faces, worst_mistakes
from far_keras.files import atomic_path
from far_keras.models.storage import load_model

__all__ = ["draw_mistakes"]

_COLUMNS = 6


def draw_mistakes(
    model: str | Path, records: str | Path, path: str | Path, count: int = 12
) -> Path:
    """Draws the test images that a model is surest and wrong about, with what it says.

    Args:
        model: Folder of a trained model.
        records: Folder that `far_keras.datasets.annotate` wrote.
        path: Of the image; the ending chooses the format, such as ``.jpg``.
        count: At most so many images, at most two an attribute.
    """
    from matplotlib.figure import Figure

    loaded = load_model(model)
    said = answer_split(
        loaded.model, loaded.schema, records, "test", calibration=loaded.calibration
    )
    mistakes = worst_mistakes(loaded.schema.attributes, said, count)
    faces = read_faces(records, "test", [mistake.row for mistake in mistakes])
    rows = max(1, -(-len(mistakes) // _COLUMNS))
    canvas = Figure(figsize=(1.9 * _COLUMNS, 2.9 * rows), layout="constrained")
    places = canvas.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in places:
        axes.axis("off")
    for axes, mistake in zip(places, mistakes, strict=False):
        axes.imshow(faces[mistake.row][0])
        axes.set_title(str(mistake).replace(", ", "\n").replace(": ", "\n"), fontsize=8)
    path = Path(path)
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, format=path.suffix[1:], dpi=100)
    return path
