"""Videos: reads frames, follows faces from frame to frame, writes annotated copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from far_keras.errors import VideoError
from far_keras.extras import require
from far_keras.faces.alignment import AlignedFace, align
from far_keras.faces.detector import DetectedFace, FaceDetector
from far_keras.files import atomic_path
from far_keras.geometry import box_iou
from far_keras.quiet import quiet
from far_keras.recognition.results import FaceResult, ImageResult, decide, unseen_groups

__all__ = [
    "CODECS",
    "FaceTracker",
    "FoundFace",
    "VideoFrame",
    "VideoReader",
    "VideoWriter",
    "check_video_name",
    "open_writer",
    "predict_frames",
]

FoundFace = tuple[DetectedFace, AlignedFace]

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
"""Codecs by suffix: MPEG-4 Part 2, Motion JPEG (large files), VP8 (for browsers)."""

_ATTEMPTS = 25  # unreadable frames that are skipped before the rest is given up
_ESTIMATE = 2  # frames by which the number in a file's header may be wrong
_BATCH = 8  # frames that are predicted together, and held in memory
_SEARCH_SECONDS = 0.5  # between two searches of the whole frame


class VideoReader:
    """Reads a video frame by frame; iterate over it once.

    All frames have the size of the first: where a video changes it, OpenCV stretches the others.
    Frames that cannot be decoded are skipped and counted.

    Args:
        path: A video that OpenCV can read.

    Attributes:
        rate: Frames per second; 25 where the file does not say.
        count: Number of frames by the file's header; 0 where it does not say.
        size: Width and height of the first frame, in pixels.
        frames: Number of frames that have been read.
        missing: Number of frames that the file should have in addition; known at the end.

    Raises:
        VideoError: No such file, or no frame in it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        require("video", "reading videos")
        import cv2

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

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> np.ndarray | None:
        with quiet():
            for _ in range(_ATTEMPTS):
                good, frame = self._capture.read()
                if good and frame is not None and frame.size:
                    return np.ascontiguousarray(frame[:, :, ::-1])  # OpenCV has blue first
                if self.frames >= self.count:
                    return None
        return None


class VideoWriter:
    """Writes frames, uint8 RGB and all of one size; `open_writer` creates it."""

    def __init__(self, path: Path, name: Path, rate: float) -> None:
        self._path, self._name, self._rate = path, name, rate
        self._writer: Any = None
        self._size = (0, 0)

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 RGB (H, W, 3). Odd sides lose their last pixel.

        Raises:
            VideoError: The video cannot be written.
        """
        require("video", "writing videos")
        import cv2

        height, width = (side // 2 * 2 for side in frame.shape[:2])  # the codecs require even sides
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*CODECS[self._name.suffix.lower()])
            with quiet():
                self._writer = cv2.VideoWriter(str(self._path), code, self._rate, (width, height))
            self._size = (width, height)
            if not self._writer.isOpened():
                raise VideoError(
                    f"{self._name}: cannot write a video of {width} x {height} pixels. Check the "
                    f"folder, or choose another suffix: {', '.join(CODECS)}"
                )
        if (width, height) != self._size:
            raise VideoError(
                f"{self._name}: expected frames of {self._size}. Received: ({width}, {height})"
            )
        self._writer.write(np.ascontiguousarray(frame[:height, :width, ::-1]))

    def close(self) -> None:
        """Completes the file."""
        if self._writer is not None:
            with quiet():
                self._writer.release()


def check_video_name(path: str | Path) -> None:
    """Raises VideoError if no video of this name can be written."""
    if Path(path).suffix.lower() not in CODECS:
        raise VideoError(f"{path}: expected a file name that ends in one of {', '.join(CODECS)}")


@contextmanager
def open_writer(path: str | Path, rate: float) -> Iterator[VideoWriter]:
    """Yields a writer; the video appears when the block ends without an error.

    Args:
        path: The suffix chooses the codec, see `CODECS`. Missing folders are created.
        rate: Frames per second.

    Raises:
        VideoError: Another suffix, or nothing was written.
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


@dataclass
class _Track:
    number: int
    face: FaceResult  # smoothed
    seen: float  # seconds


class FaceTracker:
    """Numbers the persons of a video and smooths their predictions.

    A face continues the track whose box has the highest IoU with its own (greedily, from
    `min_overlap` on), else it starts a new track. Boxes, probabilities (also of a child's face)
    and masks are exponentially smoothed: t seconds after a change, a share of 1 - exp(-t / tau) of
    it is visible. Decisions and visibility follow from the smoothed values; landmarks and
    confidence are the frame's own.

    Args:
        box_tau: Seconds, for boxes.
        prediction_tau: Seconds, for probabilities and masks.
        min_overlap: IoU of boxes, 0 to 1.
        patience: Seconds for which a track without a face is kept.

    Attributes:
        count: Number of tracks so far.
    """

    def __init__(
        self,
        box_tau: float = 0.08,
        prediction_tau: float = 0.5,
        min_overlap: float = 0.3,
        patience: float = 0.75,
    ) -> None:
        self._taus = (box_tau, prediction_tau)
        self._min_overlap = min_overlap
        self._patience = patience
        self._tracks: list[_Track] = []
        self.count = 0

    def update(self, faces: Sequence[FaceResult], seconds: float) -> list[FaceResult]:
        """The faces of the next frame, smoothed and with their tracks' numbers, in their order.

        Args:
            faces: As `Recognizer.predict_faces` returned them.
            seconds: The frame's time, not before that of the previous frame.
        """
        self._tracks = [t for t in self._tracks if seconds - t.seen <= self._patience]
        matched = self._match(faces)
        smoothed = []
        for index, face in enumerate(faces):
            track = matched.get(index)
            if track is None:
                self.count += 1
                track = _Track(self.count, replace(face, track=self.count), seconds)
                self._tracks.append(track)
            else:
                track.face = self._smooth(track, face, seconds - track.seen)
                track.seen = seconds
            smoothed.append(track.face)
        return smoothed

    def _match(self, faces: Sequence[FaceResult]) -> dict[int, _Track]:
        boxes = np.array([track.face.box for track in self._tracks])
        pairs = [
            (iou, index, position)
            for index, face in enumerate(faces)
            for position, iou in enumerate(box_iou(face.box, boxes))
        ]
        matched: dict[int, _Track] = {}
        taken: set[int] = set()
        for iou, index, position in sorted(pairs, reverse=True):
            if iou >= self._min_overlap and index not in matched and position not in taken:
                matched[index] = self._tracks[position]
                taken.add(position)
        return matched

    def _smooth(self, track: _Track, face: FaceResult, elapsed: float) -> FaceResult:
        old = track.face
        box_share, share = (1 - np.exp(-elapsed / tau) if tau > 0 else 1.0 for tau in self._taus)
        probabilities = {
            name: float(value + (1 - share) * (old.probabilities[name] - value))
            for name, value in face.probabilities.items()
        }
        masks, unseen = face.masks, face.not_visible
        if masks is not None and old.masks is not None:
            masks = (masks + (1 - share) * (old.masks - masks)).astype(np.float32)
            unseen = unseen_groups(masks, face.groups)
        childlike = face.childlike
        if childlike is None:  # the mouth is hidden now: the previous estimate stays
            childlike = old.childlike
        elif old.childlike is not None:
            childlike = float(childlike + (1 - share) * (old.childlike - childlike))
        decisions = decide(
            probabilities, face.thresholds, face.group_of, unseen, face.groups, childlike
        )
        return replace(
            face,
            box=face.box + (1 - box_share) * (old.box - face.box),
            probabilities=probabilities,
            decisions=decisions,
            childlike=childlike,
            masks=masks,
            not_visible=unseen,
            track=track.number,
        )


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame and its result.

    Args:
        image: uint8 RGB (H, W, 3).
        result: Its faces with their tracks; ``file`` is the video's path.
    """

    image: np.ndarray
    result: ImageResult


def predict_frames(
    video: VideoReader,
    detector: FaceDetector,
    predict: Callable[[Sequence[FoundFace]], list[FaceResult]],
    tracker: FaceTracker,
) -> Iterator[VideoFrame]:
    """Predicts a video, a few frames in memory at a time.

    The whole frame is searched for faces twice per second, and whenever one is lost; in between
    each face is searched for where it was in the previous frame.

    Args:
        video: What is read.
        detector: Finds the faces.
        predict: `Recognizer.predict_faces`.
        tracker: Follows and smooths the faces.
    """
    find = _follower(detector, max(1, round(_SEARCH_SECONDS * video.rate)))
    frames = iter(video)
    index = 0
    while batch := list(islice(frames, _BATCH)):
        found = [find(image) for image in batch]
        predicted = iter(predict([face for faces in found for face in faces]))
        for image, faces in zip(batch, found, strict=True):
            seconds = index / video.rate
            smoothed = tracker.update(list(islice(predicted, len(faces))), seconds)
            status = "ok" if smoothed else "no face"
            result = ImageResult(
                str(video.path), status, smoothed, video.size, frame=index, seconds=seconds
            )
            yield VideoFrame(image, result)
            index += 1


def _follower(detector: FaceDetector, interval: int) -> Callable[[np.ndarray], list[FoundFace]]:
    """A function that finds and aligns the faces of a frame, given those of the previous one."""
    previous: list[DetectedFace] = []
    age = interval

    def find(image: np.ndarray) -> list[FoundFace]:
        nonlocal previous, age
        age += 1
        faces = detector.follow(image, previous) if age < interval else []
        if age >= interval or len(faces) < len(previous):
            faces, age = detector.find(image), 0
        previous = faces
        return [(face, align(image, face.landmarks, face.eyes)) for face in faces]

    return find
