"""Decision thresholds, fitted on a validation split."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

__all__ = ["fit_thresholds"]

# Width of the kernel in standard deviations of an attribute's logits. Wide, since what is wanted
# is where unseen images are told apart, not where these few were.
_BANDWIDTH = 0.3
_GRID = 400


def fit_thresholds(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """For each attribute the threshold of the highest balanced accuracy to be expected.

    Balanced accuracy is the mean of the true positive and the true negative rate, so that a rare
    attribute is not lost to the majority's answer. The cut that is best on the split itself
    follows its last few images and is worse on others; so both rates are taken of distributions
    smoothed by a logistic kernel over the logits, and the best point of these is the threshold.

    Args:
        labels: (N, A): 1, 0, or -1 for missing.
        probabilities: (N, A) in [0, 1], calibrated.

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
    logits = logit(np.clip(probabilities, 1e-7, 1 - 1e-7))
    columns = zip(labels.T, logits.T, strict=True)
    return np.array([expit(_fit(column, scores)) for column, scores in columns])


def _fit(labels: NDArray, logits: NDArray) -> float:
    """The threshold of one attribute, as a logit."""
    positives, negatives = logits[labels == 1], logits[labels == 0]
    if not len(positives) or not len(negatives):
        return 0.0
    known = np.concatenate([positives, negatives])
    spread = known.std()
    if spread < 1e-6:
        return 0.0
    grid = np.linspace(known.min(), known.max(), _GRID)
    # A logistic distribution of scale s has the standard deviation 1.8 s.
    scale = _BANDWIDTH * spread / 1.8

    def share_below(values: NDArray) -> NDArray:
        return expit((grid[:, None] - values) / scale).mean(axis=1)

    return float(grid[np.argmax(share_below(negatives) - share_below(positives))])
