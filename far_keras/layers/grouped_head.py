"""Attribute logits, each from the feature vector of its own group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["GroupedHead"]


@keras.saving.register_keras_serializable(package="far_keras")
class GroupedHead(keras.layers.Layer):
    """Binary classifiers: attribute a reads the vector of group ``group_of[a]`` and no other.

    ``logit[b, a] = <x[b, group_of[a]], kernel[a]> + bias[a]``

    The attributes keep the schema's order, however they are spread over groups.

    Args:
        group_of: For each of the A attributes the index of its group, in [0, G).

    Call arguments:
        x: Tensor (B, G, D).

    Returns:
        Logits (B, A).

    Example:
        >>> GroupedHead([0, 1, 0])(np.ones((2, 2, 16))).shape
        TensorShape([2, 3])
    """

    def __init__(self, group_of: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_of = [int(group) for group in group_of]
        if not self.group_of or min(self.group_of) < 0:
            raise ValueError(
                f"group_of must be a non-empty list of group indices >= 0. Received: {group_of!r}"
            )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, groups, channels = input_shape
        assert groups is not None and channels is not None
        if max(self.group_of) >= groups:
            raise ValueError(
                f"group_of names group {max(self.group_of)}, but the input (B, G, D) has only "
                f"{groups} groups. Received: input shape {tuple(input_shape)}"
            )
        attributes = len(self.group_of)
        # One output per kernel: Glorot's fans are (D, 1) for each attribute.
        limit = float(np.sqrt(6.0 / (channels + 1)))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(attributes, channels),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        self.bias = self.add_weight(name="bias", shape=(attributes,), initializer="zeros")

    def call(self, x: Any) -> Any:
        own = ops.take(x, self.group_of, axis=1)  # (B, A, D)
        return ops.sum(own * self.kernel, axis=-1) + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], len(self.group_of))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "group_of": self.group_of}
