"""Writes a study down: a Markdown table, JSON, and an image of the differences."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from far_keras.experiments.ablation import Ablation
from far_keras.experiments.arms import REFERENCE, Arm
from far_keras.experiments.comparison import ArmFigures
from far_keras.files import atomic_path

__all__ = ["ablation_table", "difference_plot", "write_ablation"]


def write_ablation(ablation: Ablation, folder: str | Path) -> list[Path]:
    """Writes ``ablation.md``, ``ablation.json`` and ``ablation.png`` into `folder`."""
    folder = Path(folder)
    paths = [folder / f"ablation.{ending}" for ending in ("md", "json", "png")]
    with atomic_path(paths[0]) as temporary:
        temporary.write_text(ablation_table(ablation), encoding="utf-8")
    with atomic_path(paths[1]) as temporary:
        temporary.write_text(json.dumps(_plain(ablation), indent=1) + "\n", encoding="utf-8")
    difference_plot(ablation, paths[2])
    return paths


def ablation_table(ablation: Ablation) -> str:
    """Markdown: for each number of training images and each test set a table, one line an arm."""
    settings = ablation.settings
    kind = "Synthetic (rendered)" if ablation.synthetic else "Photographed"
    lines = [
        f"{kind} faces; {settings['backbone']}, {settings['image_size']} px, "
        f"{settings['epochs']} epochs, seeds {', '.join(map(str, settings['seeds']))}. Figures are "
        "means over attributes and seeds, ± the standard deviation over seeds; differences are to "
        f"`{REFERENCE}`, with 95% intervals over test persons and seeds.",
    ]
    for size, tests in ablation.figures.items():
        for test, parts in tests.items():
            for part, figures in parts.items():
                which = {"all": "", "focus": f", {', '.join(ablation.focus)}"}
                lines += [
                    "",
                    f"**{size:,} training images, test set {test!r} ({ablation.pictures[test]:,} "
                    f"images of {ablation.persons[test]:,} persons{_means(ablation, test, part)})"
                    f"{which.get(part, ', the other attributes')}**",
                    "",
                    "| arm | what changes | ROC AUC | difference | balanced accuracy | difference "
                    "| accuracy | mask IoU |",
                    "|---|---|---|---|---|---|---|---|",
                ]
                lines += [_row(arm, row) for arm, row in zip(ablation.arms, figures, strict=True)]
    return "\n".join(lines) + "\n"


def _means(ablation: Ablation, test: str, part: str) -> str:
    """How many attributes the means are over, where those with few labels are left out."""
    if not ablation.settings["least"]:
        return ""
    return f"; means over {ablation.attributes[test][part]} attributes"


def difference_plot(ablation: Ablation, path: str | Path) -> Path:
    """Draws the differences in ROC AUC to the reference as PNG: a row of panels a test set."""
    from matplotlib.figure import Figure

    others = [arm.name for arm in ablation.arms if arm.name != REFERENCE]
    tables = [
        (size, f"{test}, {part}" if part != "all" else test, figures)
        for size, tests in ablation.figures.items()
        for test, parts in tests.items()
        for part, figures in parts.items()
    ]
    down = sum(len(tests) for tests in ablation.figures.values())
    across = len(tables) // down
    figure = Figure(figsize=(2 + 3.4 * across, 0.6 + (0.6 + 0.2 * len(others)) * down), dpi=120)
    panels = figure.subplots(down, across, sharey=True, sharex=True, squeeze=False)
    for panel, (size, title, figures) in zip(panels.flat, tables, strict=True):
        by_name = {row.name: row for row in figures}
        for y, name in enumerate(reversed(others)):
            middle, low, high = by_name[name].differences["roc_auc"]
            panel.plot([low, high], [y, y], color="#37556e", linewidth=2)
            panel.plot(middle, y, "o", color="#37556e", markersize=5)
        panel.axvline(0, color="#888888", linewidth=0.8)
        panel.set_yticks(range(len(others)), list(reversed(others)))
        panel.set_ylim(-0.6, len(others) - 0.4)
        panel.set_title(f"{size:,} images: {title}", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
    for panel in panels[-1]:
        panel.set_xlabel(f"ROC AUC minus that of {REFERENCE}", fontsize=8)
    figure.tight_layout()
    path = Path(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
    return path


def _row(arm: Arm, row: ArmFigures) -> str:
    cells = [f"`{arm.name}`", arm.question]
    for name in ("roc_auc", "balanced_accuracy"):
        cells.append(f"{row.means[name]:.3f} ± {row.spread[name]:.3f}")
        difference = row.differences.get(name)
        cells.append("" if difference is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*difference))
    cells.append(f"{row.means['accuracy']:.3f}")
    cells.append("" if row.iou is None else f"{row.iou:.2f}")
    return "| " + " | ".join(cells) + " |"


def _plain(ablation: Ablation) -> dict[str, object]:
    return {
        "settings": dict(ablation.settings),
        "focus": list(ablation.focus),
        "pictures": dict(ablation.pictures),
        "persons": dict(ablation.persons),
        "attributes": {test: dict(parts) for test, parts in ablation.attributes.items()},
        "synthetic": ablation.synthetic,
        "figures": {
            str(size): {
                test: {part: [asdict(row) for row in rows] for part, rows in parts.items()}
                for test, parts in tests.items()
            }
            for size, tests in ablation.figures.items()
        },
    }
