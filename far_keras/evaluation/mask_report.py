"""The figures of masks as JSON and as tables for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from far_keras.evaluation.formatting import format_figure, plain_figures
from far_keras.evaluation.mask_figures import MaskEvaluation, MaskFigures
from far_keras.evaluation.mask_scores import BOUNDARY_TOLERANCE
from far_keras.files import atomic_path

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["MASK_EVALUATION_FILE", "mask_tables", "plain_masks", "write_mask_report"]

MASK_EVALUATION_FILE = "mask_evaluation.json"
_HEADINGS = {"iou": "IoU", "dice": "Dice", "boundary_f1": "boundary F1"}
_SOURCES = {"landmarks": "masks from landmarks", "true": "true (rendered) regions"}


class _Masked(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def masks(self) -> MaskFigures: ...


def mask_tables(models: Iterable[_Masked]) -> list[RenderableType]:
    """A table for each kind of mask that was compared with, a row a group; for `rich`."""
    from rich.table import Table

    masked = [model for model in models if model.masks]
    parts: list[RenderableType] = []
    for source in dict.fromkeys(source for model in masked for source in model.masks):
        table = Table(title=f"masks against {_SOURCES[source]}", title_justify="left")
        table.caption = f"boundary F1 within {BOUNDARY_TOLERANCE} pixels of the 178x218 face"
        table.caption_justify = "left"
        table.add_column("group")
        # Models of one set of attributes may group them differently; the mean comes last.
        groups: dict[str, None] = {}
        for model in masked:
            groups |= dict.fromkeys(model.masks[source]["iou"])
            for heading in _HEADINGS.values():
                above = f"{model.name}\n" if len(masked) > 1 else ""
                table.add_column(above + heading, justify="right")
        for group in sorted(groups, key="mean".__eq__):
            figures = (
                model.masks[source][metric].get(group) for model in masked for metric in _HEADINGS
            )
            table.add_row(group, *("-" if f is None else format_figure(f) for f in figures))
        parts.append(table)
    return parts


def plain_masks(masks: MaskFigures) -> dict[str, Any]:
    """Figures of masks as data for JSON."""
    return {
        source: {metric: plain_figures(figures) for metric, figures in metrics.items()}
        for source, metrics in masks.items()
    }


def write_mask_report(evaluation: MaskEvaluation, folder: str | Path) -> Path:
    """Writes ``mask_evaluation.json`` and returns its path."""
    data = {
        "data": evaluation.data,
        "boundary_tolerance_pixels": BOUNDARY_TOLERANCE,
        "models": {
            model.name: {"folder": model.folder, "masks": plain_masks(model.masks)}
            for model in evaluation.models
        },
    }
    path = Path(folder) / MASK_EVALUATION_FILE
    with atomic_path(path) as temporary:
        text = json.dumps(data, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path
