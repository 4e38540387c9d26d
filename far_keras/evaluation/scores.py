"""Figures of merit for attributes and masks, in plain NumPy.

Every function takes labels of 1 (yes), 0 (no) and `MISSING`; a missing label is left out of every
count. A figure that cannot be computed, because an attribute's known labels hold one class only,
is NaN, and means over attributes leave it out. The definitions are in docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from far_keras.errors import DatasetError
from far_keras.schema import MISSING

__all__ = [
    "METRICS",
    "attribute_scores",
    "majority_answer",
    "mask_iou",
    "mean_over_attributes",
    "prevalence",
    "roc_auc",
    "summary",
]

METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "f1")
"""The keys of `attribute_scores`, in the order of every table."""

Array = NDArray[np.float64]


def attribute_scores(
    labels: ArrayLike,
    probabilities: ArrayLike,
    thresholds: ArrayLike | float = 0.5,
    weights: ArrayLike | None = None,
) -> dict[str, Array]:
    """Accuracy, balanced accuracy, ROC AUC and F1 of each attribute.

    Args:
        labels: (N, A), 1, 0 or `MISSING`.
        probabilities: (N, A), any real numbers that rise with "yes"; at least the attribute's
            threshold counts as yes.
        thresholds: (A,) or one number for all attributes.
        weights: (N, R), how often each image counts in each of R resamples; None for one count
            of each image.

    Returns:
        For each of `METRICS` an array (A,), or (R, A) with `weights`. NaN where undefined:
        accuracy without a known label, balanced accuracy and AUC without both classes, F1 without
        a known "yes".

    Raises:
        DatasetError: Shapes that do not fit, a label other than 1, 0 and -1, or probabilities
            that are not finite.
    """
    labels, probabilities = _checked(labels, probabilities)
    count, attributes = labels.shape
    threshold = np.broadcast_to(np.asarray(thresholds, float), (attributes,))
    weight = np.ones((count, 1)) if weights is None else np.asarray(weights, float)
    if weight.ndim != 2 or len(weight) != count:
        raise DatasetError(
            f"weights: expected a row for each of {count} images, shape ({count}, R). "
            f"Received: {weight.shape}"
        )
    answers = probabilities >= threshold
    positive, negative = labels == 1, labels == 0
    # Each is (R, A): one matrix product counts all attributes in all resamples.
    true_yes = weight.T @ (positive & answers)
    false_yes = weight.T @ (negative & answers)
    yes, no = weight.T @ positive, weight.T @ negative
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = {
            "accuracy": (true_yes + no - false_yes) / (yes + no),
            "balanced_accuracy": (true_yes / yes + (no - false_yes) / no) / 2,
            "roc_auc": np.stack(
                [roc_auc(labels[:, a], probabilities[:, a], weight) for a in range(attributes)],
                axis=-1,
            ),
            "f1": np.where(yes > 0, 2 * true_yes / (true_yes + false_yes + yes), np.nan),
        }
    return {name: values[0] if weights is None else values for name, values in scores.items()}


def roc_auc(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike) -> Array:
    """Exact area under the ROC curve: the chance that a "yes" is ranked above a "no".

    A tie counts one half, as in the Mann-Whitney U statistic.

    Args:
        labels: (N,), 1, 0 or `MISSING`.
        probabilities: (N,).
        weights: (N, R), how often each image counts.

    Returns:
        (R,), NaN where one class has no weight.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    weights = np.asarray(weights, float)
    yes = np.flatnonzero(labels == 1)
    no = np.flatnonzero(labels == 0)
    if not yes.size or not no.size:
        return np.full(weights.shape[1], np.nan)
    no = no[np.argsort(probabilities[no], kind="stable")]
    below = np.searchsorted(probabilities[no], probabilities[yes], side="left")
    not_above = np.searchsorted(probabilities[no], probabilities[yes], side="right")
    # mass[k] is the weight of the k lowest "no": (n_no + 1, R), rows contiguous.
    mass = np.zeros((no.size + 1, weights.shape[1]))
    np.cumsum(weights[no], axis=0, out=mass[1:])
    beaten = mass[below]
    if (below != not_above).any():
        beaten += mass[not_above]
        beaten *= 0.5
    weight_yes = weights[yes]
    won = np.einsum("nr,nr->r", weight_yes, beaten)
    with np.errstate(divide="ignore", invalid="ignore"):
        return won / (weight_yes.sum(axis=0) * mass[-1])


def mean_over_attributes(values: ArrayLike) -> Array:
    """Mean along the last axis without NaN; NaN where nothing is left."""
    values = np.asarray(values, float)
    known = np.isfinite(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)


def prevalence(labels: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    """The share of "yes" among the known labels and the number of known labels, (A,) each."""
    labels = np.asarray(labels)
    known = (labels != MISSING).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (labels == 1).sum(axis=0) / known, known


def majority_answer(train_labels: ArrayLike) -> Array:
    """What someone who never looks at the image answers: the training split's majority.

    Args:
        train_labels: (N, A) of the training split, never of the split that is scored.

    Returns:
        (A,) of 1.0 and 0.0; 0.0 at a tie and where no label is known. Used as probabilities for
        every image, its ROC AUC and balanced accuracy are 0.5.
    """
    labels = np.asarray(train_labels)
    return ((labels == 1).sum(axis=0) > (labels == 0).sum(axis=0)).astype(float)


def mask_iou(masks: ArrayLike, predicted: ArrayLike, level: float = 0.5) -> Array:
    """Intersection over union of predicted and given masks, image by image.

    Args:
        masks: (N, h, w, G) in [0, 1]; an image of `MISSING` has no masks, one of zeros no face.
        predicted: (N, h, w, G), probabilities.
        level: A value of at least this much counts as inside, in both.

    Returns:
        (N, G); NaN where an image has no masks or no face, or both masks are empty.
    """
    masks, predicted = np.asarray(masks), np.asarray(predicted)
    if masks.ndim != 4 or masks.shape != predicted.shape:
        raise DatasetError(
            "masks and predicted: expected two arrays of one shape (N, h, w, G). "
            f"Received: {masks.shape} and {predicted.shape}"
        )
    truth, answer = masks >= level, predicted >= level
    intersection = (truth & answer).sum(axis=(1, 2)).astype(float)
    union = (truth | answer).sum(axis=(1, 2)).astype(float)
    shown = np.any(masks > 0, axis=(1, 2, 3)).reshape(-1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(shown, intersection / union, np.nan)


def summary(scores: Mapping[str, Array]) -> dict[str, float]:
    """The mean over attributes of each of `attribute_scores`' figures."""
    return {name: float(mean_over_attributes(values)) for name, values in scores.items()}


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray, NDArray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    if labels.ndim != 2 or labels.shape != probabilities.shape:
        raise DatasetError(
            "labels and probabilities: expected two arrays of one shape (images, attributes). "
            f"Received: {labels.shape} and {probabilities.shape}"
        )
    if not np.isin(labels, (1, 0, MISSING)).all():
        strange = np.setdiff1d(labels, (1, 0, MISSING))[:5].tolist()
        raise DatasetError(f"labels: expected 1, 0 or {MISSING} (missing). Received: {strange}")
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities)).sum())
        raise DatasetError(
            f"probabilities: expected finite numbers, but {bad} of {probabilities.size} are NaN "
            "or infinite; the model has diverged"
        )
    return labels, probabilities
