"""Figures of several trainings an arm, and how far each arm is from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from far_keras.evaluation.bootstrap import interval, resampling_weights
from far_keras.evaluation.scores import attribute_scores, mean_over_attributes
from far_keras.experiments.jobs import Said

__all__ = ["FIGURES", "ArmFigures", "compare"]

FIGURES = ("roc_auc", "balanced_accuracy", "accuracy")


@dataclass(frozen=True)
class ArmFigures:
    """What one arm came to, as means over attributes.

    Args:
        name: The arm's.
        seeds: Number of trainings.
        means: By figure, the mean over seeds.
        spread: By figure, the standard deviation over seeds; NaN for one seed.
        differences: By figure: this arm minus the reference, at equal seeds, and the ends of the
            95% interval; empty for the reference.
        iou: Mean overlap of predicted and landmark masks, or None.
    """

    name: str
    seeds: int
    means: Mapping[str, float]
    spread: Mapping[str, float]
    differences: Mapping[str, tuple[float, float, float]]
    iou: float | None


def compare(
    said: Mapping[str, Sequence[Said]],
    reference: str,
    *,
    identities: NDArray | None = None,
    columns: Sequence[int] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[ArmFigures]:
    """Scores arms that were trained with the same seeds and answered the same images.

    The interval of a difference holds for other test images and other seeds: each resample draws
    persons, and seeds as pairs of the arm and the reference, with replacement. With three seeds
    the latter is coarse, and better than leaving it out.

    Args:
        said: By arm, a test set's answers of each seed, in the same order of seeds.
        reference: The arm that the others are compared with.
        identities: (N,) for resampling whole persons; None resamples images.
        columns: The attributes that the means are over; None for all.
        resamples: Number of resamples.
        seed: Of the resampling.
    """
    first = said[reference][0]
    chosen = list(columns) if columns is not None else list(range(first.labels.shape[1]))
    points = {arm: np.array([_score(one, chosen) for one in each]) for arm, each in said.items()}
    samples = {arm: _resample(each, chosen, identities, resamples, seed)
               for arm, each in said.items()}  # fmt: skip
    # The same draws of seeds for all arms.
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(said[reference]), (resamples, len(said[reference])))
    figures = []
    for arm, each in said.items():
        differences = {}
        if arm != reference and len(each) == len(said[reference]):
            gap = samples[arm] - samples[reference]  # (S, R, F)
            gap = gap[drawn.T, np.arange(resamples)].mean(axis=0)  # (R, F)
            low, high = interval(gap)
            middle = (points[arm] - points[reference]).mean(axis=0)
            differences = {
                name: (float(middle[f]), float(low[f]), float(high[f]))
                for f, name in enumerate(FIGURES)
            }
        overlaps = [np.nanmean(one.iou) for one in each if one.iou is not None]
        means = points[arm].mean(axis=0)
        spread = points[arm].std(axis=0, ddof=1) if len(each) > 1 else np.full(len(FIGURES), np.nan)
        figures.append(
            ArmFigures(
                arm,
                len(each),
                dict(zip(FIGURES, means.tolist(), strict=True)),
                dict(zip(FIGURES, spread.tolist(), strict=True)),
                differences,
                float(np.mean(overlaps)) if overlaps else None,
            )
        )
    return figures


def _score(said: Said, columns: Sequence[int]) -> list[float]:
    scores = attribute_scores(
        said.labels[:, columns], said.probabilities[:, columns], said.thresholds[columns]
    )
    return [float(mean_over_attributes(scores[name])) for name in FIGURES]


def _resample(
    each: Sequence[Said],
    columns: Sequence[int],
    identities: NDArray | None,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """(S, R, F): the figures of each seed on the same resamples."""
    rows: list[list[NDArray]] = [[] for _ in each]
    for weights in resampling_weights(len(each[0].labels), resamples, seed, identities):
        for row, said in zip(rows, each, strict=True):
            scores = attribute_scores(
                said.labels[:, columns],
                said.probabilities[:, columns],
                said.thresholds[columns],
                weights,
            )
            row.append(np.stack([mean_over_attributes(scores[n]) for n in FIGURES], axis=-1))
    return np.stack([np.concatenate(row) for row in rows])
