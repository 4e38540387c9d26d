"""Mixing of the styles of images, in training only."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import betaincinv

__all__ = ["MixStyle"]

# Draws from Beta are draws of one of so many quantiles: gamma draws cannot be compiled by XLA, and
# two small ones leave 0/0.
_QUANTILES = 1024


@keras.saving.register_keras_serializable(package="far_keras")
class MixStyle(keras.layers.Layer):
    """MixStyle (K. Zhou et al., "Domain Generalization with MixStyle", arXiv 2104.02008).

    Mean and standard deviation of each channel over an image are its style: light, colours, and
    by what means it was made. In training an image's features get statistics between its own and
    those of its neighbour in the batch, ``share own + (1 - share) neighbour``, with the share drawn
    from Beta(alpha, alpha). No gradient flows through the statistics. Otherwise nothing is changed.

    The paper draws once whether a whole batch is mixed; here each image has its own draw.

    Args:
        probability: Of an image to be mixed, 0 to 1.
        alpha: Above 0; below 1 the shares are mostly near 0 or 1.
        epsilon: Added to variances.
        seed: Of the draws; None draws one.

    Call arguments:
        x: Features (B, H, W, C), channels last. Where B is 1, nothing is changed.
        training: Whether to mix.

    Returns:
        The same shape and dtype.

    Example:
        >>> MixStyle()(np.ones((2, 4, 4, 3))).shape
        TensorShape([2, 4, 4, 3])
    """

    def __init__(
        self,
        probability: float = 0.5,
        alpha: float = 0.1,
        epsilon: float = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in [0, 1]. Received: {probability!r}")
        if not (alpha > 0 and epsilon > 0):
            raise ValueError(f"alpha, epsilon must be above 0. Received: {alpha!r}, {epsilon!r}")
        self.probability = probability
        self.alpha = alpha
        self.epsilon = epsilon
        self.seed = seed
        self._shares = betaincinv(alpha, alpha, (np.arange(_QUANTILES) + 0.5) / _QUANTILES)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        features = ops.cast(x, "float32")  # a mean over many positions needs it
        mean, variance = ops.moments(ops.stop_gradient(features), axes=(1, 2), keepdims=True)
        deviation = ops.sqrt(variance + self.epsilon)  # (B, 1, 1, C)
        shape = (ops.shape(x)[0], 1, 1, 1)
        drawn = keras.random.randint(shape, 0, _QUANTILES, seed=self.seed_generator)
        share = ops.take(ops.convert_to_tensor(self._shares, "float32"), drawn)
        chosen = keras.random.uniform(shape, seed=self.seed_generator) < self.probability
        share = ops.where(chosen, share, 1.0)
        mixed_mean = share * mean + (1 - share) * ops.roll(mean, 1, axis=0)
        mixed_deviation = share * deviation + (1 - share) * ops.roll(deviation, 1, axis=0)
        scale = mixed_deviation / deviation
        return ops.cast(features * scale + (mixed_mean - mean * scale), x.dtype)

    def compute_output_spec(self, x: Any, training: bool = False) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, dtype=x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "probability": self.probability,
            "alpha": self.alpha,
            "epsilon": self.epsilon,
            "seed": self.seed,
        }
