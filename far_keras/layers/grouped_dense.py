"""A dense layer of its own for each group, computed as one batched product."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["GroupedDense"]


@keras.saving.register_keras_serializable(package="far_keras")
class GroupedDense(keras.layers.Layer):
    """Applies to each group's vector a dense layer of that group's own.

    ``y[b, g] = activation(x[b, g] @ kernel[g] + bias[g])``

    Args:
        units: Length of each group's output vector.
        activation: Name of a Keras activation, or None for none.

    Call arguments:
        x: Tensor (B, G, C).

    Returns:
        Tensor (B, G, units).

    Example:
        >>> GroupedDense(16, activation="relu")(np.ones((2, 8, 32))).shape
        TensorShape([2, 8, 16])
    """

    def __init__(self, units: int, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1. Received: {units!r}")
        self.units = units
        self.activation = activation
        self._activation = keras.activations.get(activation)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, groups, channels = input_shape
        assert groups is not None and channels is not None
        self.kernel = self.add_weight(
            name="kernel",
            shape=(groups, channels, self.units),
            # Keras takes the first axis for positions of a filter and counts it into the fans.
            # The scale undoes that: each group's kernel is Glorot uniform by itself.
            initializer=keras.initializers.VarianceScaling(
                scale=groups, mode="fan_avg", distribution="uniform"
            ),
        )
        self.bias = self.add_weight(name="bias", shape=(groups, self.units), initializer="zeros")

    def call(self, x: Any) -> Any:
        grouped = ops.transpose(x, (1, 0, 2))  # (G, B, C)
        y = ops.transpose(ops.matmul(grouped, self.kernel), (1, 0, 2))  # (B, G, units)
        return self._activation(y + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "activation": self.activation}
