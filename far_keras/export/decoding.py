"""Encoded images to what the network sees, inside a TensorFlow graph."""

from __future__ import annotations

import tensorflow as tf

from far_keras.datasets.pipeline import resize_images

__all__ = ["MAX_PIXELS", "decode_pictures", "squash"]

MAX_PIXELS = 2**25
"""Pixels that an encoded image may have at most, some 33 million: 100 MB when decoded. A file of
a few kilobytes can claim billions and take a server's memory with it."""

# Images decoded side by side: their memory adds up.
_PARALLEL = 4

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = 16  # where a PNG's header has width and height, 4 bytes each, high byte first


def squash(images: tf.Tensor, size: int) -> tf.Tensor:
    """Images of any size as the network is trained on them.

    Args:
        images: uint8 or float32 (N, H, W, 3) in [0, 255].
        size: Side S.

    Returns:
        float32 (N, S, S, 3): resized as `resize_images` does and rounded, or, where they have that
        size already, as they are.
    """
    shape = tf.shape(images)
    # Some networks fail on an empty batch with a message about their inner shapes.
    some = tf.debugging.Assert(shape[0] > 0, ["expected at least one image"])
    with tf.control_dependencies([some]):
        shape = tf.identity(shape)
    fits = tf.logical_and(tf.equal(shape[1], size), tf.equal(shape[2], size))

    def resized() -> tf.Tensor:
        return tf.round(tf.clip_by_value(resize_images(images, size), 0.0, 255.0))

    pixels = tf.cond(fits, lambda: tf.cast(images, tf.float32), resized)
    return tf.ensure_shape(pixels, (None, size, size, 3))


def decode_pictures(pictures: tf.Tensor, size: int) -> tf.Tensor:
    """Encoded images as the network sees them.

    JPEG is decoded exactly as Pillow does it; transparent parts of a PNG are laid over white, as
    `far_keras.images.read_image` does. A rotation noted in EXIF is not applied. Other formats are
    refused, WebP because TensorFlow 2.21 writes beyond its memory on an animated one.

    Args:
        images: string (N,), the contents of JPEG or PNG files of any size.
        size: Side S.

    Returns:
        float32 (N, S, S, 3) in [0, 255]. Running it raises InvalidArgumentError for an image of
        another format, a damaged one, or one of more than `MAX_PIXELS`.
    """

    def decode(picture: tf.Tensor) -> tf.Tensor:
        return squash(_decode(picture)[None], size)[0]

    some = tf.debugging.Assert(tf.size(pictures) > 0, ["expected at least one image"])
    with tf.control_dependencies([some]):
        return tf.map_fn(
            decode,
            pictures,
            fn_output_signature=tf.TensorSpec((size, size, 3), tf.float32),
            parallel_iterations=_PARALLEL,
        )


def _decode(picture: tf.Tensor) -> tf.Tensor:
    """One image, uint8 (H, W, 3)."""
    is_jpeg = tf.equal(tf.strings.substr(picture, 0, len(_JPEG)), _JPEG)
    is_png = tf.equal(tf.strings.substr(picture, 0, len(_PNG)), _PNG)
    known = tf.debugging.Assert(
        tf.logical_or(is_jpeg, is_png), ["expected the content of a JPEG or PNG file"]
    )
    with tf.control_dependencies([known]):
        is_jpeg = tf.identity(is_jpeg)
    image = tf.cond(is_jpeg, lambda: _decode_jpeg(picture), lambda: _decode_png(picture))
    return tf.ensure_shape(image, (None, None, 3))


def _decode_jpeg(picture: tf.Tensor) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(picture)
    with tf.control_dependencies([_check_size(shape[0], shape[1])]):
        # The default method is faster and up to 17 grey levels away from what others decode.
        return tf.io.decode_jpeg(picture, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(picture: tf.Tensor) -> tf.Tensor:
    # Padded, so that the header can be read of a file that ends within it.
    head = tf.strings.join([tf.strings.substr(picture, 0, _PNG_SIZE + 8), b"\0" * (_PNG_SIZE + 8)])
    field = tf.io.decode_raw(tf.strings.substr(head, _PNG_SIZE, 8), tf.uint8)  # (8,)
    weights = tf.constant([256**3, 256**2, 256, 1], tf.int64)
    width, height = tf.unstack(
        tf.reduce_sum(tf.reshape(tf.cast(field, tf.int64), (2, 4)) * weights, axis=1)
    )
    with tf.control_dependencies([_check_size(height, width)]):
        image = tf.cast(tf.io.decode_png(picture, channels=4), tf.int32)
    alpha = image[:, :, 3:]
    over_white = (image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255  # rounded
    return tf.cast(over_white, tf.uint8)


def _check_size(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.Assert(
        pixels <= MAX_PIXELS,
        [f"expected an image of at most {MAX_PIXELS} pixels; scale it down"],
    )
