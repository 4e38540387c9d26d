"""Resizing of masks by the area that each output cell covers."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from far_keras.geometry import coverage_weights

__all__ = ["AreaResize"]


@keras.saving.register_keras_serializable(package="far_keras")
class AreaResize(keras.layers.Layer):
    """Resizes masks so that each output cell is the mean of the area which it covers.

    Every pixel of the input counts, whatever the two sizes: a mask of one pixel survives from
    32x32 to 4x4 as 1/64 in one cell, where sampling (bilinear, nearest) would mostly lose it. It is
    separable, hence two products with constant matrices, which every export format knows.

    Args:
        height: Rows of the output.
        width: Columns of the output.

    Call arguments:
        masks: Tensor (B, h, w, G), channels last.

    Returns:
        Tensor (B, height, width, G) of the same dtype.
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if height < 1 or width < 1:
            raise ValueError(f"expected height and width >= 1. Received: {height}, {width}")
        self.height = height
        self.width = width

    def call(self, masks: Any) -> Any:
        h, w = masks.shape[1:3]
        if (h, w) == (self.height, self.width):
            return masks
        rows = ops.cast(coverage_weights(h, self.height), masks.dtype)
        columns = ops.cast(coverage_weights(w, self.width), masks.dtype)
        masks = ops.tensordot(masks, rows, axes=[[1], [1]])  # (B, w, G, height)
        masks = ops.tensordot(masks, columns, axes=[[1], [1]])  # (B, G, height, width)
        return ops.transpose(masks, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}
