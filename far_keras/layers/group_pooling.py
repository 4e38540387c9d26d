"""Pooling of a feature map under the masks of all groups at once."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["GroupPooling"]

_MODES = ("average", "product")


@keras.saving.register_keras_serializable(package="far_keras")
class GroupPooling(keras.layers.Layer):
    """One feature vector per group: the feature map pooled under the group's mask.

    The paper (arXiv 2601.01408) multiplies each group's mask onto the features, ``G = P * F``,
    and does not define how the product is pooled. Both modes are one matrix product,
    ``[HW, G]^T [HW, C]``, so no feature map is copied per group.

    - ``"average"`` (our default): ``sum(P F) / (sum(P) + epsilon)``. A small region counts as much
      as a large one.
    - ``"product"``: ``mean(P F)`` over all positions. The value depends on the region's size too.

    Args:
        mode: ``"average"`` or ``"product"``.
        epsilon: Keeps a group without any mask at 0 instead of 0/0. In units of mask cells. In
            float16 it is at least 1e-3.

    Call arguments:
        inputs: ``[features, masks]``: features (B, H, W, C), masks (B, H, W, G) in [0, 1] of the
            same H and W, channels last.

    Returns:
        Tensor (B, G, C).

    Example:
        >>> GroupPooling()([np.ones((1, 4, 4, 5)), np.zeros((1, 4, 4, 8))]).shape
        TensorShape([1, 8, 5])
    """

    def __init__(self, mode: str = "average", epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {_MODES}. Received: {mode!r}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be above 0. Received: {epsilon!r}")
        self.mode = mode
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        features, masks = input_shape
        if len(features) != 4 or len(masks) != 4 or tuple(features[1:3]) != tuple(masks[1:3]):
            raise ValueError(
                "expected features (B, H, W, C) and masks (B, H, W, G) of one height and width. "
                f"Received: {tuple(features)} and {tuple(masks)}; resize the masks with AreaResize"
            )

    def call(self, inputs: Any) -> Any:
        features, masks = inputs
        _, h, w, c = features.shape
        features = ops.reshape(features, (-1, h * w, c))
        masks = ops.reshape(masks, (-1, h * w, masks.shape[-1]))
        # The weights are made in float32: in float16, epsilon and the sum over HW lose their worth.
        weights = ops.cast(masks, "float32")
        if self.mode == "average":
            # The gradient of an empty mask has the factor 1 / epsilon; float16 ends at 65504.
            epsilon = max(self.epsilon, 1e-3) if self.compute_dtype == "float16" else self.epsilon
            weights = weights / (ops.sum(weights, axis=1, keepdims=True) + epsilon)
        else:
            weights = weights / (h * w)
        weights = ops.cast(weights, features.dtype)
        return ops.matmul(ops.transpose(weights, (0, 2, 1)), features)  # (B, G, C)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        features, masks = input_shape
        return (features[0], masks[3], features[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode, "epsilon": self.epsilon}
