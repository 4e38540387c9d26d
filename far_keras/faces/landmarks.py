"""478 facial landmarks of the large faces in an image, by MediaPipe's FaceLandmarker."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.faces.mediapipe_tasks import create_task, to_mediapipe_image
from far_keras.quiet import quiet

__all__ = ["NUM_LANDMARKS", "FaceLandmarker"]

NUM_LANDMARKS = 478
"""Points of the face mesh: 468 on the skin, then 5 of each iris."""


class FaceLandmarker:
    """Finds faces and their landmarks.

    Its detector is made for faces nearer than about 2 m, so that small faces in a photograph of a
    group are missed: `far_keras.faces.detector.FaceDetector` finds those. Aligned crops of
    178 x 218 pixels work as they are (6 ms each on one core).

    Building it takes about 0.1 s; keep one. It may be used from several threads, which take
    turns. A process makes its own: it cannot be pickled, and must not be used after a fork.

    Args:
        model: Path of ``face_landmarker.task``; found or fetched by `find_asset` if None.
        max_faces: At most this many faces are returned.
        min_confidence: Of the detection, 0 to 1.
        min_presence: Confidence, 0 to 1, that the landmarks lie on a face, which MediaPipe judges
            once it has placed them. `min_confidence` if None.

    Raises:
        AssetError: The model file is not to be had.
        SystemLibraryError: A system library that MediaPipe needs is missing.

    Example:
        >>> with FaceLandmarker() as landmarker:  # doctest: +SKIP
        ...     faces = landmarker.detect(read_image("portrait.jpg"))
    """

    def __init__(
        self,
        model: str | Path | None = None,
        max_faces: int = 1,
        min_confidence: float = 0.5,
        min_presence: float | None = None,
    ) -> None:
        if max_faces < 1:
            raise ValueError(f"max_faces: expected at least 1. Received: {max_faces}")
        if min_presence is None:
            min_presence = min_confidence
        for name, value in (("min_confidence", min_confidence), ("min_presence", min_presence)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: expected 0 to 1. Received: {value}")
        self._task: Any = create_task(
            "FaceLandmarker",
            find_asset(FACE_LANDMARKER, model),
            num_faces=max_faces,
            min_face_detection_confidence=min_confidence,
            min_face_presence_confidence=min_presence,
        )

    def detect(self, image: np.ndarray) -> list[np.ndarray]:
        """Landmarks of the faces in `image`.

        Args:
            image: uint8 RGB (H, W, 3).

        Returns:
            For each face float32 (478, 3): x and y in pixels (whole numbers are pixel centres,
            points may lie outside the image), and depth z in pixels, negative towards the
            camera, relative to the head's centre. Empty if no face was found.

        Raises:
            ImageError: `image` is of another shape or dtype.
        """
        if self._task is None:
            raise ValueError("this FaceLandmarker is closed; make a new one")
        height, width = image.shape[:2]
        found = self._task.detect(to_mediapipe_image(image)).face_landmarks
        # MediaPipe's x * width counts from the centre of the first pixel, not from its edge: the
        # sum of a point's x and its x in the mirrored image tends to width - 1.
        scale = np.array([width, height, width], np.float32)
        return [
            np.array([(point.x, point.y, point.z) for point in face], np.float32) * scale
            for face in found
        ]

    def close(self) -> None:
        """Frees the native model; also at the end of a ``with`` block. May be called twice."""
        if self._task is not None:
            with quiet():
                self._task.close()
            self._task = None

    def __enter__(self) -> FaceLandmarker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
