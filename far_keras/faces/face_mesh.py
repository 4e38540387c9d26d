"""Facial landmarks: MediaPipe's landmark model, run by LiteRT without MediaPipe's library.

The model (Y. Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile
GPUs", arXiv 1907.06724, with irises) is in MediaPipe's ``face_landmarker.task``. A crop is made as
MediaPipe makes it, so that points agree with MediaPipe's own (`benchmarks/detection.py`).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from far_keras.calibration import sigmoid
from far_keras.errors import AssetError
from far_keras.quiet import quiet

__all__ = ["NUM_LANDMARKS", "FaceMesh", "load_interpreter"]

NUM_LANDMARKS = 478
"""Points of the face mesh: 468 on the skin, then 5 of each iris."""

_SIDE = 256  # of the model's input, pixels


def load_interpreter(content: bytes) -> Any:
    """A LiteRT interpreter on one thread, ready to run."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet():  # LiteRT prints the delegate that it creates
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


class FaceMesh:
    """Predicts 478 landmarks in a square region of an image. Not thread-safe.

    Args:
        path: ``face_landmarker.task``, see `far_keras.assets.FACE_LANDMARKER`.

    Raises:
        AssetError: The file has no landmark model.
    """

    def __init__(self, path: Path) -> None:
        member = "face_landmarks_detector.tflite"
        try:
            with zipfile.ZipFile(path) as bundle:
                content = bundle.read(member)
        except (KeyError, zipfile.BadZipFile) as error:
            raise AssetError(f"{path}: expected a zip archive with {member}: {error}") from error
        self._interpreter = load_interpreter(content)
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = {d["name"]: d["index"] for d in self._interpreter.get_output_details()}
        self._points, self._presence = outputs["Identity"], outputs["Identity_1"]

    def predict(
        self, image: np.ndarray, center: np.ndarray, side: float, angle: float
    ) -> tuple[np.ndarray, float]:
        """Landmarks in a rotated square.

        Args:
            image: uint8 RGB (H, W, 3). Parts of the square outside it are black.
            center: (2,) x and y of the square's center, pixels.
            side: Of the square, pixels.
            angle: Of the face's horizontal axis, radians; positive is clockwise.

        Returns:
            float32 (478, 3): x and y in pixels (whole numbers are pixel centers), and depth z in
            pixels, negative towards the camera; and the probability, 0 to 1, that these are the
            landmarks of a face. It is low for profiles, too.
        """
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = rotation * (side / _SIDE)
        origin = center - matrix @ np.full(2, _SIDE / 2)
        crop = _crop(image, matrix, origin)
        self._interpreter.set_tensor(self._input, np.float32(crop[None]) / 255)
        self._interpreter.invoke()
        points = self._interpreter.get_tensor(self._points).reshape(NUM_LANDMARKS, 3)
        presence = float(sigmoid(self._interpreter.get_tensor(self._presence)).item())
        depth = points[:, 2:] * (side / _SIDE)
        placed = np.concatenate([points[:, :2] @ matrix.T + origin, depth], axis=1)
        return placed.astype(np.float32), presence


def _crop(image: np.ndarray, matrix: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Bilinear samples: pixel u of the crop is ``matrix @ u + origin`` in the image."""
    corners = np.array([[0, 0], [_SIDE, 0], [0, _SIDE], [_SIDE, _SIDE]]) @ matrix.T + origin
    low = np.floor(corners.min(0)).astype(int) - 1
    high = np.ceil(corners.max(0)).astype(int) + 2
    inside_low, inside_high = np.maximum(low, 0), np.minimum(high, image.shape[1::-1])
    if (inside_low >= inside_high).any():
        return np.zeros((_SIDE, _SIDE, 3), np.uint8)
    part = Image.fromarray(
        np.ascontiguousarray(image[inside_low[1] : inside_high[1], inside_low[0] : inside_high[0]])
    )
    # Pillow counts from pixel corners; outside of the part it fills with black.
    shift = origin - inside_low + 0.5 - matrix @ np.full(2, 0.5)
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    sampled = part.transform(
        (_SIDE, _SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(sampled)
