"""Finds faces of any size in an image, each with its landmarks. Needs LiteRT only.

`FaceDetector` runs YuNet (W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector",
Machine Intelligence Research, 2023) on a small copy of the image, and on larger copies where small
faces are still to be found; `FaceMesh` then predicts the landmarks of each face.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.calibration import sigmoid
from far_keras.faces.alignment import eye_centers
from far_keras.faces.face_mesh import FaceMesh, load_interpreter
from far_keras.faces.landmarks import check_rgb
from far_keras.geometry import ALIGNED_EYES, suppress_overlaps

__all__ = ["DetectedFace", "FaceDetector"]

_YUNET = Path(__file__).with_name("yunet.tflite")
_STRIDE = 32  # sides of the input are multiples of YuNet's largest stride
_SAME_FACE = 0.3  # IoU above which two detections are of one face

# Longer side of the smallest copy, and of the others at most. YuNet finds faces from about 20
# pixels of width to the size of a copy of 256 pixels; larger ones need a small copy.
_COARSE, _FINE = 256, 1920
_RELIABLE_WIDTH = 20
_MARGIN = 0.1  # of the longer side, around the image: for faces that fill it or are cut by it
_GREY = 127

# Someone whose face is this much smaller than the largest is a passer-by. It keeps portraits fast,
# since no larger copy is searched for such faces.
_PASSER_BY = 1 / 6
_SMALLEST_SHARE = 1 / 80  # of the longer side: bounds the size of the copies

# From YuNet's box to the square that MediaPipe crops: medians over 757 photographs of CelebA and
# FairFace, in units of the box's longer side.
_ROI_SHIFT, _ROI_SCALE = 0.0575, 1.3152

# Below this presence the landmarks are wrong: mostly profiles, where YuNet's points are better.
_MIN_PRESENCE = 0.5
# Of 60 photographs, upright faces had at least 0.89 and 1.0, faces turned by 90 or 180 degrees at
# most 0.90 and 1.0, mostly 0.8 and 0.1.
_SURE = 0.88
# Means of YuNet's points in CelebA's aligned frame: eyes, nose, corners of the mouth.
_ALIGNED_POINTS = np.array(
    [[70.0, 112.5], [108.1, 112.5], [88.2, 134.8], [73.1, 151.3], [105.4, 152.2]]
)


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face in an image.

    Args:
        box: float32 (4,): left, top, right, bottom in pixels of the image; brow to chin, without
            hair.
        confidence: Of the detection, 0 to 1.
        landmarks: float32 (478, 3), see `FaceMesh.predict`.
        presence: Probability that the landmarks are right, 0 to 1.
        key_points: float32 (5, 2): eye at the face's image left, the other eye, nose tip, corners
            of the mouth.
    """

    box: np.ndarray
    confidence: float
    landmarks: np.ndarray
    presence: float
    key_points: np.ndarray

    @property
    def profile(self) -> bool:
        """Whether the landmarks are unreliable, which is mostly so for faces seen from the side."""
        return self.presence < _MIN_PRESENCE

    @property
    def eyes(self) -> np.ndarray:
        """(2, 2) eye centers to align by: of the landmarks, or fitted to the key points."""
        if not self.profile:
            return eye_centers(self.landmarks)
        # In a profile the eyes are close together; the fit takes scale and angle from all points.
        source, target = (points - points.mean(0) for points in (_ALIGNED_POINTS, self.key_points))
        a, b = source @ [1, 1j], target @ [1, 1j]
        turn = np.vdot(a, b) / np.vdot(a, a)  # least-squares similarity
        eyes = (np.array(ALIGNED_EYES) - _ALIGNED_POINTS.mean(0)) @ [1, 1j] * turn
        return np.stack([eyes.real, eyes.imag], axis=1) + self.key_points.mean(0)


class FaceDetector:
    """Finds faces.

    The smallest faces that are searched for measure `min_size` pixels, an eightieth of the image's
    longer side, or a sixth of the largest face found, whichever is largest. So portraits are fast
    and images of groups take longer: `benchmarks/detection.py`.

    May be shared by threads, which take turns, and used after a fork.

    Args:
        model: Path of ``face_landmarker.task``; found or downloaded by `find_asset` if None.
        min_confidence: Detections below it are dropped, 0 to 1. Lower values find a few more faces
            that are blurred or cut off, and more false ones.
        min_size: Width in pixels below which faces are not searched for; small values take longer.
        rotate: ``"auto"`` searches the image turned by 90, 180 and 270 degrees if no face is found
            that is clearly upright, ``"always"`` in any case (four times as long), ``"never"``
            not at all.

    Raises:
        AssetError: The model file is not available.

    Example:
        >>> with FaceDetector() as detector:  # doctest: +SKIP
        ...     faces = detector.find(read_image("party.jpg"))
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        min_confidence: float = 0.6,
        min_size: float = 24,
        rotate: str = "auto",
    ) -> None:
        if not 0 < min_confidence < 1:
            raise ValueError(
                f"min_confidence: expected between 0 and 1. Received: {min_confidence}"
            )
        if min_size <= 0:
            raise ValueError(f"min_size: expected more than 0 pixels. Received: {min_size}")
        if rotate not in ("auto", "always", "never"):
            raise ValueError(f"rotate: expected 'auto', 'always' or 'never'. Received: {rotate!r}")
        self._path = find_asset(FACE_LANDMARKER, model)
        self._min_confidence, self._min_size, self._rotate = min_confidence, min_size, rotate
        self._lock = threading.Lock()
        self._closed = False
        self._load()

    def find(self, image: np.ndarray) -> list[DetectedFace]:
        """The faces in an image, the largest first; empty if there is none.

        Args:
            image: uint8 RGB (H, W, 3).

        Raises:
            ImageError: `image` has another shape or dtype.
        """
        check_rgb(image)
        with self._ready():
            faces = [self._face(image, row) for row in self._search(image)]
            always = self._rotate == "always"
            if always or (self._rotate == "auto" and not any(_is_upright(f) for f in faces)):
                for quarter in (1, 2, 3):
                    turned = np.rot90(image, quarter)
                    rows = self._search(turned) if always else self._search_copy(turned, _COARSE)
                    rows = _turn_back(rows, quarter, image.shape)
                    faces += [self._face(image, row) for row in rows]
                boxes = np.array([face.box for face in faces]).reshape(-1, 4)
                scores = np.array([face.confidence + face.presence for face in faces])
                faces = [faces[i] for i in suppress_overlaps(boxes, scores, _SAME_FACE)]
        return sorted(faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))

    def follow(self, image: np.ndarray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """The same faces in the next frame of a video, searched for only near their old position.

        Faces that left or moved by more than half their size are dropped, and new ones are not
        found.

        Args:
            image: uint8 RGB (H, W, 3), of the size of the previous frame.
            faces: Those of the previous frame.
        """
        check_rgb(image)
        rows = [np.zeros((0, 15))]
        with self._ready():
            for face in faces:
                center, size = (face.box[:2] + face.box[2:]) / 2, face.box[2:] - face.box[:2]
                low = np.maximum(np.floor(center - size), 0).astype(int)
                high = np.ceil(center + size).astype(int)
                part = image[low[1] : high[1], low[0] : high[0]]
                if not part.size:
                    continue
                found = self._search_copy(part, _COARSE / 2)
                found[:, :-1] += np.tile(low, 7)
                moved = np.abs((found[:, :2] + found[:, 2:4]) / 2 - center)
                near = np.flatnonzero((moved < size / 2).all(axis=1))
                rows.append(found[near[:1]])
            return [self._face(image, row) for row in _distinct(np.concatenate(rows))]

    @property
    def closed(self) -> bool:
        """Whether the detector was closed and cannot be used any more."""
        return self._closed

    def close(self) -> None:
        """Frees the models; also at the end of a ``with`` block. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            del self._yunet, self._mesh

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _load(self) -> None:
        self._process = os.getpid()
        self._yunet: Any = load_interpreter(_YUNET.read_bytes())
        self._shape: tuple[int, ...] = ()
        self._mesh = FaceMesh(self._path)

    def _ready(self) -> threading.Lock:
        """The lock to hold while the models run, which belong to this process."""
        if self._closed:
            raise ValueError("this FaceDetector is closed; create a new one")
        if self._process != os.getpid():  # a fork; another thread may have held the lock
            self._lock = threading.Lock()
            self._load()
        return self._lock

    def _search(self, image: np.ndarray) -> np.ndarray:
        """Detections, best first, float (n, 15): box, five points, confidence."""
        parts = []
        for left, top, right, bottom in _windows(*image.shape[:2]):
            rows = self._search_window(image[top:bottom, left:right])
            rows[:, :-1] += np.tile((left, top), 7)
            parts.append(rows)
        return parts[0] if len(parts) == 1 else _distinct(np.concatenate(parts))

    def _search_window(self, image: np.ndarray) -> np.ndarray:
        longest = max(image.shape[:2])
        smallest = max(self._min_size, longest * _SMALLEST_SHARE)
        rows = self._search_copy(image, _COARSE)
        if len(rows):
            smallest = max(smallest, (rows[:, 2] - rows[:, 0]).max() * _PASSER_BY)
        needed = min(_FINE, longest * _RELIABLE_WIDTH / smallest)
        if needed > _COARSE:
            rows = _distinct(np.concatenate([rows, self._search_copy(image, needed)]))
        return rows

    def _search_copy(self, image: np.ndarray, longest: float) -> np.ndarray:
        """Detections in a copy whose longer side has about `longest` pixels with the margin."""
        height, width = image.shape[:2]
        scale = longest / (1 + 2 * _MARGIN) / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        margin = round(_MARGIN * max(size))
        canvas_size = [-(-(side + 2 * margin) // _STRIDE) * _STRIDE for side in size]
        left, top = ((outer - inner) // 2 for outer, inner in zip(canvas_size, size, strict=True))
        # Enlarging takes no averages.
        method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
        copy = Image.fromarray(np.ascontiguousarray(image)).resize(size, method)
        canvas = np.full((canvas_size[1], canvas_size[0], 3), _GREY, np.uint8)
        canvas[top : top + size[1], left : left + size[0]] = np.asarray(copy)
        rows = self._run(canvas)
        rows[:, 0:-1:2] = (rows[:, 0:-1:2] - left) * (width / size[0])
        rows[:, 1:-1:2] = (rows[:, 1:-1:2] - top) * (height / size[1])
        return rows

    def _run(self, canvas: np.ndarray) -> np.ndarray:
        interpreter = self._yunet
        index = interpreter.get_input_details()[0]["index"]
        if canvas.shape != self._shape:
            interpreter.resize_tensor_input(index, (1, *canvas.shape))
            interpreter.allocate_tensors()
            self._shape = canvas.shape
        interpreter.tensor(index)()[0] = canvas[..., ::-1]  # BGR, 0 to 255
        interpreter.invoke()
        outputs = [interpreter.get_tensor(d["index"])[0] for d in interpreter.get_output_details()]
        return _distinct(
            np.concatenate(
                [
                    _decode(grid, canvas.shape[0] // grid.shape[0], self._min_confidence)
                    for grid in outputs
                ]
            )
        )

    def _face(self, image: np.ndarray, row: np.ndarray) -> DetectedFace:
        points = row[4:14].reshape(5, 2)
        across = points[1] - points[0]
        down = points[3:].mean(0) - points[:2].mean(0)
        across += np.array([down[1], -down[0]])  # steadier, and right for profiles
        angle = float(np.arctan2(across[1], across[0]))
        side = float((row[2:4] - row[:2]).max())
        shift = _ROI_SHIFT * side * np.array([-np.sin(angle), np.cos(angle)])
        center = (row[:2] + row[2:4]) / 2 + shift
        landmarks, presence = self._mesh.predict(image, center, _ROI_SCALE * side, angle)
        box = row[:4]
        if presence >= _MIN_PRESENCE:
            box = np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])
        return DetectedFace(
            box.astype(np.float32), float(row[14]), landmarks, presence, points.astype(np.float32)
        )


def _windows(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of the parts to search: panoramas have several.

    Each is at most twice as long as wide, and they overlap by the image's shorter side, so that
    every face is whole in one of them.
    """
    short, long = sorted((height, width))
    if long <= 3 * short:
        return [(0, 0, width, height)]
    starts = np.linspace(0, long - 2 * short, -(-(long - short) // short)).astype(int).tolist()
    spans = [(start, start + 2 * short) for start in starts]
    if width == long:
        return [(start, 0, end, height) for start, end in spans]
    return [(0, start, width, end) for start, end in spans]


def _is_upright(face: DetectedFace) -> bool:
    """Whether YuNet and the landmarks are sure; a turned face is found, but with wrong points."""
    return face.confidence >= _SURE and face.presence >= _SURE


def _decode(grid: np.ndarray, stride: int, min_confidence: float) -> np.ndarray:
    """Detections of one stride, float (n, 15).

    Args:
        grid: (h, w, 16): logits of class and object, center and log size of the box, five points,
            in strides from the cell.
        stride: Pixels per cell.
        min_confidence: Of the geometric mean of both probabilities.
    """
    confidence = np.sqrt(sigmoid(grid[..., 0]) * sigmoid(grid[..., 1]))
    y, x = np.nonzero(confidence >= min_confidence)
    values, cell = grid[y, x].astype(np.float64), np.stack([x, y], axis=1)
    center, half = cell + values[:, 2:4], np.exp(values[:, 4:6]) / 2
    points = cell[:, None] + values[:, 6:].reshape(-1, 5, 2)
    placed = np.concatenate([center - half, center + half, points.reshape(-1, 10)], axis=1)
    return np.concatenate([placed * stride, confidence[y, x, None]], axis=1)


def _distinct(rows: np.ndarray) -> np.ndarray:
    return rows[suppress_overlaps(rows[:, :4], rows[:, -1], _SAME_FACE)]


def _turn_back(rows: np.ndarray, quarter: int, shape: tuple[int, ...]) -> np.ndarray:
    """Detections in ``np.rot90(image, quarter)`` as detections in the image."""
    height, width = shape[:2]
    x, y = rows[:, 0:-1:2].copy(), rows[:, 1:-1:2].copy()
    x, y = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}[
        quarter
    ]
    turned = rows.copy()
    turned[:, 0:-1:2], turned[:, 1:-1:2] = x, y
    turned[:, :2] = np.minimum(np.stack([x[:, 0], y[:, 0]], 1), np.stack([x[:, 1], y[:, 1]], 1))
    turned[:, 2:4] = np.maximum(np.stack([x[:, 0], y[:, 0]], 1), np.stack([x[:, 1], y[:, 1]], 1))
    return turned
