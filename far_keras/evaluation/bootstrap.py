"""Bootstrap intervals: how far an estimate would move with other test images.

Images of one person are alike, so whole persons are resampled where identities are known, else
single images. All models are scored on the same resamples, so the difference of two models is a
paired comparison. The intervals do not cover another training seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from far_keras.console import format_interval, json_number
from far_keras.errors import DatasetError
from far_keras.evaluation.metrics import METRICS, attribute_scores, mean_over_attributes

__all__ = [
    "Estimate",
    "ThresholdedProbabilities",
    "estimate",
    "estimate_means",
    "interval",
    "resample_means",
    "resample_scores",
    "resampling_weights",
]

_CHUNK_CELLS = 4_000_000  # images x resamples held at once: 32 MB of weights


@dataclass(frozen=True)
class ThresholdedProbabilities:
    """The predictions of one model for the images of a split.

    Args:
        probabilities: (N, A) in [0, 1].
        thresholds: (A,); a probability of at least this much is a "yes".
    """

    probabilities: NDArray[Any]
    thresholds: NDArray[Any]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval; NaN where undefined."""

    value: float
    low: float
    high: float

    def format(self, digits: int = 3, *, signed: bool = False) -> str:
        """Such as ``0.912 [0.901, 0.922]``; a dash where undefined."""
        return format_interval(self.value, self.low, self.high, digits, signed=signed)

    def to_dict(self) -> dict[str, float | None]:
        """Data for JSON; None where undefined."""
        return {name: json_number(value) for name, value in vars(self).items()}


def estimate(value: ArrayLike, samples: ArrayLike) -> Estimate:
    """A value with the percentile interval of its resamples (R,)."""
    low, high = interval(samples)
    return Estimate(float(np.asarray(value)), float(low), float(high))


def resampling_weights(
    count: int, resamples: int = 1000, seed: int = 0, identities: ArrayLike | None = None
) -> Iterator[NDArray[np.float64]]:
    """How often each image is drawn in each resample.

    Args:
        count: N, the number of images.
        resamples: R, the number of resamples.
        seed: Of the draws.
        identities: (N,), anything hashable by NumPy: images of equal identity are drawn
            together. None draws single images.

    Yields:
        Chunks (N, r) of whole numbers as float64, R columns in all.
    """
    if resamples < 1 or count < 1:
        raise DatasetError(
            "count and resamples: expected at least one image and one resample. "
            f"Received: {count} and {resamples}"
        )
    if identities is None:
        member = np.arange(count)
    else:
        member = np.unique(np.asarray(identities), return_inverse=True)[1].reshape(-1)
        if len(member) != count:
            raise DatasetError(
                f"identities: expected one for each of {count} images. Received: {len(member)}"
            )
    units = int(member.max()) + 1
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK_CELLS // count)
    for start in range(0, resamples, size):
        width = min(size, resamples - start)
        draws = rng.integers(0, units, size=(width, units)) + units * np.arange(width)[:, None]
        counts = np.bincount(draws.ravel(), minlength=units * width).reshape(width, units)
        yield np.ascontiguousarray(counts.T[member], dtype=np.float64)


def resample_scores(
    labels: ArrayLike,
    models: Mapping[str, ThresholdedProbabilities],
    *,
    resamples: int = 1000,
    seed: int = 0,
    identities: ArrayLike | None = None,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Scores of several models on the same resamples of the test images.

    Args:
        labels: (N, A), 1, 0 or `MISSING`.
        models: Their predictions by name.
        resamples: R.
        seed: Of the draws.
        identities: See `resampling_weights`.

    Returns:
        ``[model][metric]`` is an array (R, A), NaN where a resample lacks a class. The difference
        of two models' arrays gives the paired interval of their difference.
    """
    labels = np.asarray(labels)
    chunks: dict[str, list[dict[str, NDArray[np.float64]]]] = {name: [] for name in models}
    for weights in resampling_weights(len(labels), resamples, seed, identities):
        for name, model in models.items():
            chunks[name].append(
                attribute_scores(labels, model.probabilities, model.thresholds, weights)
            )
    return {
        name: {metric: np.concatenate([part[metric] for part in parts]) for metric in METRICS}
        for name, parts in chunks.items()
    }


def resample_means(
    values: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    identities: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Means of per-image values (N, G) on resamples, (R, G); NaN values are left out."""
    values = np.asarray(values, float)
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    parts = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for weights in resampling_weights(len(values), resamples, seed, identities):
            parts.append((weights.T @ filled) / (weights.T @ known))
    return np.concatenate(parts)


def estimate_means(
    names: Sequence[str],
    values: ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    identities: ArrayLike | None = None,
) -> dict[str, Estimate]:
    """Means over images with their intervals.

    Args:
        names: G names.
        values: (N, G); NaN values are left out.
        resamples: R.
        seed: Of the draws.
        identities: See `resampling_weights`.

    Returns:
        By name, and under "mean" the mean over those names that have values.
    """
    values = np.asarray(values, float)
    drawn = resample_means(values, resamples=resamples, seed=seed, identities=identities)  # (R, G)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        points = np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)
    means = {name: estimate(points[g], drawn[:, g]) for g, name in enumerate(names)}
    means["mean"] = estimate(mean_over_attributes(points), mean_over_attributes(drawn))
    return means


def interval(samples: ArrayLike, level: float = 0.95) -> tuple[NDArray[Any], NDArray[Any]]:
    """The percentile interval over the first axis, without NaN: two arrays of the other axes.

    NaN where no resample defines the value.
    """
    samples = np.asarray(samples, float)
    empty = ~np.isfinite(samples).any(axis=0)
    tails = [50 * (1 - level), 50 * (1 + level)]
    low, high = np.nanpercentile(np.where(empty, 0.0, samples), tails, axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)
