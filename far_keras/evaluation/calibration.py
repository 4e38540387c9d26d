"""Whether probabilities mean what they say: of images answered with 0.8, are 80% a yes?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from far_keras.evaluation.scores import mean_over_attributes

__all__ = ["brier_score", "calibration_figures", "expected_calibration_error"]


def brier_score(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """Mean squared distance of probability and label (G. Brier, 1950).

    Args:
        labels: (N, A): 1, 0, or -1 for missing.
        probabilities: (N, A) in [0, 1].

    Returns:
        (A,); NaN where no label is known.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    known = labels >= 0
    with np.errstate(invalid="ignore"):
        return np.where(known, (probabilities - labels) ** 2, 0).sum(axis=0) / known.sum(axis=0)


def expected_calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = 15
) -> NDArray[np.float64]:
    """Mean distance of probability and frequency (C. Guo et al., 2017).

    The images are sorted into bins of equal width by their probability of "yes"; in each bin the
    mean probability is compared with the share of "yes". Bins with few images make it larger
    than it is, so compare it only on the same images.

    Args:
        labels: (N, A): 1, 0, or -1 for missing.
        probabilities: (N, A) in [0, 1].
        bins: Number of bins.

    Returns:
        (A,) in [0, 1]; NaN where no label is known.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    known = labels >= 0
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    distance = np.where(known, probabilities - labels, 0.0)
    total = sum(
        np.abs(np.where(which == number, distance, 0.0).sum(axis=0)) for number in range(bins)
    )
    with np.errstate(invalid="ignore"):
        return total / known.sum(axis=0)


def calibration_figures(
    labels: ArrayLike, plain: ArrayLike, calibrated: ArrayLike
) -> dict[str, float]:
    """Both figures before and after the calibration, as means over attributes.

    Like the means of other figures they leave out attributes whose known labels are of one class.

    Args:
        labels: (N, A): 1, 0, or -1 for missing.
        plain: (N, A), sigmoids of the logits.
        calibrated: (N, A).
    """
    labels = np.asarray(labels)
    both = (labels == 1).any(axis=0) & (labels == 0).any(axis=0)
    figures = {
        "expected_calibration_error": expected_calibration_error(labels, calibrated),
        "expected_calibration_error_uncalibrated": expected_calibration_error(labels, plain),
        "brier_score": brier_score(labels, calibrated),
        "brier_score_uncalibrated": brier_score(labels, plain),
    }
    return {
        name: float(mean_over_attributes(np.where(both, values, np.nan)))
        for name, values in figures.items()
    }
