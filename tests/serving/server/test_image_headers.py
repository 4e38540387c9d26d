import io
import struct

import numpy as np
import pytest
from PIL import Image

from far_keras.serving.server.image_headers import count_pixels
from far_keras.serving.server.limits import RpcError
from far_keras.serving.server.predict import check_images


def encoded(kind, width=37, height=21, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def animated(kind, frames):
    images = [Image.new("RGB", (30, 20), (40 * i, 0, 0)) for i in range(frames)]
    buffer = io.BytesIO()
    images[0].save(buffer, kind, save_all=True, append_images=images[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": Image.Exif(), "comment": b"x" * 1000}),
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_the_header_tells_the_pixels(kind, options):
    assert count_pixels(encoded(kind, **options)) == 37 * 21


def test_frames_of_a_gif_count():
    # The screen, and each frame.
    assert count_pixels(animated("GIF", 5)) == 6 * 30 * 20


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_image_has_no_pixels(data):
    assert count_pixels(data) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_a_file_cut_off_anywhere_is_no_trouble(kind):
    data = encoded(kind)
    whole = count_pixels(data)
    for end in range(min(len(data), 700)):
        assert count_pixels(data[:end]) in (None, whole, 37 * 21)


def test_a_bomb_is_refused_by_its_header_and_named():
    png = bytearray(encoded("PNG"))
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    values = np.array([encoded("PNG"), bytes(png)], object)
    with pytest.raises(RpcError, match=r"at most 1,000 pixels.*3,600,000,000 in image 1"):
        check_images(values, 1000, "image_bytes")
    assert check_images(values[:1], 1000, "image_bytes") == [37 * 21]


def test_an_animated_webp_is_refused():
    values = np.array([animated("WEBP", 3)], object)
    with pytest.raises(RpcError, match="animated WebP as image 0"):
        check_images(values, 10**9, "image_bytes")
