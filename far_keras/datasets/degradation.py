"""Stronger random changes of training images, as of other cameras, lights and files.

They make a network rely less on the look of the images it learns from. Unlike those of
`far_keras.datasets.augmentation` they do not always leave labels true: a grey image hides the
colour of hair, blur is what Blurry asks for, and a rectangle may lie on the glasses.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

__all__ = ["degrade"]

# Of each change, the probability of an image to get it.
_GAMMA = _CAST = 0.5
_BLUR = _NOISE = _JPEG = _ERASING = 0.3
_GREY = 0.15

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32) / 256


def degrade(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Changes each image of a batch in its own way; each change comes to some images only.

    In this order: gamma from 0.6 to 1.7; factors of 0.8 to 1.25 for each colour; grey; blur by up
    to a binomial filter of 5 x 5; a rectangle of a tenth to a third of each side in one colour
    (Z. Zhong et al., "Random Erasing Data Augmentation", arXiv 1708.04896); noise with a deviation
    of up to 16; and JPEG of quality 15 to 75.

    Args:
        images: float32 (B, H, W, 3) in [0, 255].
        seed: int32 or int64 (2,).

    Returns:
        Images of the same shape and range.
    """
    count = tf.shape(images)[0]
    seeds = tf.unstack(tf.random.split(seed, 4))
    draws = tf.random.stateless_uniform((15, count), seeds[0])  # one row for each draw
    which = draws[:, :, None, None, None]  # a row's numbers against images
    colours = tf.random.stateless_uniform((2, count, 1, 1, 3), seeds[1])

    gamma = tf.exp((2.0 * which[1] - 1.0) * math.log(1.7))
    changed = 255.0 * tf.pow(images / 255.0, gamma)
    images = tf.where(which[0] < _GAMMA, changed, images)

    factors = tf.exp((2.0 * colours[0] - 1.0) * math.log(1.25))
    images = tf.where(which[2] < _CAST, tf.minimum(images * factors, 255.0), images)

    luma = tf.reduce_sum(images * _LUMA, axis=-1, keepdims=True)
    images = tf.where(which[3] < _GREY, luma, images)

    blurred = images + which[5] * (_blur(images) - images)
    images = tf.where(which[4] < _BLUR, blurred, images)

    inside = _rectangles(draws[7:11], tf.shape(images)[1:3])
    images = tf.where(inside & (which[6] < _ERASING), 255.0 * colours[1], images)

    noise = tf.random.stateless_normal(tf.shape(images), seeds[2])
    noisy = tf.clip_by_value(images + 16.0 * which[12] * noise, 0.0, 255.0)
    images = tf.where(which[11] < _NOISE, noisy, images)

    quality = tf.cast(15.0 + 60.0 * draws[14], tf.int32)
    return _compress(images, draws[13] < _JPEG, quality)


def _blur(images: tf.Tensor) -> tf.Tensor:
    kernel = tf.tile(_BINOMIAL[:, :, None, None], (1, 1, 3, 1))
    # Mirrored: zeros would darken the border.
    padded = tf.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="REFLECT")
    return tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")


def _rectangles(draws: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """(B, H, W, 1): whether a pixel is in its image's rectangle; draws (4, B) in [0, 1)."""
    sides = []
    for axis in (0, 1):
        extent = 0.1 + draws[axis] * (1.0 / 3.0 - 0.1)
        start = draws[2 + axis] * (1.0 - extent)
        place = (tf.cast(tf.range(size[axis]), tf.float32) + 0.5) / tf.cast(size[axis], tf.float32)
        sides.append((place >= start[:, None]) & (place < (start + extent)[:, None]))
    return (sides[0][:, :, None] & sides[1][:, None, :])[..., None]


def _compress(images: tf.Tensor, chosen: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    """Writes the chosen images as JPEG and reads them again."""

    def one(case: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, wanted, its_quality = case

        def read_again() -> tf.Tensor:
            pixels = tf.cast(tf.round(image), tf.uint8)
            data = tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=its_quality)
            return tf.cast(tf.io.decode_jpeg(data, channels=3), tf.float32)

        return tf.cond(wanted, read_again, lambda: image)

    return tf.ensure_shape(
        tf.map_fn(one, (images, chosen, quality), fn_output_signature=tf.float32), images.shape
    )
