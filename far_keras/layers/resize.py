"""Bilinear resizing of feature maps, as a layer that is safe to export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["Resize"]


@keras.saving.register_keras_serializable(package="far_keras")
class Resize(keras.layers.Layer):
    """Resizes feature maps bilinearly, with pixel centres aligned (TensorFlow's convention).

    For enlarging; to make masks smaller use `AreaResize`, which does not skip pixels.
    ``keras.layers.Resizing`` is no substitute: behind it, batch normalization and dropout run in
    training mode when the model is exported.

    Args:
        height: Rows of the output.
        width: Columns of the output.

    Call arguments:
        x: Tensor (B, h, w, C), channels last.

    Returns:
        Tensor (B, height, width, C) of the same dtype.
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if height < 1 or width < 1:
            raise ValueError(f"expected height and width >= 1. Received: {height}, {width}")
        self.height = height
        self.width = width

    def call(self, x: Any) -> Any:
        h, w = x.shape[1:3]
        if (2 * h, 2 * w) == (self.height, self.width):
            return ops.image.resize(
                x, (self.height, self.width), interpolation="bilinear", data_format="channels_last"
            )
        # TensorFlow 2.21's own resizing, compiled by XLA, is wrong for some sizes, such as from 5
        # to 9 or from 6 to 18.
        return self._resample(x, _interpolation)

    def _resample(self, x: Any, weights: Callable[[int, int], np.ndarray]) -> Any:
        """Resizes by two products with the constant matrices ``weights(source, target)``."""
        h, w = x.shape[1:3]
        if (h, w) == (self.height, self.width):
            return x
        rows = ops.cast(weights(h, self.height), x.dtype)
        columns = ops.cast(weights(w, self.width), x.dtype)
        x = ops.tensordot(x, rows, axes=[[1], [1]])  # (B, w, C, height)
        x = ops.tensordot(x, columns, axes=[[1], [1]])  # (B, C, height, width)
        return ops.transpose(x, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


def _interpolation(source: int, target: int) -> np.ndarray:
    """(target, source): the weight of input row k in output row i; rows sum to 1."""
    centre = (np.arange(target) + 0.5) * source / target - 0.5
    distance = np.abs(np.clip(centre, 0, source - 1)[:, None] - np.arange(source)[None, :])
    return np.clip(1 - distance, 0, None).astype("float32")
