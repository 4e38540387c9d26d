"""Reads, writes, lists and resizes images; every image is an upright uint8 RGB array."""

from __future__ import annotations

import io
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from far_keras.errors import ImageError
from far_keras.files import atomic_path

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "ImageInput",
    "ImageSource",
    "expand_folders",
    "image_name",
    "is_single_image",
    "is_video",
    "list_images",
    "open_image_file",
    "read_image",
    "resize_image",
    "write_image",
]

ImageSource = str | Path | bytes | np.ndarray | Image.Image
"""One image: a path, a file's content, a uint8 array, or a Pillow image."""

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files of a folder that `list_images` takes for images; `read_image` looks at the content."""

VIDEO_SUFFIXES = (".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
"""Files that are taken for videos; which of them can be read depends on OpenCV's FFmpeg."""

# What `read_image` decodes. Pillow would also take others: for PostScript it starts Ghostscript.
# "JPEG" includes the multi-picture files of phones.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

# Pillow itself refuses twice its MAX_IMAGE_PIXELS (179 MP); it warns from 89 MP on. Below 179 MP
# a decoded image takes at most 0.7 GB, which is acceptable, so the warning is not useful here.
_open_lock = threading.Lock()  # warnings.catch_warnings changes the whole process

_MOST_PIXELS = 178_956_970

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: ImageSource, max_pixels: int | None = 4096 * 3072) -> np.ndarray:
    """Reads an image as RGB.

    Grey, palette, CMYK and 16-bit images are converted; transparent parts are laid over white,
    as viewers and web pages show them; a rotation in EXIF is applied; of an animation the
    first frame is taken. Colour profiles are not applied.

    Args:
        source: A file's path, a file's content as bytes, a Pillow image, or a uint8 array of shape
            (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA.
        max_pixels: Larger images are scaled down to about this many pixels; large JPEGs are
            already decoded at a reduced size. None keeps the size.

    Returns:
        uint8 array of shape (H, W, 3). An array given as RGB is returned as it is, not copied.

    Raises:
        ImageError: No such file, an empty, truncated or damaged file, not an image, more than
            179 million pixels (of a JPEG: after reduced decoding), or an array of another dtype
            or shape.

    Example:
        >>> read_image(np.zeros((4, 3), np.uint8)).shape
        (4, 3, 3)
    """
    if max_pixels is not None and max_pixels < 1:
        raise ValueError(f"max_pixels: expected at least 1 or None. Received: {max_pixels}")
    if isinstance(source, np.ndarray):
        return _read_array(source, max_pixels)
    if isinstance(source, Image.Image):
        # A copy is decoded; of an opened file, decoding at a reduced size would change it.
        return _guarded("Pillow image", lambda: _convert("Pillow image", source.copy(), max_pixels))
    if isinstance(source, (str, Path)):
        name = str(source)
        file: IO[bytes] = open_image_file(Path(source))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        name, file = f"image of {len(source):,} bytes", io.BytesIO(source)
        if not len(source):
            raise ImageError("source: expected an image's content. Received: 0 bytes")
    else:
        raise ImageError(
            "source: expected a path, bytes, a uint8 array or a Pillow image. "
            f"Received: an object of type {type(source).__name__}"
        )
    with file:
        return _decode(name, file, max_pixels)


def list_images(folder: str | Path) -> list[Path]:
    """The images in a folder by suffix (`IMAGE_SUFFIXES`), sorted; without hidden files.

    Subfolders are not searched.

    Raises:
        ImageError: There is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "nothing of that name"
        raise ImageError(f"{folder}: expected a folder with images. Received: {kind}")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    )
    if not found:
        raise ImageError(
            f"{folder}: expected images ({', '.join(IMAGE_SUFFIXES)}), not in subfolders. "
            f"Received: a folder with {sum(1 for _ in folder.iterdir())} other entries"
        )
    return found


def expand_folders(paths: Iterable[str | Path]) -> list[Path]:
    """The paths, with each folder replaced by the images in it (`list_images`).

    Raises:
        ImageError: A folder holds no images, or cannot be read.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += list_images(path) if os.path.isdir(path) else [path]
    return files


def is_video(path: str | Path) -> bool:
    """Whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def is_single_image(source: Any) -> bool:
    """Whether `source` is one image; text, bytes and arrays are iterable too, but are one."""
    if isinstance(source, str | Path):
        return not (os.path.isdir(source) or is_video(source))
    return isinstance(source, bytes | bytearray | memoryview | np.ndarray | Image.Image)


def image_name(source: Any, index: int) -> str:
    """What results call an image: its path, or ``"image 3"`` for index 3 without a path."""
    return str(source) if isinstance(source, str | Path) else f"image {index}"


@dataclass(frozen=True, eq=False)
class ImageInput:
    """What a caller passed to a recognizer: one image, several images, or a video.

    Args:
        images: Name and source of each image; empty for a video.
        single: Whether the caller passed one image, and so expects one result.
        video: The path of the video, else None.
    """

    images: Iterable[tuple[str, ImageSource]]
    single: bool = False
    video: Path | None = None

    @classmethod
    def resolve(cls, source: ImageSource | Iterable[ImageSource]) -> ImageInput:
        """Finds out what `source` is.

        Args:
            source: An image (see `read_image`), the path of a folder of images or of a video, or
                an iterable of images, which may be endless.

        Raises:
            ImageError: A folder holds no images, or `source` is something else.
        """
        if isinstance(source, str | Path) and os.path.isdir(source):
            return cls(_named(list_images(source)))
        if is_single_image(source):
            return cls(_named([cast(ImageSource, source)]), single=True)
        if isinstance(source, str | Path):
            return cls((), video=Path(source))
        is_file = hasattr(source, "read")  # and an iterable of its lines
        if is_file or not hasattr(source, "__iter__"):
            advice = "; give its path, or what read() returns" if is_file else ""
            raise ImageError(
                "images: expected an image, a folder or an iterable of images. "
                f"Received: an object of type {type(source).__name__}{advice}"
            )
        return cls(_named(cast(Iterable[ImageSource], source)))


def _named(images: Iterable[ImageSource]) -> Iterator[tuple[str, ImageSource]]:
    return ((image_name(image, index), image) for index, image in enumerate(images))


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes an aligned face to the square input of a network, as training does.

    Bilinear with antialiasing (Pillow), rounded to whole levels.

    Args:
        image: uint8 RGB (H, W, 3).
        size: Height and width of the result, pixels.

    Returns:
        uint8 RGB (size, size, 3).
    """
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Writes an image; the file is never incomplete.

    Args:
        path: The suffix chooses the format. Missing folders are created.
        image: uint8 (H, W) or (H, W, 3).

    Raises:
        ImageError: The suffix is not that of a format that can be written.
        OSError: The file cannot be written, for instance because the disk is full.
    """
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(
            f"{path}: expected a file name that ends in one of {', '.join(IMAGE_SUFFIXES)}"
        )
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, quality=95)


def open_image_file(path: Path) -> IO[bytes]:
    """Opens the file of an image; raises ImageError if it is missing, a folder or empty."""
    try:
        if path.is_dir():
            raise ImageError(
                f"{path}: expected an image. Received: a folder; give the images in it"
            )
        if path.stat().st_size == 0 and not path.is_fifo():
            raise ImageError(f"{path}: expected an image. Received: an empty file (0 bytes)")
        return path.open("rb")
    except OSError as error:
        raise ImageError(
            f"{path}: cannot read the image: {error.strerror or error}. Check the path"
        ) from error
    except ValueError as error:  # a null character in the path
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{str(path)!r}: not a possible path: {error}") from error


def _decode(name: str, file: IO[bytes], max_pixels: int | None) -> np.ndarray:
    def read() -> np.ndarray:
        with _open_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = _open(file)
        with image:
            return _convert(name, image, max_pixels)

    return _guarded(name, read)


def _open(file: IO[bytes]) -> Image.Image:
    try:
        return Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:
        file.seek(0)
        if file.read(2) != b"\xff\xd8":
            raise
        file.seek(0)
        image = JpegImageFile(file)  # of any size: decoded at up to an eighth of it
        image.draft(None, (1, 1))
        if image.width * image.height > _MOST_PIXELS:
            raise
        file.seek(0)
        return JpegImageFile(file)


def _guarded(name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
    """Calls `read`; any error of the image becomes an `ImageError`."""
    try:
        return read()
    except UnidentifiedImageError:
        raise ImageError(
            f"{name}: expected an image (JPEG, PNG, WebP, TIFF, BMP or GIF). Received: a file of "
            "another kind, whatever its name says; convert or remove it"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name}: the image is too large: expected at most 179 million pixels. "
            f"Received: {error}. Scale it down first"
        ) from error
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # on damaged files Pillow's readers raise almost anything
        raise ImageError(
            f"{name}: the image is truncated or damaged: {error}. Copy or download it again"
        ) from error


def _convert(name: str, image: Image.Image, max_pixels: int | None) -> np.ndarray:
    if (size := _reduced(image.size, max_pixels)) != image.size:
        image.draft(None, size)  # a JPEG at 1/2, 1/4 or 1/8
    image.load()  # which already turns a TIFF upright, and removes its orientation
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF does not make the pixels unreadable
        orientation = 1
    rgb = _shrink(_to_rgb(name, image), max_pixels)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.array(rgb)


def _to_rgb(name: str, image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        return _from_16_bit(name, np.asarray(image)).convert("RGB")
    if mode == "F":
        raise ImageError(
            f"{name}: expected whole-numbered pixels of 8 or 16 bits. Received: floating point; "
            "convert the image to 8 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def _from_16_bit(name: str, values: np.ndarray) -> Image.Image:
    if values.dtype != np.uint16 and (values.min() < 0 or values.max() > 65535):
        raise ImageError(
            f"{name}: expected pixels of 8 or 16 bits. Received: values from {values.min()} to "
            f"{values.max()}; convert the image to 8 bits"
        )
    return Image.fromarray((values // 257).astype(np.uint8))  # 65535 = 257 * 255


def _reduced(size: tuple[int, int], max_pixels: int | None) -> tuple[int, int]:
    """Width and height with about `max_pixels` at most."""
    width, height = size
    if max_pixels is None or width * height <= max_pixels:
        return size
    scale = math.sqrt(max_pixels / (width * height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrink(image: Image.Image, max_pixels: int | None) -> Image.Image:
    size = _reduced(image.size, max_pixels)
    # reducing_gap: first by whole factors, which is fast, then exactly
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _read_array(array: np.ndarray, max_pixels: int | None) -> np.ndarray:
    described = f"an array of shape {array.shape} and dtype {array.dtype}"
    if array.dtype != np.uint8:
        advice = "; multiply by 255 if its range is 0 to 1" if array.dtype.kind == "f" else ""
        raise ImageError(
            f"source: expected a uint8 array with values 0 to 255. Received: {described}. "
            f"Convert it first{advice}"
        )
    channels = 1 if array.ndim == 2 else array.shape[-1] if array.ndim == 3 else 0
    if channels not in (1, 3, 4) or 0 in array.shape:
        raise ImageError(
            "source: expected a non-empty image of shape (H, W), (H, W, 1), (H, W, 3) or "
            f"(H, W, 4). Received: {described}. Give images of a batch one by one"
        )
    if channels == 3 and (max_pixels is None or array.size // 3 <= max_pixels):
        return np.ascontiguousarray(array)
    image = Image.fromarray(np.squeeze(array, -1) if array.shape[2:] == (1,) else array)
    return np.array(_shrink(_to_rgb("source", image), max_pixels))
