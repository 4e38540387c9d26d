"""Encoded images in TensorFlow graphs: the pixels of `read_image`, or a short refusal."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage.data import astronaut

from far_keras.errors import ImageError
from far_keras.images import read_image
from far_keras.tf_images import MAX_PIXELS, decode_images

SIZE = 64


@pytest.fixture(scope="module")
def decode():
    """From contents to pixels, as the graph has them."""
    function = tf.function(lambda contents: decode_images(contents, SIZE))
    signature = tf.TensorSpec((None,), tf.string)
    concrete = function.get_concrete_function(signature)
    return lambda *contents: concrete(tf.constant(list(contents), tf.string)).numpy()


def photograph(size=SIZE, mode="RGB"):
    return Image.fromarray(astronaut()).crop((120, 10, 320, 210)).resize((size, size)).convert(mode)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_alpha():
    image = photograph().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((SIZE, SIZE)))
    return image


IMAGES = {
    "jpeg 4:4:4": encoded(photograph(), "JPEG", quality=95, subsampling=0),
    "jpeg 4:2:0": encoded(photograph(), "JPEG", quality=75, subsampling=2),
    "jpeg progressive": encoded(photograph(), "JPEG", progressive=True),
    "jpeg grey": encoded(photograph(mode="L"), "JPEG"),
    "jpeg cmyk": encoded(photograph(mode="CMYK"), "JPEG"),
    "png": encoded(photograph(), "PNG"),
    "png grey": encoded(photograph(mode="L"), "PNG"),
    "png of a palette": encoded(photograph().quantize(40), "PNG"),
    "png with a transparent colour": encoded(photograph().quantize(40), "PNG", transparency=3),
    "png with alpha": encoded(with_alpha(), "PNG"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_pixels_equal_those_of_read_image(kind, decode):
    np.testing.assert_array_equal(decode(IMAGES[kind])[0], read_image(IMAGES[kind]))


def test_sixteen_bits_are_within_a_grey_level(decode):
    values = np.linspace(0, 65535, SIZE * SIZE).reshape(SIZE, SIZE).astype(np.uint16)
    picture = encoded(Image.fromarray(values), "PNG")
    assert np.abs(decode(picture)[0] - read_image(picture)).max() <= 1  # cut off, not rounded


def test_one_batch_may_hold_several_kinds_and_sizes(exported):
    contents = [
        *IMAGES.values(),
        encoded(photograph(200), "JPEG"),
        encoded(photograph(31), "PNG"),
    ]
    results = exported(contents)
    assert all(len(values) == len(contents) for values in results.values())
    for number, content in enumerate(contents):
        alone = exported(read_image(content)[None])
        for name, values in results.items():
            # Batches of another size sum in another order.
            np.testing.assert_allclose(values[number], alone[name][0], rtol=0, atol=1e-4)
            if name != "logits":
                np.testing.assert_allclose(values[number], alone[name][0], rtol=0, atol=1e-5)


def png_of(width, height):
    """A PNG of one line of zeros that says it is larger."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = zlib.compress(bytes(1 + 3 * min(width, 1000)))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def jpeg_of(width, height):
    """A JPEG that says it is larger than it is."""
    content = bytearray(IMAGES["jpeg 4:4:4"])
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


REFUSED = {
    "nothing": b"",
    "text": b"no image at all",
    "the start of a JPEG": b"\xff\xd8\xff",
    "a JPEG's first half": IMAGES["jpeg 4:2:0"][: len(IMAGES["jpeg 4:2:0"]) // 2],
    "a JPEG without its end": IMAGES["jpeg 4:2:0"][:-200],
    "the start of a PNG": b"\x89PNG\r\n\x1a\n",
    "a PNG's first half": IMAGES["png"][: len(IMAGES["png"]) // 2],
    "a PNG that ends in its header": IMAGES["png"][:19],
    "WebP": encoded(photograph(), "WEBP"),
    "animated WebP": encoded(
        photograph(), "WEBP", save_all=True, append_images=[Image.new("RGB", (SIZE, SIZE))]
    ),
    "GIF": encoded(photograph(), "GIF"),
    "BMP": encoded(photograph(), "BMP"),
    "a PNG bomb": png_of(60_000, 60_000),
    "a PNG as wide as can be": png_of(2**31 - 1, 2**31 - 1),
    "a JPEG bomb": jpeg_of(65_000, 65_000),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_content_is_refused_in_one_line(what, decode, exported):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(REFUSED[what])
    with pytest.raises(tf.errors.InvalidArgumentError):  # nor beside good ones
        decode(IMAGES["png"], REFUSED[what], IMAGES["jpeg grey"])
    with pytest.raises(ImageError) as raised:
        exported([IMAGES["png"], REFUSED[what]])
    said = str(raised.value)
    assert said.startswith("images: expected the contents of JPEG or PNG files")
    assert "\n" not in said and "node" not in said and len(said) < 250
    if "bomb" in what:
        assert f"at most {MAX_PIXELS} pixels" in said


def test_the_limit_of_pixels(decode):
    side = 2 ** (MAX_PIXELS.bit_length() // 2 - 1)
    assert 2 * side * side == MAX_PIXELS
    with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid PNG data"):
        decode(png_of(2 * side, side))  # past the check: it is the image that is short
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"at most {MAX_PIXELS} pixels"):
        decode(png_of(2 * side, side + 1))


def test_an_empty_batch_is_refused(decode, exported):
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least one image"):
        decode()
    for signature, dtype in (("serve_uint8", tf.uint8), ("serve_float", tf.float32)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="at least one image"):
            exported.signatures[signature](images=tf.zeros((0, SIZE, SIZE, 3), dtype))
    with pytest.raises(tf.errors.InvalidArgumentError):
        exported.signatures["serve_uint8"](images=tf.zeros((1, 0, 5, 3), tf.uint8))
