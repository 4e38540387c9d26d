"""Writes a video; the file is whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from far_keras.errors import VideoError
from far_keras.files import atomic_path
from far_keras.quiet import quiet

__all__ = ["CODECS", "VideoWriter", "check_video_name", "open_writer"]

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
"""By a file name's ending, the codec: MPEG-4 Part 2, Motion JPEG (large), VP8 (for browsers)."""


class VideoWriter:
    """What `open_writer` lends. Frames are uint8 RGB, all of one size."""

    def __init__(self, path: Path, name: Path, rate: float) -> None:
        self._path, self._name, self._rate = path, name, rate
        self._writer: Any = None
        self._size = (0, 0)

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 RGB (H, W, 3). Odd sides lose their last pixel.

        Raises:
            VideoError: The video cannot be written.
        """
        import cv2

        height, width = (side // 2 * 2 for side in frame.shape[:2])  # what the codecs want
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*CODECS[self._name.suffix.lower()])
            with quiet():
                self._writer = cv2.VideoWriter(str(self._path), code, self._rate, (width, height))
            self._size = (width, height)
            if not self._writer.isOpened():
                raise VideoError(
                    f"{self._name}: cannot write a video of {width} x {height} pixels. Check the "
                    f"folder, or take another ending: {', '.join(CODECS)}"
                )
        if (width, height) != self._size:
            raise VideoError(f"{self._name}: expected frames of {self._size}: ({width}, {height})")
        self._writer.write(np.ascontiguousarray(frame[:height, :width, ::-1]))

    def close(self) -> None:
        """Ends the file."""
        if self._writer is not None:
            with quiet():
                self._writer.release()


def check_video_name(path: str | Path) -> None:
    """Raises VideoError if no video of this name can be written."""
    if Path(path).suffix.lower() not in CODECS:
        raise VideoError(f"{path}: expected a file name that ends in one of {', '.join(CODECS)}")


@contextmanager
def open_writer(path: str | Path, rate: float) -> Iterator[VideoWriter]:
    """Lends a writer; the video is there when the block ends well, and not at all otherwise.

    Args:
        path: The ending chooses the codec, see `CODECS`. Missing folders are made.
        rate: Frames per second.

    Raises:
        VideoError: Another ending, or nothing was written.
    """
    check_video_name(path)
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, Path(path), rate)
        try:
            yield writer
        finally:
            writer.close()
        if not temporary.exists() or not temporary.stat().st_size:
            raise VideoError(f"{path}: nothing could be written. Check the free space")
