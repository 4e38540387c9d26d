"""Bilinear resizing of feature maps, as a layer that is safe to export."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["Resize"]


def _interpolation(out_size: int, in_size: int) -> np.ndarray:
    """(out_size, in_size): the weight of input row k in output row i; rows sum to 1."""
    centre = (np.arange(out_size) + 0.5) * in_size / out_size - 0.5
    distance = np.abs(np.clip(centre, 0, in_size - 1)[:, None] - np.arange(in_size)[None, :])
    return np.clip(1 - distance, 0, None).astype("float32")


@keras.saving.register_keras_serializable(package="far_keras")
class Resize(keras.layers.Layer):
    """Resizes feature maps bilinearly, with pixel centres aligned (TensorFlow's convention).

    For enlarging; to make masks smaller use `AreaResize`, which does not skip pixels.
    ``keras.layers.Resizing`` is no substitute: behind it, batch normalisation and dropout run in
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
        if tuple(x.shape[1:3]) == (self.height, self.width):
            return x
        h, w = x.shape[1:3]
        if (2 * h, 2 * w) == (self.height, self.width):
            return ops.image.resize(
                x, (self.height, self.width), interpolation="bilinear", data_format="channels_last"
            )
        # TensorFlow 2.21's own resizing, compiled by XLA, is wrong for some sizes, such as from 5
        # to 9 or from 6 to 18. Hence two products with constant matrices, as in AreaResize.
        rows = ops.cast(_interpolation(self.height, h), x.dtype)
        columns = ops.cast(_interpolation(self.width, w), x.dtype)
        x = ops.tensordot(x, rows, axes=[[1], [1]])  # (B, w, C, height)
        x = ops.tensordot(x, columns, axes=[[1], [1]])  # (B, C, height, width)
        return ops.transpose(x, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}
