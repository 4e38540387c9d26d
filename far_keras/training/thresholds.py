"""Decision thresholds, fitted on a validation split."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["fit_thresholds"]


def fit_thresholds(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """For each attribute the threshold with the highest balanced accuracy.

    Balanced accuracy is the mean of the true positive and the true negative rate, so that a rare
    attribute is not lost to the majority's answer. Where several thresholds are equally good, the
    middle of the widest gap between probabilities is taken.

    Args:
        labels: (N, A): 1, 0, or -1 for missing.
        probabilities: (N, A) in [0, 1].

    Returns:
        (A,) thresholds in [0, 1]; yes is ``probability >= threshold``. 0.5 for an attribute whose
        known labels are all the same.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if labels.shape != probabilities.shape or labels.ndim != 2:
        raise ValueError(
            "expected labels and probabilities of one shape (N, A). "
            f"Received: {labels.shape} and {probabilities.shape}"
        )
    columns = zip(labels.T, probabilities.T, strict=True)
    return np.array([_fit(column, scores) for column, scores in columns])


def _fit(labels: NDArray, scores: NDArray) -> float:
    positives, negatives = scores[labels == 1], scores[labels == 0]
    if not len(positives) or not len(negatives):
        return 0.5
    values = np.unique(np.concatenate([positives, negatives]))
    if len(values) == 1:
        return 0.5
    # Each cut lies between two neighbouring values: everything from the upper one on is a yes.
    true_positive = 1 - np.searchsorted(np.sort(positives), values[1:], "left") / len(positives)
    true_negative = np.searchsorted(np.sort(negatives), values[1:], "left") / len(negatives)
    balanced = true_positive + true_negative
    best = np.flatnonzero(np.isclose(balanced, balanced.max(), rtol=0, atol=1e-12))
    widest = best[np.argmax(np.diff(values)[best])]
    return float((values[widest] + values[widest + 1]) / 2)
