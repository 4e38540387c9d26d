"""MediaPipe: its import, its tasks, and 478 landmarks of the large faces in an image.

Nothing else imports MediaPipe. Its Tasks library sends usage metrics to Google where there is a
network, as its package description says; images and landmarks stay on this machine.
"""

from __future__ import annotations

import atexit
import re
import sys
import types
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.errors import ImageError, SystemLibraryError
from far_keras.quiet import quiet

__all__ = ["FaceLandmarker", "check_rgb", "create_task", "to_mediapipe_image"]

SYSTEM_LIBRARIES = (
    "mediapipe needs the system libraries libEGL.so.1, libGLESv2.so.2 and libGL.so.1, and its "
    "OpenCV needs libgthread-2.0.so.0; on Debian/Ubuntu: "
    "apt-get install libegl1 libgles2 libgl1 libglib2.0-0"
)


class FaceLandmarker:
    """Finds faces and their landmarks.

    Its detector expects faces within about 2 m and misses small faces in photographs of groups:
    `far_keras.faces.detector.FaceDetector` finds those. Aligned crops of 178 x 218 pixels work as
    they are (6 ms each on one core).

    Building it takes about 0.1 s; keep one. Threads may share it (they wait for each other).
    Each process needs its own: it cannot be pickled, and must not be used after a fork.

    Args:
        model: Path of ``face_landmarker.task``; found or fetched by `find_asset` if None.
        max_faces: Maximum number of faces.
        min_confidence: Of the detection, 0 to 1.
        min_presence: Confidence, 0 to 1, that the placed landmarks lie on a face;
            `min_confidence` if None.

    Raises:
        AssetError: The model file is not available.
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

    def __exit__(self, *_: object) -> None:
        self.close()


def create_task(name: str, model: Path | bytes, **options: Any) -> Any:
    """Creates a MediaPipe vision task, such as ``"FaceLandmarker"``.

    Args:
        name: The task's class in ``mediapipe.tasks.python.vision``.
        model: Path or content of the model file.
        options: Fields of the task's options class, such as ``num_faces=1``.

    Raises:
        SystemLibraryError: A system library is missing; the message says which and how to get it.
    """
    _avoid_tensorflow()
    try:
        from mediapipe.tasks.python import vision
        from mediapipe.tasks.python.core.base_options import BaseOptions

        if isinstance(model, bytes):
            base = BaseOptions(model_asset_buffer=model)
        else:
            base = BaseOptions(model_asset_path=str(model))
        with quiet():  # the first task loads libmediapipe
            task = getattr(vision, name).create_from_options(
                getattr(vision, f"{name}Options")(base_options=base, **options)
            )
            task.detect(to_mediapipe_image(np.zeros((16, 16, 3), np.uint8)))  # writes more lines
            atexit.register(_disarm, weakref.ref(task))
    except (ImportError, OSError) as error:
        # Python: "libGL.so.1: cannot open shared object file: No such file or directory"
        missing = re.match(r"(\S+?): cannot open shared object file", str(error))
        if missing is None:
            raise
        raise SystemLibraryError(f"{SYSTEM_LIBRARIES}. Missing here: {missing[1]}") from error
    return task


def _disarm(reference: weakref.ref[Any]) -> None:
    """Keeps MediaPipe's destructor from printing a traceback at interpreter shutdown."""
    if (task := reference()) is not None:
        task.close = lambda: None


def _avoid_tensorflow() -> None:
    """Keeps MediaPipe from importing all of TensorFlow for one no-op documentation decorator.

    That import costs 2 s and 500 MB in every process; annotation starts one per core. It has no
    effect if a later MediaPipe has no such module.
    """
    name = "mediapipe.tasks.python.core.optional_dependencies"
    if name not in sys.modules:
        stub: Any = types.ModuleType(name)
        stub.doc_controls = types.SimpleNamespace(
            do_not_generate_docs=lambda documented: documented
        )
        sys.modules[name] = stub


def to_mediapipe_image(image: np.ndarray) -> Any:
    """Wraps uint8 RGB (H, W, 3) for MediaPipe; ImageError for any other array."""
    check_rgb(image)
    from mediapipe.tasks.python.vision.core import image as mediapipe_image

    return mediapipe_image.Image(
        image_format=mediapipe_image.ImageFormat.SRGB, data=np.ascontiguousarray(image)
    )


def check_rgb(image: np.ndarray) -> None:
    """Raises ImageError for anything but uint8 RGB (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            "image: expected uint8 RGB of shape (H, W, 3), as read_image gives it. "
            f"Received: shape {image.shape}, dtype {image.dtype}"
        )
