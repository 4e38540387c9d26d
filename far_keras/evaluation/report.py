"""Reports of an evaluation: JSON, tables for the terminal, plots, example images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far_keras.calibration import sigmoid
from far_keras.console import json_number
from far_keras.evaluation.bootstrap import Estimate
from far_keras.evaluation.evaluate import (
    MAJORITY,
    Evaluation,
    MaskEstimates,
    ModelScores,
    describe_data,
)
from far_keras.evaluation.metrics import BOUNDARY_TOLERANCE, group_masks
from far_keras.evaluation.predict import SplitPredictions, read_faces
from far_keras.files import atomic_path, write_atomically
from far_keras.images import resize_image
from far_keras.recognition.drawing import overlay_masks
from far_keras.schema import MISSING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from far_keras.models.storage import LoadedModel

__all__ = [
    "HEADLINE",
    "Mistake",
    "mask_examples",
    "mask_tables",
    "plot_attributes",
    "plot_curves",
    "tables",
    "to_dict",
    "worst_mistakes",
    "write_mask_report",
    "write_report",
]

HEADLINE = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "f1": "F1",
}
"""Titles of the metrics that tables show."""

_CALIBRATION = {
    "expected_calibration_error": "expected calibration error",
    "brier_score": "Brier score",
}
_MASK_METRICS = {"iou": "IoU", "dice": "Dice", "boundary_f1": "boundary F1"}
_MASK_SOURCES = {"landmarks": "masks from landmarks", "true": "true (rendered) regions"}
# Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008).
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_GREY = "#8a8a8a"


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Plain data for JSON; what is undefined is None."""

    def by_attribute(attributes: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Any]:
        return {name: _plain(each) for name, each in attributes.items()}

    def model(scores: ModelScores) -> dict[str, Any]:
        data: dict[str, Any] = {
            "folder": scores.folder,
            "mean": _plain(scores.mean),
            "attributes": by_attribute(scores.attributes),
            "thresholds": scores.thresholds,
        }
        if scores.mask_iou is not None:
            data["mask_iou"] = _plain(scores.mask_iou)
            data["masks"] = _plain_masks(scores.masks)
        if scores.calibration is not None:
            data["calibration"] = {k: json_number(v) for k, v in scores.calibration.items()}
        return data

    return {
        "data": evaluation.data,
        "left_out_of_means": list(evaluation.undefined),
        "scarce": list(evaluation.scarce),
        "prevalence": {name: json_number(value) for name, value in evaluation.prevalence.items()},
        "known_labels": evaluation.known,
        "models": {scores.name: model(scores) for scores in evaluation.models},
        "differences": [
            {
                "first": difference.first,
                "second": difference.second,
                "mean": _plain(difference.mean),
                "attributes": by_attribute(difference.attributes),
            }
            for difference in evaluation.differences
        ],
    }


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: each.to_dict() for name, each in estimates.items()}


def _plain_masks(masks: MaskEstimates) -> dict[str, Any]:
    return {
        source: {metric: _plain(estimates) for metric, estimates in metrics.items()}
        for source, metrics in masks.items()
    }


def write_report(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Writes ``evaluation.json`` and ``evaluation.png`` and returns their paths."""
    folder = Path(folder)
    path = _write_json(to_dict(evaluation), folder / "evaluation.json")
    return [path, plot_attributes(evaluation, folder / "evaluation.png")]


def write_mask_report(evaluation: Evaluation, folder: str | Path) -> Path:
    """Writes ``mask_evaluation.json`` and returns its path."""
    data = {
        "data": evaluation.data,
        "boundary_tolerance_pixels": BOUNDARY_TOLERANCE,
        "models": {
            model.name: {"folder": model.folder, "masks": _plain_masks(model.masks)}
            for model in evaluation.models
        },
    }
    return _write_json(data, Path(folder) / "mask_evaluation.json")


def _write_json(data: Mapping[str, Any], path: Path) -> Path:
    write_atomically(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
    return path


def tables(evaluation: Evaluation) -> list[RenderableType]:
    """Tables for `rich`: means, differences, masks, calibration, and one row per attribute."""
    means = _table(describe_data(evaluation.data), "mean over attributes", HEADLINE.values())
    for scores in evaluation.models:
        means.add_row(scores.name, *(scores.mean[key].format() for key in HEADLINE))
    for difference in evaluation.differences:
        means.add_section()
        means.add_row(
            f"{difference.first}\n- {difference.second}",
            *(difference.mean[key].format(signed=True) for key in HEADLINE),
        )
    notes = [
        f"{name} was given the records' own masks ({source}): an upper bound, not a recogniser"
        for name, source in evaluation.data.get("given_masks", {}).items()
    ]
    if evaluation.undefined:
        undefined = ", ".join(evaluation.undefined)
        notes.append(f"left out where undefined (one class only): {undefined}")
    if notes:
        means.caption = "\n".join(notes)
    parts: list[RenderableType] = [means, *mask_tables(evaluation.models)]

    calibrated = {m.name: m.calibration for m in evaluation.models if m.calibration}
    if calibrated:
        titles = _CALIBRATION.values()
        table = _table("calibration, and without it", "mean over attributes", titles)
        for name, values in calibrated.items():
            pairs = ((values[key], values[f"{key}_uncalibrated"]) for key in _CALIBRATION)
            table.add_row(name, *(f"{after:.4f} ({before:.4f})" for after, before in pairs))
        parts.append(table)

    each = _table(
        "ROC AUC, and accuracy in brackets",
        "attribute",
        ["yes", *(scores.name for scores in evaluation.models)],
    )
    if evaluation.scarce:
        each.caption = "* fewer than 10 labels of the rarer class: the interval is too narrow"
    for name in evaluation.attributes:
        share = evaluation.prevalence[name]
        each.add_row(
            name + (" *" if name in evaluation.scarce else ""),
            f"{share:.0%}" if math.isfinite(share) else "-",
            *(_auc_and_accuracy(scores, name) for scores in evaluation.models),
        )
    return [*parts, each]


def mask_tables(models: Iterable[ModelScores]) -> list[RenderableType]:
    """For `rich`: one table for each kind of mask compared with, one row per group."""
    masked = [model for model in models if model.masks]
    parts: list[RenderableType] = []
    for source in dict.fromkeys(source for model in masked for source in model.masks):
        titles = [
            (f"{model.name}\n" if len(masked) > 1 else "") + title
            for model in masked
            for title in _MASK_METRICS.values()
        ]
        table = _table(f"masks against {_MASK_SOURCES[source]}", "group", titles)
        table.caption = f"boundary F1 within {BOUNDARY_TOLERANCE} pixels of the 178x218 face"
        # Models of one set of attributes may group them differently; the mean comes last.
        groups = dict.fromkeys(g for model in masked for g in model.masks[source]["iou"])
        for group in sorted(groups, key="mean".__eq__):
            estimates = (
                model.masks[source][metric].get(group)
                for model in masked
                for metric in _MASK_METRICS
            )
            table.add_row(group, *("-" if e is None else e.format() for e in estimates))
        parts.append(table)
    return parts


def _table(title: str, first: str, columns: Iterable[str]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _auc_and_accuracy(scores: ModelScores, attribute: str) -> str:
    estimates = scores.attributes[attribute]
    accuracy = estimates["accuracy"].value
    shown = f"({accuracy:.3f})" if math.isfinite(accuracy) else "(-)"
    return shown if scores.name == MAJORITY else f"{estimates['roc_auc'].format()} {shown}"


def plot_attributes(evaluation: Evaluation, path: str | Path) -> Path:
    """Draws each attribute's ROC AUC and accuracy with intervals, models side by side.

    The attributes are sorted by the first model's AUC; undefined ones are left out.

    Args:
        evaluation: What to draw.
        path: The ending chooses the format, such as ``.png`` or ``.svg``.
    """
    from matplotlib.figure import Figure as Canvas

    models = evaluation.models

    def auc(name: str) -> float:
        return models[0].attributes[name]["roc_auc"].value

    names = sorted((n for n in evaluation.attributes if np.isfinite(auc(n))), key=auc)
    canvas = Canvas(figsize=(11, 1.9 + 0.27 * max(1, len(names))), layout="constrained")
    left, right = canvas.subplots(1, 2, sharey=True)
    step = 0.6 / max(1, len(models))
    for axes, key, title in (
        (left, "roc_auc", "ROC AUC"),
        (right, "accuracy", "accuracy"),
    ):
        for m, scores in enumerate(models):
            estimates = [scores.attributes[name][key] for name in names]
            values = np.array([each.value for each in estimates])
            sides = np.array([[e.value - e.low, e.high - e.value] for e in estimates])
            places = np.arange(len(names)) + step * ((len(models) - 1) / 2 - m)
            mean = f"{scores.name} (mean {scores.mean[key].value:.3f})"
            if scores.name == MAJORITY:
                if key == "roc_auc":
                    axes.axvline(0.5, color=_GREY, lw=1.5, ls=":", label=mean)
                    continue
                axes.plot(values, places, "|", color=_GREY, ms=9, mew=2, label=mean)
                continue
            axes.errorbar(
                values,
                places,
                xerr=np.clip(sides, 0, None).T.reshape(2, -1),
                fmt="os"[m % 2],
                ms=4.5,
                lw=1.2,
                color=_COLORS[m % len(_COLORS)],
                label=mean,
            )
        axes.set_title(title, loc="left", fontweight="bold")
        axes.grid(axis="x", color="#dddddd")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.04), frameon=False, fontsize=9)
    left.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    left.set_ylim(-0.7, max(0.7, len(names) - 0.3))
    for axes, key in ((left, "roc_auc"), (right, "accuracy")):
        # Wide enough for all values; the interval of a rare attribute may leave the panel.
        lowest = (s.attributes[n][key].value - 0.02 for s in models for n in names)
        axes.set_xlim(min([0.48, *lowest]), 1.005)
    canvas.suptitle(describe_data(evaluation.data), fontsize=10, x=0.01, ha="left")
    return _save(canvas, path)


def plot_curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], keys: Mapping[str, str], path: str | Path
) -> Path:
    """Draws training curves: one panel per key, solid on validation, dashed in training.

    Args:
        histories: By model name, one row per epoch, as in a model's ``history.json``.
        keys: Titles by key of a row, such as ``{"auc": "ROC AUC"}``; a key that no row has is
            left out. The validation split's values are under ``val_`` and the key.
        path: The ending chooses the format.
    """
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MaxNLocator

    present = {key for rows in histories.values() for row in rows for key in row}
    drawn = [key for key in keys if present & {key, f"val_{key}"}]
    canvas = Canvas(figsize=(4.2 * max(1, len(drawn)), 3.4), layout="constrained")
    panels: Any = canvas.subplots(1, max(1, len(drawn)), squeeze=False)[0]
    for axes, key in zip(panels, drawn, strict=False):
        for m, (name, rows) in enumerate(histories.items()):
            color = _COLORS[m % len(_COLORS)]
            for prefix, style in (("", "--"), ("val_", "-")):
                points = [(r["epoch"], r[prefix + key]) for r in rows if prefix + key in r]
                if points:
                    label = f"{name}, {'validation' if prefix else 'training'}"
                    axes.plot(
                        *zip(*points, strict=True), style, color=color, label=label, marker="."
                    )
        axes.set_title(keys[key], loc="left", fontweight="bold")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
    if drawn:
        handles, labels = panels[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return _save(canvas, path)


def _save(canvas: Any, path: str | Path) -> Path:
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, dpi=130)
    return Path(path)


@dataclass(frozen=True)
class Mistake:
    """A confident wrong prediction.

    Args:
        row: Index of the image in its split.
        attribute: Its name.
        label: The true one, 1 or 0.
        probability: The predicted one, of "yes".
    """

    row: int
    attribute: str
    label: int
    probability: float

    def __str__(self) -> str:
        word, share = ("no", 1 - self.probability) if self.label else ("yes", self.probability)
        name = self.attribute.replace("_", " ")
        return f"{name}: predicted {word} ({share:.0%} sure), labelled {['no', 'yes'][self.label]}"


def worst_mistakes(
    attributes: tuple[str, ...], predictions: SplitPredictions, count: int = 12, each: int = 2
) -> list[Mistake]:
    """The surest wrong predictions, one per image and at most `each` per attribute."""
    known = predictions.labels != MISSING
    wrongness = np.where(known, np.abs(predictions.probabilities - predictions.labels), 0.0)
    order = np.argsort(-wrongness, axis=None, kind="stable")
    found: list[Mistake] = []
    used = dict.fromkeys(attributes, 0)
    for row, column in zip(*np.unravel_index(order, wrongness.shape), strict=True):
        if len(found) == count or wrongness[row, column] < 0.5:
            break
        name = attributes[column]
        if used[name] < each and all(mistake.row != row for mistake in found):
            used[name] += 1
            probability = float(predictions.probabilities[row, column])
            found.append(Mistake(int(row), name, int(predictions.labels[row, column]), probability))
    return found


def mask_examples(
    loaded: LoadedModel, records: str | Path, split: str, rows: list[int]
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]:
    """For rows of a split: the image, with landmark masks over it, with predicted masks over it.

    Rows without landmark masks, or without a face, are left out.
    """
    from far_keras.models.storage import compile_forward

    forward = compile_forward(loaded.model)
    faces = read_faces(records, split, rows)
    shown = []
    for row in rows:
        image, regions = faces[row]
        if regions is None or not regions.any():
            continue
        outputs = forward(resize_image(image, loaded.image_size)[None])
        logits = np.moveaxis(outputs["masks"][0], -1, 0)  # (G, h, w)
        predicted = sigmoid(logits)
        given = group_masks(regions, loaded.schema).astype(np.float32)
        shown.append((image, overlay_masks(image, given), overlay_masks(image, predicted)))
    return shown
