"""Augments training images and their masks without changing their labels.

All 40 attributes of CelebA are symmetric, so mirroring is safe. Images are neither blurred nor
turned grey, and changes of color are small, because Blurry and the hair colors must stay true.

Everything works on a whole batch and draws from a stateless seed: the same seed gives the same
images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

__all__ = ["Augmentation", "affine", "augment", "color_jitter"]

# Of images in CelebA's frame, which the pipeline squashes to a square.
_ASPECT = 178 / 218

# ITU-R BT.601 luma, and the YIQ color space in which a turn of the I-Q plane is a change of hue.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32)
_TO_RGB = np.linalg.inv(_TO_YIQ).astype(np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Strength of the augmentation: each amount bounds a uniform draw on both sides of no change.

    Args:
        flip: Probability of mirroring, 0 to 1.
        rotation: Degrees, in the frame of the undistorted face.
        scale: Relative; 0.1 is 0.9 to 1.1 times as large.
        translation: Share of the image's width and height.
        brightness: Share of the full range.
        contrast: Relative, about the image's mean.
        saturation: Relative.
        hue: Turns of the color circle.
    """

    flip: float = 0.5
    rotation: float = 10.0
    scale: float = 0.1
    translation: float = 0.05
    brightness: float = 0.1
    contrast: float = 0.15
    saturation: float = 0.2
    hue: float = 0.01


def augment(
    images: tf.Tensor,
    masks: tf.Tensor,
    seed: tf.Tensor,
    amounts: Augmentation = Augmentation(),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augments each image of a batch independently, and its masks in the same way.

    Args:
        images: float32 (B, H, W, 3) in [0, 255], CelebA's frame squashed to H x W.
        masks: float32 (B, h, w, G) in [0, 1] of the same frame; an image whose masks are missing
            has -1 everywhere, and keeps that. G may be 0.
        seed: int32 or int64 (2,).
        amounts: Strength of the augmentation.

    Returns:
        Images and masks of the same shapes and ranges.
    """
    batch = tf.shape(images)[0]
    unit = tf.random.stateless_uniform((9, batch), seed)  # one row for each draw
    signed = 2.0 * unit - 1.0
    matrix = _affine_matrix(
        mirrored=unit[0] < amounts.flip,
        angle=signed[1] * (amounts.rotation * np.pi / 180.0),
        scale=1.0 + signed[2] * amounts.scale,
    )
    shift = tf.stack([signed[3], signed[4]], axis=1) * amounts.translation
    images = affine(images, matrix, shift)
    images = color_jitter(
        images,
        brightness=signed[5] * (255.0 * amounts.brightness),
        contrast=1.0 + signed[6] * amounts.contrast,
        saturation=1.0 + signed[7] * amounts.saturation,
        hue=signed[8] * amounts.hue,
    )
    if masks.shape[-1] != 0:
        missing = tf.reduce_all(masks < 0.0, axis=(1, 2, 3), keepdims=True)
        moved = tf.clip_by_value(affine(masks, matrix, shift), 0.0, 1.0)
        masks = tf.where(missing, masks, moved)
    return images, masks


def affine(images: tf.Tensor, matrix: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Transforms images with bilinear interpolation; the border is repeated outside.

    Coordinates are relative to the image's center and span 1 from side to side, so that the same
    values transform an image and masks of another size alike.

    Args:
        images: float32 (B, H, W, C).
        matrix: float32 (B, 2, 2): output position to input position.
        shift: float32 (B, 2): added to the input position; x first.
    """
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    # In pixel indices: in = size * (matrix @ ((out - center) / size) + shift) + center.
    size = tf.stack([width, height])
    center = (size - 1.0) / 2.0
    pixels = matrix * size[:, None] / size[None, :]  # (B, 2, 2)
    offset = center + size * shift - tf.linalg.matvec(pixels, center)  # (B, 2)
    rows = tf.concat([pixels, offset[:, :, None]], axis=2)  # (B, 2, 3)
    transforms = tf.pad(tf.reshape(rows, (-1, 6)), [[0, 0], [0, 2]])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def color_jitter(
    images: tf.Tensor,
    brightness: tf.Tensor,
    contrast: tf.Tensor,
    saturation: tf.Tensor,
    hue: tf.Tensor,
) -> tf.Tensor:
    """Changes hue, saturation, contrast and brightness, in this order, as one matrix per image.

    Args:
        images: float32 (B, H, W, 3) in [0, 255].
        brightness: float32 (B,), added to the values.
        contrast: float32 (B,), factor of the distance to the image's mean luma.
        saturation: float32 (B,), factor of the distance to the pixel's own luma.
        hue: float32 (B,), turns of the color circle.

    Returns:
        float32 (B, H, W, 3), clipped to [0, 255].
    """
    cosine = saturation * tf.cos(2.0 * np.pi * hue)
    sine = saturation * tf.sin(2.0 * np.pi * hue)
    zero, one = tf.zeros_like(hue), tf.ones_like(hue)
    turn = tf.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], axis=1)
    matrix = _TO_RGB @ tf.reshape(turn, (-1, 3, 3)) @ _TO_YIQ  # (B, 3, 3), rows are outputs
    # None of the above changes a pixel's luma, so the mean is the same before and after.
    mean = tf.linalg.matvec(tf.reduce_mean(images, axis=(1, 2)), _LUMA[None])[:, 0]
    offset = (1.0 - contrast) * mean + brightness
    shape = tf.shape(images)
    flat = tf.reshape(images, (shape[0], -1, 3))
    changed = tf.matmul(flat, contrast[:, None, None] * matrix, transpose_b=True)
    return tf.reshape(tf.clip_by_value(changed + offset[:, None, None], 0.0, 255.0), shape)


def _affine_matrix(mirrored: tf.Tensor, angle: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The matrix (B, 2, 2) for `affine`: a true rotation of the unsquashed face.

    Mirroring is part of the matrix: a separate operation would cost as much as all others.
    """
    cosine, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
    # Unit coordinates stand for 178 pixels across but 218 down; the turn is made in pixels.
    matrix = tf.stack([cosine, -sine / _ASPECT, sine * _ASPECT, cosine], axis=1)
    sign = tf.stack([tf.where(mirrored, -1.0, 1.0), tf.ones_like(angle)], axis=1)
    return tf.reshape(matrix, (-1, 2, 2)) * sign[:, :, None]
