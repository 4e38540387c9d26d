"""Split attention: two convolutions side by side, mixed channel by channel (ResNeSt)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["SplitAttention"]

_MIN_HIDDEN = 32  # units of the attention's hidden layer, as in the reference


@keras.saving.register_keras_serializable(package="far_keras")
class SplitAttention(keras.layers.Layer):
    """ResNeSt's split-attention convolution, cardinality 1 (arXiv 2004.08955).

    The input's channels are cut into R parts (the radix). Each part goes through a convolution of
    its own to a split ``u_r`` (B, H, W, F), batch normalisation and ReLU. With C input channels:

    - ``s = mean over H, W of (u_1 + … + u_R)``, (B, F);
    - ``z = relu(norm(s @ W_1 + b_1))``, ``max(C R / reduction, 32)`` units;
    - ``a_r = softmax over r of (z @ W_2 + b_2)``, R times (B, F);
    - ``y = a_1 u_1 + … + a_R u_R``.

    The parts are convolved one by one: on TensorFlow, Keras hands a convolution with ``groups`` to
    the XLA compiler, and an exported model would need it too.

    Args:
        filters: Channels F of the output.
        radix: Number R of splits, 2 or more; divides the number of input channels.
        reduction: Divisor of the hidden layer's units.
        kernel_size: Odd; the input is padded with zeros so that height and width stay.
        momentum: Of both batch normalisations.
        epsilon: Of both batch normalisations.

    Call arguments:
        x: Tensor (B, H, W, C), channels last.
        training: Whether batch normalisation uses the batch's statistics.

    Returns:
        Tensor (B, H, W, F).

    Example:
        >>> SplitAttention(64)(np.ones((2, 14, 14, 32))).shape
        TensorShape([2, 14, 14, 64])
    """

    def __init__(
        self,
        filters: int,
        radix: int = 2,
        reduction: int = 4,
        kernel_size: int = 3,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for argument, value, least in (
            ("filters", filters, 1),
            ("radix", radix, 2),
            ("reduction", reduction, 1),
        ):
            if value < least:
                raise ValueError(f"{argument} must be at least {least}. Received: {value!r}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and positive. Received: {kernel_size!r}")
        self.filters = filters
        self.radix = radix
        self.reduction = reduction
        self.kernel_size = kernel_size
        self.momentum = momentum
        self.epsilon = epsilon
        norm: dict[str, Any] = {
            "momentum": momentum,
            "epsilon": epsilon,
            "dtype": self.dtype_policy,
        }
        self.splits_norm = keras.layers.BatchNormalization(name="splits_norm", **norm)
        self.hidden_norm = keras.layers.BatchNormalization(name="hidden_norm", **norm)
        self.attention = keras.layers.Dense(
            radix * filters,
            kernel_initializer=_he_normal(),
            name="attention",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1] if len(input_shape) == 4 else None
        if channels is None or channels % self.radix:
            raise ValueError(
                "expected an input (B, H, W, C) with a number of channels that is known and a "
                f"multiple of radix={self.radix}. Received: {tuple(input_shape)}"
            )
        splits = self.radix * self.filters
        size = self.kernel_size
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, channels // self.radix, splits),
            initializer=_he_normal(),
        )
        self.splits_norm.build((*input_shape[:-1], splits))
        hidden = max(channels * self.radix // self.reduction, _MIN_HIDDEN)
        self.hidden = keras.layers.Dense(
            hidden, kernel_initializer=_he_normal(), name="hidden", dtype=self.dtype_policy
        )
        self.hidden.build((input_shape[0], self.filters))
        self.hidden_norm.build((input_shape[0], hidden))
        self.attention.build((input_shape[0], hidden))

    def call(self, x: Any, training: bool | None = None) -> Any:
        margin = self.kernel_size // 2
        x = ops.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        parts = ops.split(x, self.radix, axis=-1)
        kernels = ops.split(self.kernel, self.radix, axis=-1)
        u = ops.concatenate(
            [
                ops.conv(part, kernel, padding="valid", data_format="channels_last")
                for part, kernel in zip(parts, kernels, strict=True)
            ],
            axis=-1,
        )  # (B, H, W, R F)
        u = ops.relu(self.splits_norm(u, training=training))
        # The mean first and the sum over splits then: the order costs least.
        mean = ops.reshape(ops.mean(u, axis=(1, 2)), (-1, self.radix, self.filters))
        z = ops.relu(self.hidden_norm(self.hidden(ops.sum(mean, axis=1)), training=training))
        logits = ops.reshape(self.attention(z), (-1, self.radix, self.filters))
        weights = ops.softmax(logits, axis=1)  # (B, R, F)
        splits = ops.split(u, self.radix, axis=-1)
        y = splits[0] * weights[:, None, None, 0]
        for r in range(1, self.radix):
            y = y + splits[r] * weights[:, None, None, r]
        return y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "radix": self.radix,
            "reduction": self.reduction,
            "kernel_size": self.kernel_size,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }


def _he_normal() -> keras.initializers.Initializer:
    """Normal with variance 2 / (kernel area × output channels), as in the reference."""
    return keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="untruncated_normal"
    )
