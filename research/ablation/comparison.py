"""Compares configurations over seeds, and writes tables and plots of the differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from far_keras.console import format_interval
from far_keras.evaluation.bootstrap import interval, resampling_weights
from far_keras.evaluation.metrics import attribute_scores, mean_over_attributes
from far_keras.files import atomic_path, write_atomically

if TYPE_CHECKING:
    from research.ablation.study import Configuration, Study

__all__ = [
    "METRICS",
    "ConfigurationScores",
    "StudyPredictions",
    "compare",
    "study_table",
    "write_study",
]

METRICS = ("roc_auc", "balanced_accuracy", "accuracy")


@dataclass(frozen=True)
class StudyPredictions:
    """The predictions of one trained network for one test set.

    Args:
        labels: (N, A) int8.
        probabilities: (N, A).
        thresholds: (A,), fitted on the validation split of the training's records.
        iou: (N, G) overlaps of predicted and landmark masks, or None.
    """

    labels: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    iou: NDArray[np.float64] | None


@dataclass(frozen=True)
class ConfigurationScores:
    """Scores of one configuration, as means over attributes.

    Args:
        name: The configuration's.
        seeds: Number of trainings.
        means: By metric, the mean over seeds.
        spread: By metric, the standard deviation over seeds; NaN for one seed.
        differences: By metric: this configuration minus the reference, at equal seeds, and the ends
            of the 95% interval; empty for the reference.
        iou: Mean overlap of predicted and landmark masks, or None.
    """

    name: str
    seeds: int
    means: Mapping[str, float]
    spread: Mapping[str, float]
    differences: Mapping[str, tuple[float, float, float]]
    iou: float | None


def compare(
    predictions: Mapping[str, Sequence[StudyPredictions]],
    reference: str,
    *,
    identities: NDArray | None = None,
    columns: Sequence[int] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[ConfigurationScores]:
    """Scores configurations that were trained with the same seeds and predict the same images.

    The interval of a difference holds for other test images and other seeds: each resample draws
    persons, and seeds as pairs of the configuration and the reference, with replacement. With three
    seeds the latter is coarse, and better than leaving it out.

    Args:
        predictions: By configuration, those for a test set of each seed, in the same order.
        reference: The configuration that the others are compared with.
        identities: (N,) for resampling whole persons; None resamples images.
        columns: The attributes that the means are over; None for all.
        resamples: Number of resamples.
        seed: Of the resampling.
    """
    first = predictions[reference][0]
    chosen = list(columns) if columns is not None else list(range(first.labels.shape[1]))
    points = {
        name: np.array([_means(one, chosen) for one in each]) for name, each in predictions.items()
    }
    samples = {
        name: _resample(each, chosen, identities, resamples, seed)
        for name, each in predictions.items()
    }
    # The same draws of seeds for all configurations.
    count = len(predictions[reference])
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    scores = []
    for name, each in predictions.items():
        differences = {}
        if name != reference and len(each) == count:
            gap = samples[name] - samples[reference]  # (S, R, M)
            gap = gap[drawn.T, np.arange(resamples)].mean(axis=0)  # (R, M)
            low, high = interval(gap)
            middle = (points[name] - points[reference]).mean(axis=0)
            differences = {
                metric: (float(middle[m]), float(low[m]), float(high[m]))
                for m, metric in enumerate(METRICS)
            }
        overlaps = [np.nanmean(one.iou) for one in each if one.iou is not None]
        means = points[name].mean(axis=0)
        alone = np.full(len(METRICS), np.nan)
        spread = points[name].std(axis=0, ddof=1) if len(each) > 1 else alone
        scores.append(
            ConfigurationScores(
                name,
                len(each),
                dict(zip(METRICS, means.tolist(), strict=True)),
                dict(zip(METRICS, spread.tolist(), strict=True)),
                differences,
                float(np.mean(overlaps)) if overlaps else None,
            )
        )
    return scores


def _means(
    predictions: StudyPredictions, columns: Sequence[int], weights: NDArray | None = None
) -> NDArray[np.float64]:
    """(M,) means over the attributes of these columns, or (R, M) with weights (N, R)."""
    scores = attribute_scores(
        predictions.labels[:, columns],
        predictions.probabilities[:, columns],
        predictions.thresholds[columns],
        weights,
    )
    return np.stack([mean_over_attributes(scores[metric]) for metric in METRICS], axis=-1)


def _resample(
    each: Sequence[StudyPredictions],
    columns: Sequence[int],
    identities: NDArray | None,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """(S, R, M): the scores of each seed on the same resamples."""
    rows: list[list[NDArray]] = [[] for _ in each]
    for weights in resampling_weights(len(each[0].labels), resamples, seed, identities):
        for row, predictions in zip(rows, each, strict=True):
            row.append(_means(predictions, columns, weights))
    return np.stack([np.concatenate(row) for row in rows])


def write_study(study: Study, folder: str | Path) -> list[Path]:
    """Writes ``ablation.md``, ``ablation.json`` and ``ablation.png`` into `folder`."""
    paths = [Path(folder) / f"ablation.{ending}" for ending in ("md", "json", "png")]
    write_atomically(paths[0], study_table(study))
    write_atomically(paths[1], json.dumps(_plain(study), indent=1) + "\n")
    _plot_differences(study, paths[2])
    return paths


def study_table(study: Study) -> str:
    """Markdown: for each training-set size and test set a table, one line per configuration."""
    settings = study.settings
    kind = "Synthetic (rendered)" if study.synthetic else "Photographed"
    lines = [
        f"{kind} faces; {settings['backbone']}, {settings['image_size']} px, "
        f"{settings['epochs']} epochs, seeds {', '.join(map(str, settings['seeds']))}. Scores are "
        "means over attributes and seeds, ± the standard deviation over seeds; differences are to "
        f"`{study.configurations[0].name}`, with 95% intervals over test persons and seeds.",
    ]
    for size, tests in study.scores.items():
        for test, parts in tests.items():
            for part, rows in parts.items():
                which = {"all": "", "focus": f", {', '.join(study.focus)}"}
                # Only where attributes with few labels are left out.
                over = f"; means over {study.attributes[test][part]} attributes"
                lines += [
                    "",
                    f"**{size:,} training images, test set {test!r} ({study.images[test]:,} "
                    f"images of {study.persons[test]:,} persons{over if settings['least'] else ''})"
                    f"{which.get(part, ', the other attributes')}**",
                    "",
                    "| configuration | what changes | ROC AUC | difference | balanced accuracy | "
                    "difference | accuracy | mask IoU |",
                    "|---|---|---|---|---|---|---|---|",
                ]
                lines += [_row(*each) for each in zip(study.configurations, rows, strict=True)]
    return "\n".join(lines) + "\n"


def _row(configuration: Configuration, row: ConfigurationScores) -> str:
    cells = [f"`{configuration.name}`", configuration.change]
    for name in ("roc_auc", "balanced_accuracy"):
        cells.append(f"{row.means[name]:.3f} ± {row.spread[name]:.3f}")
        difference = row.differences.get(name)
        cells.append("" if difference is None else format_interval(*difference, signed=True))
    cells.append(f"{row.means['accuracy']:.3f}")
    cells.append("" if row.iou is None else f"{row.iou:.2f}")
    return "| " + " | ".join(cells) + " |"


def _plot_differences(study: Study, path: Path) -> None:
    """Draws the differences in ROC AUC to the reference: one row of panels per test set."""
    from matplotlib.figure import Figure

    reference, *others = (each.name for each in study.configurations)
    tables = [
        (size, f"{test}, {part}" if part != "all" else test, rows)
        for size, tests in study.scores.items()
        for test, parts in tests.items()
        for part, rows in parts.items()
    ]
    down = sum(len(tests) for tests in study.scores.values())
    across = len(tables) // down
    figure = Figure(figsize=(2 + 3.4 * across, 0.6 + (0.6 + 0.2 * len(others)) * down), dpi=120)
    panels = figure.subplots(down, across, sharey=True, sharex=True, squeeze=False)
    for panel, (size, title, rows) in zip(panels.flat, tables, strict=True):
        by_name = {row.name: row for row in rows}
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
        panel.set_xlabel(f"ROC AUC minus that of {reference}", fontsize=8)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _plain(study: Study) -> dict[str, object]:
    return {
        "settings": dict(study.settings),
        "focus": list(study.focus),
        "images": dict(study.images),
        "persons": dict(study.persons),
        "attributes": {test: dict(parts) for test, parts in study.attributes.items()},
        "synthetic": study.synthetic,
        "scores": {
            str(size): {
                test: {part: [asdict(row) for row in rows] for part, rows in parts.items()}
                for test, parts in tests.items()
            }
            for size, tests in study.scores.items()
        },
    }
