"""Resizing of masks by the area that each output cell covers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["AreaResize"]


def _coverage(out_size: int, in_size: int) -> np.ndarray:
    """(out_size, in_size): the share of output cell i that input pixel k covers; rows sum to 1."""
    scale = in_size / out_size
    start = np.arange(out_size)[:, None] * scale
    pixel = np.arange(in_size)[None, :]
    overlap = np.minimum(start + scale, pixel + 1) - np.maximum(start, pixel)
    return (np.clip(overlap, 0, None) / scale).astype("float32")


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
        rows = ops.cast(_coverage(self.height, h), masks.dtype)
        columns = ops.cast(_coverage(self.width, w), masks.dtype)
        masks = ops.tensordot(masks, rows, axes=[[1], [1]])  # (B, w, G, height)
        masks = ops.tensordot(masks, columns, axes=[[1], [1]])  # (B, G, height, width)
        return ops.transpose(masks, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}
