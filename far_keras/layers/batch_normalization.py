"""Batch normalization with TensorFlow's fused kernel, for faster training.

Keras 3 computes a batch's statistics and the normalized values by separate elementwise operations,
each of which reads and writes the whole feature map. With the fused kernel a training step of
EfficientNet-Lite0 takes a quarter less time on a CPU; `benchmarks/model_cost.py` prints the ratio.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

__all__ = ["BatchNormalization", "fuse"]


@keras.saving.register_keras_serializable(package="far_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that trains with TensorFlow's fused kernel.

    It has the same arguments, weights, results and name, by which weight files find their layers.
    Where the kernel does not apply (other than 4-D inputs, channels not last, a mask, `renorm`,
    statistics over replicas, no scale or centre) Keras' own code runs.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (training and self.trainable and mask is None and self._kernel_applies(inputs)):
            return super().call(inputs, training=training, mask=mask)
        # Statistics need float32, whatever the dtype of the features.
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            tf.cast(inputs, tf.float32),
            tf.cast(self.gamma, tf.float32),
            tf.cast(self.beta, tf.float32),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel gives the unbiased variance, Keras keeps the biased one.
        count = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
        variance *= (count - 1.0) / count
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return tf.cast(outputs, self.compute_dtype)

    def _kernel_applies(self, inputs: Any) -> bool:
        last = self.axis if isinstance(self.axis, int) else self.axis[0]
        return (
            len(inputs.shape) == 4
            and last in (-1, 3)
            and self.scale
            and self.center
            and not self.renorm
            and not self.synchronized
        )


def fuse(layer: keras.layers.BatchNormalization) -> None:
    """Turns a batch normalization of an existing network into a fused one, in place."""
    if type(layer) is keras.layers.BatchNormalization:
        layer.__class__ = BatchNormalization
