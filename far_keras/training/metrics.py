"""Streaming metrics of training; unknown labels are left out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from far_keras.schema import MISSING

__all__ = ["AttributeAccuracy", "MaskIoU", "MeanAUC"]

_BINS, _LIMIT = 1024, 16.0  # of the histogram of logits


@keras.saving.register_keras_serializable(package="far_keras")
class AttributeAccuracy(keras.metrics.Metric):
    """Share of known labels that the logits predict correctly at the threshold 0.

    Args:
        name: Name of the metric.
    """

    def __init__(self, name: str = "accuracy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.right = self.add_weight(name="right", shape=(), initializer="zeros")
        self.known = self.add_weight(name="known", shape=(), initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels = ops.cast(y_true, "float32")  # (B, A)
        known = ops.not_equal(labels, MISSING)
        right = ops.logical_and(known, ops.equal(labels > 0.5, y_pred > 0))
        self.right.assign_add(ops.sum(ops.cast(right, "float32")))
        self.known.assign_add(ops.sum(ops.cast(known, "float32")))

    def result(self) -> Any:
        return self.right / ops.maximum(self.known, 1.0)


@keras.saving.register_keras_serializable(package="far_keras")
class MeanAUC(keras.metrics.Metric):
    """Area under the ROC curve, averaged over the attributes that have both classes.

    Logits are counted into bins of equal width, those beyond 16 into the outermost bins; pairs
    within one bin count half, as ties do. With bins of 1/32 of a logit the error is far below the
    sampling error.

    Args:
        attributes: Number of attributes A.
        name: Name of the metric.
    """

    def __init__(self, attributes: int, name: str = "auc", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.attributes = attributes
        shape = (attributes, _BINS)
        self.positives = self.add_weight(name="positives", shape=shape, initializer="zeros")
        self.negatives = self.add_weight(name="negatives", shape=shape, initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels = ops.cast(y_true, "float32")  # (B, A)
        scaled = (ops.cast(y_pred, "float32") + _LIMIT) * (_BINS / (2 * _LIMIT))
        bin_index = ops.cast(ops.clip(scaled, 0, _BINS - 1), "int32")  # (B, A)
        # One flat histogram: attribute a starts at a * bins.
        place = ops.reshape(bin_index + ops.arange(self.attributes) * _BINS, (-1,))
        for counts, label in ((self.positives, 1), (self.negatives, 0)):
            chosen = ops.reshape(ops.cast(ops.equal(labels, label), "float32"), (-1,))
            added = ops.segment_sum(chosen, place, num_segments=self.attributes * _BINS)
            counts.assign_add(ops.reshape(added, (self.attributes, _BINS)))

    def result(self) -> Any:
        positives = ops.sum(self.positives, axis=1)  # (A,)
        negatives = ops.sum(self.negatives, axis=1)
        below = ops.cumsum(self.negatives, axis=1) - self.negatives / 2  # half of the ties
        ordered = ops.sum(self.positives * below, axis=1)
        auc = ordered / ops.maximum(positives * negatives, 1.0)
        valid = ops.cast(positives * negatives > 0, "float32")
        return ops.sum(auc * valid) / ops.maximum(ops.sum(valid), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "attributes": self.attributes}


@keras.saving.register_keras_serializable(package="far_keras")
class MaskIoU(keras.metrics.Metric):
    """Intersection over union of predicted and true masks, averaged over groups.

    Pixels of all images are summed before dividing, as is usual in segmentation. Predicted is
    where the logit is above 0, true where the mask is above 0.5.

    Args:
        groups: Number of groups G.
        name: Name of the metric.
    """

    def __init__(self, groups: int, name: str = "iou", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.groups = groups
        self.intersection = self.add_weight(name="both", shape=(groups,), initializer="zeros")
        self.union = self.add_weight(name="either", shape=(groups,), initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        masks = ops.cast(y_true, "float32")  # (B, h, w, G)
        known = ops.all(masks >= 0, axis=(1, 2, 3), keepdims=True)
        true = ops.logical_and(masks > 0.5, known)
        predicted = ops.logical_and(y_pred > 0, known)
        both = ops.cast(ops.logical_and(true, predicted), "float32")
        either = ops.cast(ops.logical_or(true, predicted), "float32")
        self.intersection.assign_add(ops.sum(both, axis=(0, 1, 2)))
        self.union.assign_add(ops.sum(either, axis=(0, 1, 2)))

    def result(self) -> Any:
        iou = self.intersection / ops.maximum(self.union, 1.0)  # (G,)
        seen = ops.cast(self.union > 0, "float32")
        return ops.sum(iou * seen) / ops.maximum(ops.sum(seen), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}
