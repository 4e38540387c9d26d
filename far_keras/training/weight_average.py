"""A moving average of the weights: what is validated and saved in the place of the last step's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

__all__ = ["WeightAverage"]


class WeightAverage(keras.callbacks.Callback):
    """A callback of `fit` that keeps an exponential moving average of a network's weights.

    After step n, counted from 0, ``average = m average + (1 - m) weights``, where m is the smaller
    of `momentum` and ``n / (n + 9)``: the average starts from the first step's weights and spans
    about a tenth of the steps so far, until it spans ``1 / (1 - momentum)`` of them. The moving
    statistics of batch normalisations are weights too, and averaged alike.

    Keras' own (``use_ema`` of its optimisers) leaves the statistics out, has no such start, and at
    the end of every `fit`, of which there is one an epoch here, goes on from the average.

    Args:
        model: The network, built in the scope of its strategy, as is this object.
        momentum: In [0, 1); 0 keeps no average, and nothing here has an effect.
    """

    def __init__(self, model: keras.Model, momentum: float) -> None:
        super().__init__()
        self._momentum = momentum
        self._weights = list(model.weights) if momentum else []
        self._averages = [
            keras.Variable(weight, dtype=weight.dtype, trainable=False) for weight in self._weights
        ]
        self._steps = keras.Variable(0, dtype="int64", trainable=False)

    @property
    def variables(self) -> list[keras.Variable]:
        """All that it has to remember; nothing without an average."""
        return [*self._averages, self._steps] if self._averages else []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._averages:
            self._update()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While entered, the network has the averages; then it has its own weights again."""
        own = [keras.ops.convert_to_numpy(weight) for weight in self._weights]
        _assign(self._weights, self._averages)
        try:
            yield
        finally:
            _assign(self._weights, own)

    @tf.function
    def _update(self) -> None:
        steps = tf.cast(self._steps.value, tf.float32)
        momentum = tf.minimum(self._momentum, steps / (steps + 9.0))
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.assign_add((1.0 - momentum) * (weight.value - average.value))
        self._steps.assign_add(1)


def _assign(variables: list[keras.Variable], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
