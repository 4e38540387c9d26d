"""Where images come from: one, several, a folder, a generator, a video."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from far_keras.errors import ImageError
from far_keras.images import ImageSource, list_images
from far_keras.recognition.video.reader import is_video

__all__ = ["Pictures", "is_one_picture", "list_photographs", "named_pictures"]

Pictures = ImageSource | Iterable[ImageSource]


def is_one_picture(pictures: Pictures) -> bool:
    """Whether this is a single image: bytes, an array, a Pillow image, or a path of one."""
    if isinstance(pictures, str | Path):
        return not (os.path.isdir(pictures) or is_video(pictures))
    return isinstance(pictures, bytes | bytearray | memoryview | np.ndarray | Image.Image)


def named_pictures(pictures: Pictures) -> Iterator[tuple[str, ImageSource]]:
    """The images one after another, each with what to call it in results.

    Args:
        images: One image (see `read_image`), the path of a folder of images, or an iterable
            of images.

    Yields:
        A path as text, or ``"picture 3"`` for what has the index 3 and no path; and the image.

    Raises:
        ImageError: A folder holds no images, or `pictures` is nothing of all that.
    """
    given: Iterable[ImageSource]
    if isinstance(pictures, str | Path) and os.path.isdir(pictures):
        given = list_images(pictures)
    elif is_one_picture(pictures):
        given = [cast(ImageSource, pictures)]
    else:
        given = cast(Iterable[ImageSource], pictures)
        is_file = hasattr(given, "read")  # and an iterable of its lines
        if is_file or not hasattr(given, "__iter__"):
            advice = "; give its path, or what read() returns" if is_file else ""
            raise ImageError(
                "images: expected an image, a folder or an iterable of images. "
                f"Received: an object of type {type(given).__name__}{advice}"
            )
    for index, picture in enumerate(given):
        yield str(picture) if isinstance(picture, str | Path) else f"image {index}", picture


def list_photographs(entries: Iterable[str | Path]) -> list[Path]:
    """The images that are named, and those of the folders that are, sorted by name.

    Raises:
        ImageError: A folder holds no images, or cannot be read.
    """
    files: list[Path] = []
    for entry in map(Path, entries):
        files += list_images(entry) if os.path.isdir(entry) else [entry]
    return files
