"""Image decoding and resizing in TensorFlow graphs, for training and exported models alike."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["MAX_PIXELS", "decode_images", "decode_jpeg", "prepare_images", "resize_images"]

MAX_PIXELS = 2**25
"""Maximum pixels of an encoded image, some 33 million: 100 MB when decoded. A file of a few
kilobytes can declare billions and exhaust a server's memory."""

_PARALLEL = 4  # images decoded at the same time: their memory adds up

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = 16  # where a PNG's header has width and height, 4 bytes each, high byte first


def decode_jpeg(content: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG exactly as Pillow does.

    TensorFlow's default DCT is faster, and differs by up to 17 grey levels.

    Args:
        content: string (), the file's bytes.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")


def resize_images(images: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes images to a square as the networks are trained on them.

    Bilinear with antialiasing, which is what ``PIL.Image.resize(..., BILINEAR)`` computes.

    Args:
        images: uint8 or float32 (..., H, W, 3) in [0, 255].
        size: Side S.

    Returns:
        float32 (..., S, S, 3) in [0, 255].
    """
    return tf.image.resize(images, (size, size), antialias=True)


def prepare_images(images: tf.Tensor, size: int) -> tf.Tensor:
    """Images of any size as the network's input.

    Args:
        images: uint8 or float32 (N, H, W, 3) in [0, 255].
        size: Side S.

    Returns:
        float32 (N, S, S, 3): unchanged where they have that size already, otherwise resized by
        `resize_images` and rounded.
    """
    shape = tf.shape(images)
    # Some networks fail on an empty batch with a message about their inner shapes.
    not_empty = tf.debugging.Assert(shape[0] > 0, ["expected at least one image"])
    with tf.control_dependencies([not_empty]):
        shape = tf.identity(shape)
    fits = tf.logical_and(tf.equal(shape[1], size), tf.equal(shape[2], size))

    def resized() -> tf.Tensor:
        return tf.round(tf.clip_by_value(resize_images(images, size), 0.0, 255.0))

    pixels = tf.cond(fits, lambda: tf.cast(images, tf.float32), resized)
    return tf.ensure_shape(pixels, (None, size, size, 3))


def decode_images(contents: tf.Tensor, size: int) -> tf.Tensor:
    """Encoded images as the network's input.

    Transparent parts of a PNG are laid over white, as `far_keras.images.read_image` does. EXIF
    rotation is not applied. Other formats are refused, WebP because TensorFlow 2.21 writes beyond
    its memory on an animated one.

    Args:
        contents: string (N,), the bytes of JPEG or PNG files of any size.
        size: Side S.

    Returns:
        float32 (N, S, S, 3) in [0, 255]. Running it raises InvalidArgumentError for an image of
        another format, a damaged one, or one of more than `MAX_PIXELS`.
    """
    not_empty = tf.debugging.Assert(tf.size(contents) > 0, ["expected at least one image"])
    with tf.control_dependencies([not_empty]):
        return tf.map_fn(
            lambda content: prepare_images(_decode(content)[None], size)[0],
            contents,
            fn_output_signature=tf.TensorSpec((size, size, 3), tf.float32),
            parallel_iterations=_PARALLEL,
        )


def _decode(content: tf.Tensor) -> tf.Tensor:
    """One image, uint8 (H, W, 3)."""
    is_jpeg = tf.equal(tf.strings.substr(content, 0, len(_JPEG)), _JPEG)
    is_png = tf.equal(tf.strings.substr(content, 0, len(_PNG)), _PNG)
    known = tf.debugging.Assert(
        tf.logical_or(is_jpeg, is_png), ["expected the content of a JPEG or PNG file"]
    )
    with tf.control_dependencies([known]):
        is_jpeg = tf.identity(is_jpeg)
    image = tf.cond(is_jpeg, lambda: _checked_jpeg(content), lambda: _checked_png(content))
    return tf.ensure_shape(image, (None, None, 3))


def _checked_jpeg(content: tf.Tensor) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(content)
    with tf.control_dependencies([_check_size(shape[0], shape[1])]):
        return decode_jpeg(content)


def _checked_png(content: tf.Tensor) -> tf.Tensor:
    # Padded, so that the header of a file that ends within it can be read.
    head = tf.strings.join([tf.strings.substr(content, 0, _PNG_SIZE + 8), b"\0" * (_PNG_SIZE + 8)])
    field = tf.io.decode_raw(tf.strings.substr(head, _PNG_SIZE, 8), tf.uint8)  # (8,)
    weights = tf.constant([256**3, 256**2, 256, 1], tf.int64)
    width, height = tf.unstack(
        tf.reduce_sum(tf.reshape(tf.cast(field, tf.int64), (2, 4)) * weights, axis=1)
    )
    with tf.control_dependencies([_check_size(height, width)]):
        image = tf.cast(tf.io.decode_png(content, channels=4), tf.int32)
    alpha = image[:, :, 3:]
    over_white = (image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255  # rounded
    return tf.cast(over_white, tf.uint8)


def _check_size(height: tf.Tensor, width: tf.Tensor) -> tf.Operation:
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.Assert(
        pixels <= MAX_PIXELS,
        [f"expected an image of at most {MAX_PIXELS} pixels; scale it down"],
    )
