"""The size of an encoded image, read from its header without decoding it.

A file of a few kilobytes may declare gigapixels, which would exhaust the memory when decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

__all__ = ["count_pixels", "image_format", "is_animated_webp"]

_STARTS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "GIF": b"GIF8", "BMP": b"BM"}
_JPEG_SIZE = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # start-of-frame markers
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def image_format(data: bytes) -> str:
    """``"JPEG"``, ``"PNG"``, ``"GIF"``, ``"WebP"`` or ``"BMP"`` by the first bytes; else empty."""
    for name, start in _STARTS.items():
        if data.startswith(start):
            return name
    return "WebP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def count_pixels(data: bytes) -> int | None:
    """Width times height times frames, as the header declares.

    Returns:
        None for data that are no JPEG, PNG, GIF, WebP or BMP, or end before the size.
    """
    reader = _READERS.get(image_format(data))
    try:
        return reader(data) if reader is not None else None
    except (struct.error, IndexError):
        return None


def is_animated_webp(data: bytes) -> bool:
    """Whether the data are a WebP with several frames."""
    is_extended = image_format(data) == "WebP" and data[12:16] == b"VP8X"
    return is_extended and bool(data[20:21]) and data[20] & 2 > 0


def _png(data: bytes) -> int:
    width, height = struct.unpack_from(">II", data, 16)
    return width * height


def _bmp(data: bytes) -> int:
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width) * abs(height)


def _jpeg(data: bytes) -> int | None:
    position = 2
    while position < len(data):
        if data[position] != 0xFF:  # libjpeg skips what stands between segments, too
            position = data.find(b"\xff", position)
            if position < 0:
                return None
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
        elif marker in _JPEG_BARE or marker == 0:
            position += 2
        elif marker in _JPEG_SIZE:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width * height
        elif marker in (0xD9, 0xDA):  # the end, or pixels without a size
            return None
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return None


def _gif_frames(data: bytes) -> Iterator[int]:
    """Pixels of each frame, and of the screen, which readers allocate as well."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    screen = width * height
    yield screen
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while position < len(data):
        kind = data[position]
        if kind == 0x21:  # an extension
            position += 2
        elif kind == 0x2C:
            if position + 10 > len(data):
                return
            width, height, flags = struct.unpack_from("<HHB", data, position + 5)
            yield max(width * height, screen)
            position += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            return
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1


def _webp(data: bytes) -> int | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return (width & 0x3FFF) * (height & 0x3FFF)
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        if len(data) < 30:
            return None
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return width * height
    return None


_READERS: dict[str, Callable[[bytes], int | None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": lambda data: sum(_gif_frames(data)),
    "WebP": _webp,
    "BMP": _bmp,
}
