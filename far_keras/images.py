"""Images in and out: whatever kind of file, as upright uint8 RGB arrays."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from far_keras.errors import ImageError
from far_keras.files import atomic_path

__all__ = ["IMAGE_SUFFIXES", "ImageSource", "list_images", "read_image", "write_image"]

ImageSource = str | Path | bytes | np.ndarray | Image.Image

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files of a folder that `list_images` takes for images; `read_image` looks at the content."""

# Pillow itself refuses twice its MAX_IMAGE_PIXELS (179 MP); it warns from 89 MP on. Below 179 MP
# a decoded image takes at most 0.7 GB, which is borne, so the warning is of no use here.
_open_lock = threading.Lock()  # warnings.catch_warnings changes the whole process

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


def read_image(source: ImageSource, max_side: int | None = 4096) -> np.ndarray:
    """Reads an image as RGB.

    Grey, palette, CMYK and 16-bit images are converted; transparent parts are laid over white,
    as viewers and web pages show them; a rotation noted in EXIF is applied; of an animation the
    first frame is taken. Colour profiles are not applied.

    Args:
        source: A file's path, a file's content as bytes, a Pillow image, or a uint8 array of shape
            (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA.
        max_side: Images with a longer side are scaled down to this many pixels; large JPEGs are
            already decoded at a reduced size. None keeps the size.

    Returns:
        uint8 array of shape (H, W, 3). An array given as RGB is returned as it is, not copied.

    Raises:
        ImageError: No such file, an empty, truncated or damaged file, not an image, more than
            179 million pixels, or an array of another dtype or shape.

    Example:
        >>> read_image(np.zeros((4, 3), np.uint8)).shape
        (4, 3, 3)
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side: expected at least 1 or None. Received: {max_side}")
    if isinstance(source, np.ndarray):
        return _read_array(source, max_side)
    if isinstance(source, Image.Image):
        # A copy is decoded; of an opened file, decoding at a reduced size would change it.
        return _guarded("Pillow image", lambda: _convert("Pillow image", source.copy(), max_side))
    if isinstance(source, (str, Path)):
        name = str(source)
        file: IO[bytes] = _open_path(Path(source))
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
        return _decode(name, file, max_side)


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """The images in a folder by their endings (`IMAGE_SUFFIXES`), sorted; hidden ones left out.

    Args:
        folder: Where to look.
        recursive: Also look into the folders below.

    Raises:
        ImageError: There is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "nothing of that name"
        raise ImageError(f"{folder}: expected a folder with images. Received: {kind}")
    found = sorted(
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    )
    if not found:
        below = "" if recursive else " (folders below it are not looked into)"
        raise ImageError(
            f"{folder}: expected images ({', '.join(IMAGE_SUFFIXES)}){below}. "
            f"Received: a folder with {sum(1 for _ in folder.iterdir())} other entries"
        )
    return found


def write_image(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Writes an image; the file is whole or not there.

    Args:
        path: The ending chooses the format. Missing folders are made.
        image: uint8 (H, W) or (H, W, 3).
        quality: Of JPEG and WebP, 1 to 100.

    Raises:
        ImageError: The ending is not that of a format that can be written.
        OSError: The file cannot be written, for instance because the disk is full.
    """
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(
            f"{path}: expected a file name that ends in one of {', '.join(IMAGE_SUFFIXES)}"
        )
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, quality=quality)


def _open_path(path: Path) -> IO[bytes]:
    try:
        if path.is_dir():
            raise ImageError(
                f"{path}: expected an image. Received: a folder; give the images in it"
            )
        if path.stat().st_size == 0:
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


def _decode(name: str, file: IO[bytes], max_side: int | None) -> np.ndarray:
    def read() -> np.ndarray:
        with _open_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file)
        with image:
            return _convert(name, image, max_side)

    return _guarded(name, read)


def _guarded(name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
    """What `read` gives; what goes wrong with the image becomes an `ImageError`."""
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


def _convert(name: str, image: Image.Image, max_side: int | None) -> np.ndarray:
    longest = max(image.size)
    if max_side is not None and longest > max_side:
        width, height = (max(1, round(side * max_side / longest)) for side in image.size)
        image.draft(None, (width, height))  # a JPEG at 1/2, 1/4 or 1/8
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF does not make the pixels unreadable
        orientation = 1
    rgb = _shrink(_to_rgb(name, image), max_side)
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


def _shrink(image: Image.Image, max_side: int | None) -> Image.Image:
    if max_side is None or max(image.size) <= max_side:
        return image
    scale = max_side / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    # reducing_gap: first by whole factors, which is fast, then exactly
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _read_array(array: np.ndarray, max_side: int | None) -> np.ndarray:
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
    if channels == 3 and (max_side is None or max(array.shape[:2]) <= max_side):
        return np.ascontiguousarray(array)
    image = Image.fromarray(np.squeeze(array, -1) if array.shape[2:] == (1,) else array)
    return np.array(_shrink(_to_rgb("source", image), max_side))
