"""An evaluation as JSON and as a table for the terminal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far_keras.atomic import atomic_path
from far_keras.evaluation.figures import (
    MAJORITY,
    Evaluation,
    Figure,
    ModelScores,
    describe_data,
)
from far_keras.evaluation.plots import plot_attributes

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["EVALUATION_FILE", "format_figure", "tables", "to_dict", "write_report"]

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
            "mean": _plain(scores.mean),
            "attributes": {name: _plain(each) for name, each in scores.attributes.items()},
            "thresholds": scores.thresholds,
        }
        if scores.mask_iou is not None:
            data["mask_iou"] = _plain(scores.mask_iou)
        if scores.calibration is not None:
            data["calibration"] = {n: _number(value) for n, value in scores.calibration.items()}
        return data

    return {
        "data": evaluation.data,
        "left_out_of_means": list(evaluation.undefined),
        "scarce": list(evaluation.scarce),
        "prevalence": {name: _number(value) for name, value in evaluation.prevalence.items()},
        "known_labels": evaluation.known,
        "models": {scores.name: model(scores) for scores in evaluation.models},
        "differences": [
            {
                "first": difference.first,
                "second": difference.second,
                "mean": _plain(difference.mean),
                "attributes": {n: _plain(each) for n, each in difference.attributes.items()},
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


def format_figure(figure: Figure, digits: int = 3) -> str:
    """Such as ``0.912 [0.90, 0.92]``; a dash where undefined."""
    if not math.isfinite(figure.value):
        return "-"
    if not math.isfinite(figure.low):
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


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
            *(_signed(difference.mean[key]) for key in HEADLINE),
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

    masked = [scores for scores in evaluation.models if scores.mask_iou]
    if masked:
        masks = Table(title="mask IoU against landmark masks", title_justify="left")
        masks.add_column("group")
        for scores in masked:
            masks.add_column(scores.name, justify="right")
        # Models of one set of attributes may group them differently; the mean comes last.
        groups = dict.fromkeys(name for scores in masked for name in scores.mask_iou or {})
        for group in sorted(groups, key="mean".__eq__):
            figures = ((scores.mask_iou or {}).get(group) for scores in masked)
            masks.add_row(group, *("-" if f is None else format_figure(f) for f in figures))
        parts.append(masks)

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


def _signed(figure: Figure) -> str:
    if not math.isfinite(figure.value):
        return "-"
    return f"{figure.value:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"


def _plain(figures: dict[str, Figure]) -> dict[str, dict[str, float | None]]:
    return {
        key: {"value": _number(f.value), "low": _number(f.low), "high": _number(f.high)}
        for key, f in figures.items()
    }


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
