"""Bilinear resizing of feature maps, as a layer that is safe to export."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["Resize"]


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
        return ops.image.resize(
            x, (self.height, self.width), interpolation="bilinear", data_format="channels_last"
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}
