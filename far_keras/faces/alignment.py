"""Aligns a face to the frame of CelebA's aligned images: rotates, scales and shifts it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from far_keras.faces.face_mesh import NUM_LANDMARKS
from far_keras.geometry import ALIGNED_EYES, ALIGNED_SIZE

__all__ = ["AlignedFace", "align", "eye_centers", "eye_similarity"]

# The mesh's points along the lids. Gaze does not move their mean, unlike the iris's centre.
LEFT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
RIGHT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face in CelebA's frame, and its place in the photograph.

    Args:
        image: uint8 RGB (218, 178, 3).
        landmarks: float32 (478, 2 or 3) in pixels of `image`; depth is scaled likewise.
        matrix: float64 (2, 3): ``matrix @ (x, y, 1)`` of a photograph's point is the point in
            `image`. Whole numbers are pixel centres on both sides.
    """

    image: np.ndarray
    landmarks: np.ndarray
    matrix: np.ndarray


def align(image: np.ndarray, landmarks: np.ndarray, eyes: np.ndarray | None = None) -> AlignedFace:
    """Rotates, scales and shifts a photograph so that the eyes lie at `ALIGNED_EYES`.

    Beyond the photograph its border is repeated. Scaling down averages pixels, which avoids
    aliasing.

    Args:
        image: uint8 RGB (H, W, 3).
        landmarks: (478, 2 or 3) in pixels of `image`, as `FaceMesh.predict` gives them.
        eyes: (2, 2) x and y of the eye centers to align by; `eye_centers` of the landmarks if None.

    Raises:
        ValueError: `landmarks` has another shape, or both eyes are at one place.
    """
    matrix = eye_similarity(eye_centers(landmarks) if eyes is None else eyes)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    aligned = np.empty_like(landmarks, dtype=np.float32)
    aligned[:, :2] = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    aligned[:, 2:] = landmarks[:, 2:] * scale
    return AlignedFace(_warp(image, matrix), aligned, matrix)


def eye_centers(landmarks: np.ndarray) -> np.ndarray:
    """Means of the lids' points: float64 (2, 2), x and y of the image's left and right eye."""
    if landmarks.ndim != 2 or len(landmarks) != NUM_LANDMARKS or landmarks.shape[1] not in (2, 3):
        raise ValueError(
            f"landmarks: expected shape ({NUM_LANDMARKS}, 2) or ({NUM_LANDMARKS}, 3). "
            f"Received: {landmarks.shape}"
        )
    points = landmarks[:, :2].astype(np.float64)
    return np.stack([points[list(eye)].mean(0) for eye in (LEFT_EYE, RIGHT_EYE)])


def eye_similarity(eyes: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift that brings (2, 2) eyes to `ALIGNED_EYES`: float64 (2, 3)."""
    (left_x, left_y), (right_x, right_y) = np.asarray(eyes, np.float64)
    left, right = complex(left_x, left_y), complex(right_x, right_y)
    if abs(right - left) < 1e-3:
        raise ValueError("eyes: expected two eyes in different places. Received: the same")
    target_left, target_right = (complex(*eye) for eye in ALIGNED_EYES)
    turn = (target_right - target_left) / (right - left)  # complex product: rotation and scale
    shift = target_left - turn * left
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _inverse(matrix: np.ndarray) -> np.ndarray:
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def _from_edges(matrix: np.ndarray) -> np.ndarray:
    """The same map where (0, 0) is the first pixel's upper left edge, not its centre."""
    shifted = matrix.copy()
    shifted[:, 2] += 0.5 - matrix[:, :2] @ (0.5, 0.5)
    return shifted


def _warp(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    height, width = ALIGNED_SIZE
    to_photo = _from_edges(_inverse(matrix))
    per_pixel = math.hypot(to_photo[0, 0], to_photo[1, 0])  # photograph's pixels

    # The part of the photograph that is needed, in whole blocks of reduce x reduce pixels.
    reduce = max(1, math.ceil(per_pixel / 2))
    corners = to_photo @ np.array([(0, width, 0, width), (0, 0, height, height), (1, 1, 1, 1)])
    margin = 3 * per_pixel
    low = np.floor((corners.min(1) - margin) / reduce).astype(int)
    high = np.ceil((corners.max(1) + margin) / reduce).astype(int)
    blocks = -(-np.array(image.shape[1::-1]) // reduce)
    inner_low = np.clip(low, 0, blocks - 1)
    inner_high = np.clip(high, inner_low + 1, blocks)
    x0, y0 = inner_low * reduce
    x1, y1 = inner_high * reduce
    part = Image.fromarray(image[y0:y1, x0:x1])
    if reduce > 1:
        part = part.reduce(reduce)
    before, after = inner_low - low, high - inner_high
    padding = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(part), np.maximum(padding, 0), mode="edge"))
    origin = inner_low - np.maximum(before, 0)

    # Pillow's transform samples single points: sample finely, then average.
    oversample = max(1, math.ceil(per_pixel / reduce))
    to_part = to_photo / reduce
    to_part[:, 2] -= origin
    to_part[:, :2] /= oversample
    fine = padded.transform(
        (width * oversample, height * oversample),
        Image.Transform.AFFINE,
        tuple(to_part.ravel()),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(fine.reduce(oversample) if oversample > 1 else fine).copy()
