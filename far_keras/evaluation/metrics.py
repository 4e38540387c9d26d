"""Metrics of attributes, masks and calibration, in plain NumPy.

Labels are 1 (yes), 0 (no) and `MISSING`; a missing label is left out of every count. A metric that
cannot be computed, because an attribute's known labels have one class only, is NaN, and means over
attributes leave it out. Masks are scored in CelebA's frame of 178 x 218 pixels, in which they are
used, whatever the size of a network's masks. The definitions are in docs/evaluation.md.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from far_keras.errors import DatasetError
from far_keras.geometry import ALIGNED_SIZE
from far_keras.schema import MISSING, REGIONS, AttributeSchema

__all__ = [
    "BOUNDARY_TOLERANCE",
    "MASK_METRICS",
    "METRICS",
    "attribute_scores",
    "boundary_f1",
    "brier_score",
    "calibration_metrics",
    "expected_calibration_error",
    "group_masks",
    "majority_baseline",
    "mask_iou",
    "mask_scores",
    "mean_over_attributes",
    "outline",
    "prevalence",
    "roc_auc",
    "unpack_regions",
]

METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "f1")
"""The keys of `attribute_scores`, in the order of every table."""

MASK_METRICS = ("iou", "dice", "boundary_f1")
"""The rows of `mask_scores`, in the order of every table."""

BOUNDARY_TOLERANCE = 3
"""Pixels of the 178 x 218 frame: 0.8% of its diagonal, rounded up, as in Perazzi et al., "A
Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016."""

Array = NDArray[np.float64]
Masks = NDArray[np.bool_]


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
    decisions = probabilities >= threshold
    positive, negative = labels == 1, labels == 0
    # Each is (R, A): one matrix product counts all attributes in all resamples.
    true_yes = weight.T @ (positive & decisions)
    false_yes = weight.T @ (negative & decisions)
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


def majority_baseline(train_labels: ArrayLike) -> Array:
    """The prediction that ignores the image: the majority of the training split.

    Args:
        train_labels: (N, A) of the training split, never of the split that is scored.

    Returns:
        (A,) of 1.0 and 0.0; 0.0 at a tie and where no label is known. Used as probabilities for
        every image, its ROC AUC and balanced accuracy are 0.5.
    """
    labels = np.asarray(train_labels)
    return ((labels == 1).sum(axis=0) > (labels == 0).sum(axis=0)).astype(float)


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
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


def calibration_metrics(
    labels: ArrayLike, plain: ArrayLike, calibrated: ArrayLike
) -> dict[str, float]:
    """Brier score and calibration error, calibrated and not, as means over attributes.

    Like the means of other metrics they leave out attributes whose known labels have one class.

    Args:
        labels: (N, A): 1, 0, or -1 for missing.
        plain: (N, A), sigmoids of the logits.
        calibrated: (N, A).
    """
    labels = np.asarray(labels)
    both = (labels == 1).any(axis=0) & (labels == 0).any(axis=0)
    values = {
        "expected_calibration_error": expected_calibration_error(labels, calibrated),
        "expected_calibration_error_uncalibrated": expected_calibration_error(labels, plain),
        "brier_score": brier_score(labels, calibrated),
        "brier_score_uncalibrated": brier_score(labels, plain),
    }
    return {
        name: float(mean_over_attributes(np.where(both, each, np.nan)))
        for name, each in values.items()
    }


def mask_scores(
    truth: Masks, probabilities: NDArray[Any], level: float = 0.5
) -> NDArray[np.float64]:
    """IoU, Dice and boundary F1 of each group of one image.

    Args:
        truth: (G, 218, 178).
        probabilities: (h, w, G) of any size, enlarged bilinearly.
        level: A probability of at least this much is inside.

    Returns:
        (3, G), the rows of `MASK_METRICS`; all NaN for an image without any mask, as one without
        a face has; else NaN for a group where both are empty, or for the boundary F1 where neither
        has a boundary.

    Raises:
        DatasetError: Another number of groups, or another frame.
    """
    if truth.shape != (probabilities.shape[-1], *ALIGNED_SIZE):
        raise DatasetError(
            f"truth: expected ({probabilities.shape[-1]}, 218, 178), the groups of the predicted "
            f"masks in the aligned frame. Received: {truth.shape}"
        )
    if not truth.any():
        return np.full((len(MASK_METRICS), len(truth)), np.nan)
    predicted = _enlarge(probabilities) >= level
    both = (truth & predicted).sum(axis=(1, 2)).astype(float)
    either = (truth | predicted).sum(axis=(1, 2)).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([both / either, 2 * both / (both + either), boundary_f1(truth, predicted)])


def boundary_f1(
    truth: Masks, predicted: Masks, tolerance: int = BOUNDARY_TOLERANCE
) -> NDArray[np.float64]:
    """How well the outlines agree (Csurka et al., BMVC 2013), which overlap hardly measures.

    Precision is the share of the predicted outline that lies within `tolerance` pixels of the true
    one, recall the share of the true one within as many of the predicted one, F1 their harmonic
    mean.

    Args:
        truth: (G, H, W).
        predicted: (G, H, W).
        tolerance: Greatest Euclidean distance in pixels that still agrees.

    Returns:
        (G,) in [0, 1]; 0 where only one has an outline, NaN where neither has.
    """
    lines = outline(truth), outline(predicted)
    lengths = [line.sum(axis=(1, 2)).astype(float) for line in lines]
    near = [
        (line & _dilate(other, tolerance)).sum(axis=(1, 2)) for line, other in (lines, lines[::-1])
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, precision = (n / length for n, length in zip(near, lengths, strict=True))
        f1 = 2 * precision * recall / (precision + recall)
    # One outline only, or two that never meet: no agreement, though 0 / 0.
    return np.where((lengths[0] > 0) | (lengths[1] > 0), np.nan_to_num(f1), np.nan)


def outline(masks: Masks) -> Masks:
    """The pixels (..., H, W) with a neighbour outside; the image's edge is no outline."""
    padded = np.pad(masks, [(0, 0)] * (masks.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    within = padded[..., :-2, 1:-1] & padded[..., 2:, 1:-1]
    within &= padded[..., 1:-1, :-2] & padded[..., 1:-1, 2:]
    return masks & ~within


def unpack_regions(png: bytes) -> Masks | None:
    """(218, 178, 8): the regions of a record's packed PNG; None for a record without."""
    if not png:
        return None
    packed = np.asarray(Image.open(io.BytesIO(png)))
    return (packed[..., None] >> np.arange(len(REGIONS)) & 1).astype(bool)


def group_masks(regions: Masks, schema: AttributeSchema) -> Masks:
    """(218, 178, 8) regions to (G, 218, 178): a group's mask is the union of its regions."""
    return np.stack(
        [
            regions[..., [REGIONS.index(region) for region in group.regions]].any(axis=-1)
            for group in schema.groups
        ]
    )


def _enlarge(probabilities: NDArray[Any]) -> NDArray[np.float32]:
    height, width = ALIGNED_SIZE
    channels = np.moveaxis(np.asarray(probabilities, np.float32), -1, 0)
    return np.stack(
        [
            np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BILINEAR))
            for each in channels
        ]
    )


def _dilate(lines: Masks, radius: int) -> Masks:
    """All pixels within `radius` of a line."""
    height, width = lines.shape[-2:]
    padded = np.pad(lines, [(0, 0), (radius, radius), (radius, radius)])
    near = np.zeros_like(lines)
    for y in range(-radius, radius + 1):
        for x in range(-radius, radius + 1):
            if x * x + y * y <= radius * radius:
                top, left = radius + y, radius + x
                near |= padded[:, top : top + height, left : left + width]
    return near


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
    truth, inside = masks >= level, predicted >= level
    intersection = (truth & inside).sum(axis=(1, 2)).astype(float)
    union = (truth | inside).sum(axis=(1, 2)).astype(float)
    shown = np.any(masks > 0, axis=(1, 2, 3)).reshape(-1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(shown, intersection / union, np.nan)
