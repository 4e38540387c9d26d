"""Resizing of masks by the area that each output cell covers."""

from __future__ import annotations

from typing import Any

import keras

from far_keras.geometry import coverage_weights
from far_keras.layers.resize import Resize

__all__ = ["AreaResize"]


@keras.saving.register_keras_serializable(package="far_keras")
class AreaResize(Resize):
    """Resizes masks so that each output cell is the mean of the area that it covers.

    Every input pixel counts, for any two sizes: a mask of one pixel remains from 32x32 to 4x4 as
    1/64 in one cell, where sampling (bilinear, nearest) would mostly lose it. It is separable: two
    products with constant matrices, which every export format supports.

    Args:
        height: Rows of the output.
        width: Columns of the output.

    Call arguments:
        masks: Tensor (B, h, w, G), channels last.

    Returns:
        Tensor (B, height, width, G) of the same dtype.
    """

    def call(self, masks: Any) -> Any:
        return self._resample(masks, coverage_weights)
