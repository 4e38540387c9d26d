"""Images of figures: a dot plot of all attributes, and training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from far_keras.evaluation.figures import MAJORITY, Evaluation, describe_data
from far_keras.files import atomic_path

__all__ = ["plot_attributes", "plot_curves"]

# Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008).
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_GREY = "#8a8a8a"


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
            figures = [scores.attributes[name][key] for name in names]
            values = np.array([figure.value for figure in figures])
            sides = np.array([[f.value - f.low, f.high - f.value] for f in figures])
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
    canvas.suptitle(describe_data(evaluation), fontsize=10, x=0.01, ha="left")
    return _save(canvas, path)


def plot_curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], keys: Mapping[str, str], path: str | Path
) -> Path:
    """Draws training curves: a panel for each key, solid on validation, dashed in training.

    Args:
        histories: By model name, one row an epoch, as in a model's ``history.json``.
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
    path = Path(path)
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, dpi=130)
    return path
