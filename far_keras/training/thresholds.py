"""Fits the calibration of probabilities and the decision thresholds on a validation split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import logit

from far_keras.calibration import Calibration, sigmoid

__all__ = ["fit_calibration", "fit_thresholds"]

# Standard deviations of the log slope and of the offset before any label is seen. On four trained
# networks, fitted on 496 rendered faces and measured on 503 others, widths from 0.3 to 1 are within
# 0.3% of each other; without them (and without Platt's smoothed targets) slopes reach 10.
_LOG_SLOPE, _OFFSET = 0.5, 1.0

# Width of the kernel in standard deviations of an attribute's logits. Wide, because the threshold
# must separate unseen images, not these few.
_BANDWIDTH = 0.3
_GRID = 400


def fit_calibration(labels: ArrayLike, logits: ArrayLike, attributes: Sequence[str]) -> Calibration:
    """Platt scaling of each attribute, close to the plain sigmoid where labels are few.

    Slope and offset are the most probable ones: those of the highest likelihood of the labels (J.
    Platt, 1999; C. Guo et al., "On Calibration of Modern Neural Networks", 2017), times a normal
    distribution about 1 and 0 (of the slope's logarithm, so that slopes are positive). With many
    labels this is Platt's solution. With a handful, where a slope without bounds would fit best,
    the distribution decides; it takes the place of Platt's smoothed targets.

    Args:
        labels: (N, A): 1, 0, or -1 for missing.
        logits: (N, A), the network's.
        attributes: The A names.

    Returns:
        Slope and offset of every attribute; 1 and 0 for one whose known labels are all the same.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, dtype=np.float64)
    if labels.shape != logits.shape or labels.shape[1:] != (len(attributes),):
        raise ValueError(
            f"expected labels and logits of one shape (N, {len(attributes)}). "
            f"Received: {labels.shape} and {logits.shape}"
        )
    columns = zip(labels.T, logits.T, strict=True)
    fitted = [_fit_scaling(column[column >= 0], scores[column >= 0]) for column, scores in columns]
    return Calibration(dict(zip(attributes, fitted, strict=True)))


def _fit_scaling(labels: NDArray[Any], logits: NDArray[Any]) -> tuple[float, float]:
    """Slope and offset of one attribute whose labels are all known."""
    if (labels == 1).all() or (labels == 0).all():  # also if there are none
        return 1.0, 0.0

    def loss_and_gradient(parameters: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        log_slope, offset = parameters
        scaled = np.exp(log_slope) * logits + offset
        loss = (np.logaddexp(0, scaled) - labels * scaled).sum()
        loss += (log_slope / _LOG_SLOPE) ** 2 / 2 + (offset / _OFFSET) ** 2 / 2
        error = sigmoid(scaled) - labels
        by_log_slope = (error * np.exp(log_slope) * logits).sum() + log_slope / _LOG_SLOPE**2
        return loss, np.array([by_log_slope, error.sum() + offset / _OFFSET**2])

    log_slope, offset = minimize(loss_and_gradient, [0.0, 0.0], jac=True, method="L-BFGS-B").x
    return float(np.exp(log_slope)), float(offset)


def fit_thresholds(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """For each attribute the threshold with the highest expected balanced accuracy.

    Balanced accuracy is the mean of the true positive and the true negative rate, so a rare
    attribute counts as much as a frequent one. The best cut on the split itself depends on a few
    images and is worse on others; therefore both rates are those of distributions smoothed by a
    logistic kernel over the logits.

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
    return np.array([sigmoid(_fit_threshold(column, scores)) for column, scores in columns])


def _fit_threshold(labels: NDArray[Any], logits: NDArray[Any]) -> float:
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

    def share_below(values: NDArray[Any]) -> NDArray[Any]:
        return sigmoid((grid[:, None] - values) / scale).mean(axis=1)

    return float(grid[np.argmax(share_below(negatives) - share_below(positives))])
