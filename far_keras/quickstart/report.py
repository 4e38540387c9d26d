"""Gathers what the quickstart's page shows from the files of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from far_keras.evaluation.answers import answer_split
from far_keras.evaluation.gallery import mask_rows, read_faces, worst_mistakes
from far_keras.evaluation.plots import plot_curves
from far_keras.models.storage import load_model
from far_keras.quickstart.page import Picture, Report, Step, write_html_report

__all__ = ["write_quickstart_report"]

_CURVES = {"loss": "loss", "auc": "ROC AUC", "accuracy": "accuracy", "iou": "mask IoU"}
_FACES = 6


def write_quickstart_report(
    path: Path,
    *,
    models: Mapping[str, Path],
    records: Path,
    evaluation: Path,
    photographs: Mapping[str, Path],
    seconds: Mapping[str, float],
    next_steps: Sequence[tuple[str, str]],
) -> Path:
    """Writes the page.

    Args:
        path: Of the page.
        models: Folders by model name; the first is the one whose masks and errors are shown.
        records: The folder of records; of its test split images are shown.
        evaluation: Folder with ``evaluation.json`` and ``evaluation.png``; the plot of the
            training is put beside them.
        photographs: The annotated photograph of an astronaut, by who answered it.
        seconds: How long each step took, by what it was.
        next_steps: See `Report`.
    """
    histories = {
        name: json.loads((folder / "history.json").read_text(encoding="utf-8"))
        for name, folder in models.items()
    }
    curves = plot_curves(histories, _CURVES, evaluation / "curves.png")
    loaded = load_model(next(iter(models.values())))
    said = answer_split(
        loaded.model, loaded.schema, records, "test", calibration=loaded.calibration
    )
    mistakes = worst_mistakes(loaded.schema.attributes, said)
    faces = read_faces(records, "test", [mistake.row for mistake in mistakes])
    # Spread over the split, since a person's images follow one another.
    count = len(said.labels)
    spread = [k * count // (2 * _FACES) for k in range(2 * _FACES)]
    masks = [
        Picture(image, caption)
        for row in mask_rows(loaded, records, "test", spread)[:_FACES]
        for image, caption in zip(
            row, ("picture", "landmark masks", "predicted masks"), strict=True
        )
    ]
    report = Report(
        title="far_keras quickstart",
        evaluation=json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8")),
        steps=[Step(what, spent) for what, spent in seconds.items()],
        photographs=[
            Picture(
                path,
                f"{who}, which has learned from rendered faces only. Eileen Collins (NASA, public "
                "domain; from scikit-image).",
            )
            for who, path in photographs.items()
        ],
        groups=loaded.schema.group_names,
        masks=masks,
        curves=Picture(curves, "Dashed: training images, solid: validation images."),
        attributes=Picture(
            evaluation / "evaluation.png",
            "Dots are figures on the test split, lines their 95% intervals.",
        ),
        errors=[Picture(faces[mistake.row][0], str(mistake)) for mistake in mistakes],
        next_steps=next_steps,
    )
    return write_html_report(report, path)
