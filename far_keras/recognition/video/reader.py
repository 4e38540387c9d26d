"""Frames of a video file, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from far_keras.errors import VideoError
from far_keras.quiet import quiet

__all__ = ["VIDEO_SUFFIXES", "VideoReader", "is_video"]

VIDEO_SUFFIXES = (".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
"""Files that are taken for videos; what can be read in them is up to OpenCV's FFmpeg."""

_TRIES = 25  # frames that are skipped as unreadable before the rest is given up
_ESTIMATE = 2  # frames by which the number that a file gives for itself may be wrong


def is_video(path: str | Path) -> bool:
    """Whether a path is called like a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


class VideoReader:
    """Reads a video frame by frame; iterate over it once.

    All frames have the size of the first: where a video changes it, OpenCV stretches the others.
    Frames that cannot be decoded are left out and counted.

    Args:
        path: A video that OpenCV can read.

    Attributes:
        rate: Frames per second; 25 where the file does not say.
        count: How many frames the file says it has; 0 where it does not say.
        size: Width and height of the first frame, in pixels.
        frames: How many frames have been read.
        missing: How many frames the file should have had beyond those; known at the end.

    Raises:
        VideoError: No such file, or no frame in it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        import cv2  # MediaPipe brings it along

        self.path = Path(path)
        if not self.path.is_file():
            kind = "a folder" if self.path.exists() else "nothing of that name"
            raise VideoError(f"{path}: expected a video. Received: {kind}")
        with quiet():
            self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
            opened = self._capture.isOpened()
        rate = self._capture.get(cv2.CAP_PROP_FPS) if opened else 0
        self.rate = rate if 0 < rate <= 1000 else 25.0
        self.count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))) if opened else 0
        self.frames = self.missing = 0
        self._first = self._read() if opened else None
        if self._first is None:
            self.close()
            raise VideoError(
                f"{path}: expected a video. Received: a file in which no frame can be read; it may "
                "be damaged, cut off at its end, where MP4 has its index, or of a kind that "
                "OpenCV's FFmpeg does not know"
            )
        self.size = (self._first.shape[1], self._first.shape[0])

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields uint8 RGB (height, width, 3)."""
        frame, self._first = self._first, None
        while frame is not None:
            self.frames += 1
            yield frame
            frame = self._read()
        missing = self.count - self.frames
        self.missing = missing if missing > _ESTIMATE else 0

    def close(self) -> None:
        """Closes the file; also at the end of a ``with`` block."""
        self._capture.release()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> np.ndarray | None:
        with quiet():
            for _ in range(_TRIES):
                good, frame = self._capture.read()
                if good and frame is not None and frame.size:
                    return np.ascontiguousarray(frame[:, :, ::-1])  # OpenCV has blue first
                if self.frames >= self.count:
                    return None
        return None
