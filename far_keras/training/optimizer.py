"""AdamW with a linear warm-up, a cosine decay, and optionally a lower rate for some weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

__all__ = ["MultiRateAdamW", "build_optimizer"]

# Names of the variables without weight decay.
_NO_DECAY = ("bias", "gamma", "beta")


class MultiRateAdamW(keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) with a lower learning rate for some weights.

    The rate of a weight multiplies the whole step: Adam's and the decay's. A factor of its
    gradient would have no effect, because Adam normalizes gradients.

    Args:
        learning_rate: A number or a schedule.
        decay: Decoupled decay, multiplied by the learning rate; biases and the normalizations'
            gamma and beta are exempt.
        slow: The weights that have the rate `slow_rate`; all others have 1.
        slow_rate: Factor of the learning rate of `slow`.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        decay: float,
        slow: Iterable[keras.Variable] = (),
        slow_rate: float = 1.0,
    ) -> None:
        super().__init__(learning_rate)
        self._decay = decay
        self._slow = {id(variable) for variable in slow}
        self._slow_rate = slow_rate
        self._factors: list[tuple[float, float]] = []

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        # Of each variable, the rate and the decay.
        self._factors = [
            (
                self._slow_rate if id(variable) in self._slow else 1.0,
                0.0 if variable.name in _NO_DECAY else self._decay,
            )
            for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, decay = self._factors[self._get_variable_index(variable)]
        learning_rate = ops.cast(learning_rate, variable.dtype) * rate
        if decay:
            self.assign_sub(variable, variable * decay * learning_rate)
        super().update_step(gradient, variable, learning_rate)


def build_optimizer(
    learning_rate: float,
    weight_decay: float,
    total_steps: int,
    warmup: float,
    slow: Iterable[keras.Variable] = (),
    slow_rate: float = 1.0,
) -> keras.optimizers.Optimizer:
    """AdamW whose learning rate rises linearly to its peak and falls as a half cosine to 0.

    Args:
        learning_rate: The peak.
        weight_decay: Decoupled decay, multiplied by the learning rate. Biases and the
            normalizations' gamma and beta are exempt.
        total_steps: Steps of the whole training.
        warmup: Share of `total_steps` in which the learning rate rises.
        slow: Weights with another learning rate.
        slow_rate: Its factor.
    """
    warmup_steps = round(warmup * total_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else learning_rate,
        decay_steps=max(total_steps - warmup_steps, 1),
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    return MultiRateAdamW(schedule, weight_decay, slow, slow_rate)
