"""The losses of training: attributes with unknown labels, masks with unknown images.

Both return one value per image, which Keras averages, instead of their mean over the known values:
Keras would not scale a scalar for several replicas. Unknown values count 0, and the rest is scaled
up by the known share.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from far_keras.schema import MISSING

__all__ = ["AttributeLoss", "MaskLoss"]


@keras.saving.register_keras_serializable(package="far_keras")
class AttributeLoss(keras.losses.Loss):
    """Binary cross-entropy averaged over the known labels of a batch.

    Labels that are `MISSING` (-1) have no weight; a batch without any known label gives 0.

    Args:
        name: Name of the loss.

    Call arguments:
        y_true: Labels (B, A): 1, 0 or -1, of any dtype.
        y_pred: Logits (B, A).
    """

    def __init__(self, name: str = "attribute_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        logits = ops.cast(y_pred, "float32")
        labels = ops.cast(y_true, "float32")
        known = ops.cast(ops.not_equal(labels, MISSING), "float32")
        losses = ops.mean(_cross_entropy(labels * known, logits) * known, axis=1)  # (B,)
        return losses / ops.maximum(ops.mean(known), 1e-7)


@keras.saving.register_keras_serializable(package="far_keras")
class MaskLoss(keras.losses.Loss):
    """Binary cross-entropy plus Dice loss, averaged over the images that have masks.

    The Dice loss is ``1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)`` for each image and group,
    with p the predicted probability. It gives small regions enough weight against the background;
    with the ones, an empty mask that is predicted empty costs nothing.

    Args:
        name: Name of the loss.

    Call arguments:
        y_true: Masks (B, h, w, G) in [0, 1]; all `MISSING` (-1) where an image has none.
        y_pred: Mask logits (B, h, w, G).

    Raises:
        ValueError: The masks are not of the size of the logits.
    """

    def __init__(self, name: str = "mask_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        logits = ops.cast(y_pred, "float32")
        masks = ops.cast(y_true, "float32")
        # A side of 1 would be broadcast silently.
        given, expected = tuple(masks.shape[1:]), tuple(logits.shape[1:])
        if len(given) != 3 or any(
            None not in (a, b) and a != b for a, b in zip(given, expected, strict=True)
        ):
            raise ValueError(
                f"masks: expected (B, h, w, G) = (B, {', '.join(map(str, expected))}), the shape "
                f"of the network's output. Received: (B, {', '.join(map(str, given))}); load the "
                "records with the mask_size of the network"
            )
        known = ops.cast(ops.all(masks >= 0, axis=(1, 2, 3)), "float32")  # (B,)
        masks = masks * known[:, None, None, None]
        cross_entropy = ops.mean(_cross_entropy(masks, logits), axis=(1, 2, 3))  # (B,)
        predicted = ops.sigmoid(logits)
        overlap = ops.sum(predicted * masks, axis=(1, 2))  # (B, G)
        total = ops.sum(predicted, axis=(1, 2)) + ops.sum(masks, axis=(1, 2))  # (B, G)
        dice = ops.mean(1 - (2 * overlap + 1) / (total + 1), axis=1)  # (B,)
        losses = (cross_entropy + dice) * known  # (B,)
        return losses / ops.maximum(ops.mean(known), 1e-7)


def _cross_entropy(target: Any, logits: Any) -> Any:
    """Elementwise binary cross-entropy, finite for logits of any size."""
    return ops.maximum(logits, 0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
