"""Scaling of pixel values, as a layer that is safe to export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

__all__ = ["Rescale"]


@keras.saving.register_keras_serializable(package="far_keras")
class Rescale(keras.layers.Layer):
    """Computes ``(x - offset) / divisor``.

    Keras' own preprocessing layers are left out of models on purpose: ``Resizing`` and its
    relatives drop the training argument, and batch normalisation behind them then exports in
    training mode.

    Args:
        offset: The value that becomes 0; a number, or one for each channel.
        divisor: The distance from `offset` that becomes 1; a number, or one for each channel.

    Call arguments:
        x: Tensor of any shape and any numeric dtype, uint8 included.

    Returns:
        The same shape in the layer's compute dtype.

    Example:
        >>> Rescale(127, 128)(np.array([127, 255], "uint8"))  # [0.0, 1.0]
    """

    def __init__(
        self,
        offset: float | Sequence[float] = 0.0,
        divisor: float | Sequence[float] = 1.0,
        **kwargs: Any,
    ) -> None:
        # Integers must arrive whole: casting 0..255 to bfloat16 first would round them.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        # As JSON gives them back.
        offset = offset if isinstance(offset, int | float) else list(offset)
        divisor = divisor if isinstance(divisor, int | float) else list(divisor)
        if 0 in (divisor if isinstance(divisor, list) else [divisor]):
            raise ValueError(f"divisor must not be 0. Received: {divisor!r}")
        self.offset = offset
        self.divisor = divisor

    def call(self, x: Any) -> Any:
        offset = ops.convert_to_tensor(self.offset, "float32")
        scaled = (ops.cast(x, "float32") - offset) / ops.convert_to_tensor(self.divisor, "float32")
        return ops.cast(scaled, self.compute_dtype)

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset, "divisor": self.divisor}
