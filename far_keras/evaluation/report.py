"""An evaluation as JSON and as a table for the terminal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far_keras.evaluation.figures import (
    MAJORITY,
    Evaluation,
    ModelScores,
    describe_data,
)
from far_keras.evaluation.formatting import (
    format_figure,
    format_signed,
    plain_figures,
    plain_number,
)
from far_keras.evaluation.mask_report import mask_tables, plain_masks
from far_keras.evaluation.plots import plot_attributes
from far_keras.files import atomic_path

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["EVALUATION_FILE", "tables", "to_dict", "write_report"]

EVALUATION_FILE = "evaluation.json"
HEADLINE = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "f1": "F1",
}
CALIBRATION = {
    "expected_calibration_error": "expected calibration error",
    "brier_score": "Brier score",
}


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Plain data for JSON; what is undefined is None."""

    def model(scores: ModelScores) -> dict[str, Any]:
        data: dict[str, Any] = {
            "folder": scores.folder,
            "mean": plain_figures(scores.mean),
            "attributes": {name: plain_figures(each) for name, each in scores.attributes.items()},
            "thresholds": scores.thresholds,
        }
        if scores.mask_iou is not None:
            data["mask_iou"] = plain_figures(scores.mask_iou)
            data["masks"] = plain_masks(scores.masks)
        if scores.calibration is not None:
            data["calibration"] = {
                name: plain_number(value) for name, value in scores.calibration.items()
            }
        return data

    return {
        "data": evaluation.data,
        "left_out_of_means": list(evaluation.undefined),
        "scarce": list(evaluation.scarce),
        "prevalence": {name: plain_number(value) for name, value in evaluation.prevalence.items()},
        "known_labels": evaluation.known,
        "models": {scores.name: model(scores) for scores in evaluation.models},
        "differences": [
            {
                "first": difference.first,
                "second": difference.second,
                "mean": plain_figures(difference.mean),
                "attributes": {n: plain_figures(each) for n, each in difference.attributes.items()},
            }
            for difference in evaluation.differences
        ],
    }


def write_report(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Writes ``evaluation.json`` and ``evaluation.png`` and returns their paths."""
    folder = Path(folder)
    with atomic_path(folder / EVALUATION_FILE) as temporary:
        text = json.dumps(to_dict(evaluation), indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    plot_attributes(evaluation, folder / "evaluation.png")
    return [folder / EVALUATION_FILE, folder / "evaluation.png"]


def tables(evaluation: Evaluation) -> list[RenderableType]:
    """Tables for `rich`: the means, the differences, the masks, and one row an attribute."""
    from rich.table import Table

    title = describe_data(evaluation)
    means = Table(title=title, title_justify="left")
    means.add_column("mean over attributes")
    for heading in HEADLINE.values():
        means.add_column(heading, justify="right")
    for scores in evaluation.models:
        means.add_row(scores.name, *(format_figure(scores.mean[key]) for key in HEADLINE))
    for difference in evaluation.differences:
        means.add_section()
        means.add_row(
            f"{difference.first}\n- {difference.second}",
            *(format_signed(difference.mean[key]) for key in HEADLINE),
        )
    notes = [
        f"{name} was given the records' own masks ({source}): an upper bound, not a recogniser"
        for name, source in evaluation.data.get("given_masks", {}).items()
    ]
    if evaluation.undefined:
        undefined = ", ".join(evaluation.undefined)
        notes.append(f"left out where undefined (one class only): {undefined}")
    if notes:
        means.caption, means.caption_justify = "\n".join(notes), "left"
    parts: list[RenderableType] = [means]

    parts += mask_tables(evaluation.models)

    calibrated = [scores for scores in evaluation.models if scores.calibration]
    if calibrated:
        table = Table(title="calibration, and without it", title_justify="left")
        table.add_column("mean over attributes")
        for heading in CALIBRATION.values():
            table.add_column(heading, justify="right")
        for scores in calibrated:
            values = scores.calibration or {}
            pairs = ((values[key], values[f"{key}_uncalibrated"]) for key in CALIBRATION)
            table.add_row(scores.name, *(f"{after:.4f} ({before:.4f})" for after, before in pairs))
        parts.append(table)

    each = Table(title="ROC AUC, and accuracy in brackets", title_justify="left")
    if evaluation.scarce:
        each.caption = "* fewer than 10 labels of the rarer class: the interval is too narrow"
        each.caption_justify = "left"
    each.add_column("attribute")
    each.add_column("yes", justify="right")
    for scores in evaluation.models:
        each.add_column(scores.name, justify="right")
    for name in evaluation.attributes:
        share = evaluation.prevalence[name]
        each.add_row(
            name + (" *" if name in evaluation.scarce else ""),
            f"{share:.0%}" if math.isfinite(share) else "-",
            *(_pair(scores, name) for scores in evaluation.models),
        )
    parts.append(each)
    return parts


def _pair(scores: ModelScores, attribute: str) -> str:
    figures = scores.attributes[attribute]
    accuracy = figures["accuracy"].value
    shown = f"({accuracy:.3f})" if math.isfinite(accuracy) else "(-)"
    if scores.name == MAJORITY:
        return shown
    return f"{format_figure(figures['roc_auc'])} {shown}"
