"""Images on their way to a server: what each is, and which go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from far_keras.errors import FarError, ImageError
from far_keras.serving.channel import MAX_MESSAGE_BYTES

__all__ = ["Batcher", "Loaded", "Picture", "ServedImage", "is_one_picture", "load", "requests"]

ServedImage = str | Path | bytes | np.ndarray
"""A path or a file's content, JPEG or PNG, or a uint8 RGB array (H, W, 3)."""

# Half of what a message may be: names and framing are small, but answers with masks are not.
_REQUEST_BYTES = MAX_MESSAGE_BYTES // 2


@dataclass(frozen=True)
class Picture:
    """An image that was given to the client.

    Args:
        name: Its path, or ``"picture 3"``.
        source: What was given.
    """

    name: str
    source: Any

    @property
    def kind(self) -> tuple[int, ...] | str:
        """Images of one kind go into one request: encoded ones, or arrays of one shape."""
        return self.source.shape if isinstance(self.source, np.ndarray) else "encoded"


@dataclass(frozen=True)
class Loaded:
    """An image whose content is at hand, or an error instead.

    Args:
        name: What it is called.
        content: The bytes of a JPEG or PNG file, or a uint8 array (H, W, 3).
        error: Why there is no content.
    """

    name: str
    content: bytes | np.ndarray = b""
    error: FarError | None = None

    @property
    def nbytes(self) -> int:
        return self.content.nbytes if isinstance(self.content, np.ndarray) else len(self.content)


class Batcher:
    """Gathers images into batches, in order.

    Args:
        size: Images of one kind in a batch, at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: list[Picture] = []
        self._index = 0

    def add(self, source: Any) -> list[list[Picture]]:
        """Takes an image, or a uint8 array (N, H, W, 3) of several.

        Returns:
            The batches that are complete.
        """
        if isinstance(source, np.ndarray) and source.ndim == 4:
            return [batch for picture in source for batch in self.add(picture)]
        name = str(source) if isinstance(source, str | Path) else f"image {self._index}"
        self._index += 1
        picture, complete = Picture(name, source), []
        if self._waiting and self._waiting[0].kind != picture.kind:
            complete += self.flush()
        self._waiting.append(picture)
        if len(self._waiting) >= self._size:
            complete += self.flush()
        return complete

    def flush(self) -> list[list[Picture]]:
        """What is left, as a batch of its own."""
        batch, self._waiting = self._waiting, []
        return [batch] if batch else []


def is_one_picture(source: Any) -> bool:
    """Whether this stands for one image: text, bytes and arrays are iterable too."""
    if isinstance(source, np.ndarray):
        return source.ndim != 4
    return isinstance(source, str | Path | bytes | bytearray | memoryview)


def load(batch: Sequence[Picture]) -> list[Loaded]:
    """Reads the files; one that cannot be read becomes an `ImageError` in its place."""
    loaded = []
    for picture in batch:
        try:
            content = _content(picture.source)
        except ImageError as error:
            loaded.append(Loaded(picture.name, error=error))
        else:
            loaded.append(Loaded(picture.name, content))
    return loaded


def requests(pictures: Sequence[Loaded]) -> Iterator[Sequence[Loaded]]:
    """Cuts a batch where one message would be too large."""
    start = total = 0
    for index, picture in enumerate(pictures):
        if index > start and total + picture.nbytes > _REQUEST_BYTES:
            yield pictures[start:index]
            start, total = index, 0
        total += picture.nbytes
    if start < len(pictures):
        yield pictures[start:]


def _content(source: Any) -> bytes | np.ndarray:
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise ImageError(
                "image: expected a uint8 RGB array of shape (H, W, 3), an aligned face. "
                f"Received: dtype {source.dtype}, shape {source.shape}"
            )
        content: bytes | np.ndarray = source
    elif isinstance(source, str | Path):
        content = _read(Path(source))
    elif isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        if not content:
            raise ImageError("image: expected the content of a file. Received: 0 bytes")
    else:
        raise ImageError(
            "image: expected a path, bytes or a uint8 RGB array. "
            f"Received: an object of type {type(source).__name__}"
        )
    size = content.nbytes if isinstance(content, np.ndarray) else len(content)
    if size > MAX_MESSAGE_BYTES - 1024:
        raise ImageError(
            f"{source if isinstance(source, str | Path) else 'picture'}: expected at most "
            f"{MAX_MESSAGE_BYTES:,} bytes. Received: {size:,}; scale the image down"
        )
    return content


def _read(path: Path) -> bytes:
    try:
        # Not read first and weighed then: a file may be larger than the memory.
        if path.is_file() and path.stat().st_size > MAX_MESSAGE_BYTES:
            raise ImageError(
                f"{path}: expected at most {MAX_MESSAGE_BYTES:,} bytes. "
                f"Received: {path.stat().st_size:,}; scale the image down"
            )
        content = path.read_bytes()
    except IsADirectoryError:
        raise ImageError(
            f"{path}: expected an image. Received: a folder; give the images in it"
        ) from None
    except OSError as error:
        raise ImageError(
            f"{path}: cannot read the image: {error.strerror or error}. Check the path"
        ) from error
    except ValueError as error:  # a null character in the path
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{str(path)!r}: not a possible path: {error}") from error
    if not content:
        raise ImageError(f"{path}: expected an image. Received: an empty file (0 bytes)")
    return content
