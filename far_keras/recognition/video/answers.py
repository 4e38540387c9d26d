"""The faces of a video, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from far_keras.faces.alignment import align
from far_keras.faces.detector import DetectedFace
from far_keras.recognition.answering import FoundFace
from far_keras.recognition.results import PictureResult
from far_keras.recognition.video.reader import VideoReader
from far_keras.recognition.video.tracker import FaceTracker

if TYPE_CHECKING:
    from far_keras.recognition.recognizer import Recognizer

__all__ = ["VideoFrame", "answer_video"]

_BATCH = 8  # frames that are answered at once, and held in memory
_SEARCH = 0.5  # seconds between two searches of the whole frame


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame and its answers.

    Args:
        image: uint8 RGB (H, W, 3).
        result: Its faces with their tracks; ``file`` is the video's path.
    """

    image: np.ndarray
    result: PictureResult


def answer_video(
    recognizer: Recognizer, video: VideoReader, tracker: FaceTracker | None = None
) -> Iterator[VideoFrame]:
    """Answers a video, a few frames in memory at a time.

    The whole frame is searched for faces twice a second, and whenever one is lost; in between each
    face is sought where it was in the frame before.

    Args:
        recognizer: What answers.
        video: What is read.
        tracker: What follows and smooths the faces; one with its defaults if None.
    """
    tracker = FaceTracker() if tracker is None else tracker
    finder = _Finder(recognizer, max(1, round(_SEARCH * video.rate)))
    frames = iter(video)
    index = 0
    while batch := list(islice(frames, _BATCH)):
        found = [finder.find(image) for image in batch]
        answers = iter(recognizer.answer([face for faces in found for face in faces]))
        for image, faces in zip(batch, found, strict=True):
            seconds = index / video.rate
            smoothed = tracker.update(list(islice(answers, len(faces))), seconds)
            status = "ok" if smoothed else "no face"
            result = PictureResult(
                str(video.path), status, smoothed, video.size, frame=index, seconds=seconds
            )
            yield VideoFrame(image, result)
            index += 1


class _Finder:
    """Detects and aligns the faces of each frame, with the frame before in mind."""

    def __init__(self, recognizer: Recognizer, interval: int) -> None:
        self._detector = recognizer.detector
        self._interval = interval
        self._faces: list[DetectedFace] = []
        self._age = interval

    def find(self, image: np.ndarray) -> list[FoundFace]:
        self._age += 1
        followed: list[DetectedFace] = []
        if self._age < self._interval:
            followed = self._detector.follow(image, self._faces)
        if self._age >= self._interval or len(followed) < len(self._faces):
            followed = self._detector.find(image)
            self._age = 0
        self._faces = followed
        return [(face, align(image, face.landmarks)) for face in followed]
