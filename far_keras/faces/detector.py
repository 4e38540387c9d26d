"""Every face in a photograph, also the small ones of a group, each with its landmarks."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.errors import AssetError
from far_keras.faces.alignment import eye_centers
from far_keras.faces.blaze_face import SIGHT, BlazeFace
from far_keras.faces.landmarks import FaceLandmarker
from far_keras.faces.mediapipe_tasks import check_rgb

__all__ = ["DetectedFace", "FaceDetector"]

# Of the side of what the detector looks at. It finds few faces of a seventh of it, most of a fifth.
_SMALLEST_IN_SIGHT = 1 / 5
# Someone whose face is this much smaller than the largest stands that many times as far away:
# a passer-by. It keeps portraits fast, since no fine tiles are searched then.
_PASSER_BY = 1 / 6
_SMALLEST_IN_PHOTOGRAPH = 1 / 80  # of the longer side: bounds the number of tiles

# Landmarks that the detector has key points for, beside the eyes.
_NOSE_TIP = 1
_LIPS = [13, 14]
# Of the face's longer side. In photographs of groups, true faces stayed below 0.085, and what
# textures, badges and machines were taken for above 0.125.
_DISAGREEMENT = 0.11
# From so many pixels of width on a face is seen clearly: true ones had above 0.8, a door lock 0.6.
_CLEAR, _CLEAR_CONFIDENCE = 40, 0.7


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face in a photograph.

    Args:
        box: float32 (4,): left, top, right, bottom of the landmarks (brow to chin, no hair) in
            pixels of the photograph.
        confidence: Of the detection, 0 to 1.
        landmarks: float32 (478, 3), see `FaceLandmarker.detect`.
    """

    box: np.ndarray
    confidence: float
    landmarks: np.ndarray


class FaceDetector:
    """Finds faces of all sizes.

    MediaPipe's detector is made for near faces. Here it looks at the photograph at several scales,
    each about twice as fine as the one before, until the smallest faces sought fill a fifth of
    what it sees at once; every candidate is then looked at again in a crop around it, which also
    gives its landmarks.

    The smallest faces sought measure `min_size` pixels, an eightieth of the photograph's longer
    side, or a sixth of the largest face found on the coarser levels, whichever is largest. So
    portraits are fast and groups of people take longer: `benchmarks/recognition.py`.

    May be used from several threads, which take turns; a process makes its own.

    Args:
        model: Path of ``face_landmarker.task``; found or fetched by `find_asset` if None.
        min_confidence: Of the detection, 0 to 1; of faces from 40 pixels of width on 0.7 at least.
        min_presence: Confidence, 0 to 1, that the landmarks lie on a face. In photographs of
            groups true faces of 30 pixels and more had above 0.98.
        min_size: Width in pixels below which faces are not sought.

    Raises:
        AssetError: The model file is not to be had.
        SystemLibraryError: A system library that MediaPipe needs is missing.

    Example:
        >>> with FaceDetector() as detector:  # doctest: +SKIP
        ...     faces = detector.find(read_image("party.jpg"))
    """

    def __init__(
        self,
        model: str | Path | None = None,
        min_confidence: float = 0.5,
        min_presence: float = 0.95,
        min_size: float = 24,
    ) -> None:
        if min_size <= 0:
            raise ValueError(f"min_size: expected more than 0 pixels. Received: {min_size}")
        path = find_asset(FACE_LANDMARKER, model)
        self._min_size = min_size
        # The detection is repeated within the crop, so what counts there is the presence.
        self._landmarker = FaceLandmarker(path, min_confidence=0.3, min_presence=min_presence)
        try:
            with zipfile.ZipFile(path) as bundle:
                content = bundle.read("face_detector.tflite")
        except (KeyError, zipfile.BadZipFile) as error:
            raise AssetError(f"{path}: expected face_detector.tflite in it: {error}") from error
        self._blaze_face = BlazeFace(content, min_confidence)
        self._closed = False

    def find(self, image: np.ndarray) -> list[DetectedFace]:
        """The faces in a photograph, the largest first; empty if there is none.

        Args:
            image: uint8 RGB (H, W, 3).

        Raises:
            ImageError: `image` is of another shape or dtype.
        """
        check_rgb(image)
        if self._closed:
            raise ValueError("this FaceDetector is closed; make a new one")
        boxes = _merge(self._candidates(image))
        clear = boxes[:, 2] - boxes[:, 0] >= _CLEAR
        boxes = boxes[~clear | (boxes[:, 4] >= _CLEAR_CONFIDENCE)]
        faces = _distinct([face for box in boxes if (face := self._confirm(image, box))])
        return sorted(faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))

    def follow(self, image: np.ndarray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """The same faces in the next frame of a video, sought only where they were.

        Some 8 ms a face. Faces that are gone, or have moved by half their size, are left out, and
        new ones are not found; the confidence stays that of the last search.

        Args:
            image: uint8 RGB (H, W, 3), of the size of the frame before.
            faces: Those of the frame before.
        """
        found = [self._confirm(image, _box_row(face)) for face in faces]
        return _distinct([face for face in found if face is not None])

    @property
    def closed(self) -> bool:
        """Whether it was closed and can no longer be used."""
        return self._closed

    def close(self) -> None:
        """Frees the native models; also at the end of a ``with`` block. May be called twice."""
        self._landmarker.close()
        self._closed = True

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _candidates(self, image: np.ndarray) -> np.ndarray:
        """Boxes of all levels, float (n, 5): left, top, right, bottom, confidence."""
        picture = Image.fromarray(image)  # copies: once for all levels
        longest = max(picture.size)
        smallest = max(self._min_size, longest * _SMALLEST_IN_PHOTOGRAPH)
        found = np.zeros((0, 5))
        sight = float(longest)
        while True:
            found = np.concatenate([found, self._search_level(picture, sight)])
            if len(found):
                largest = (found[:, 2] - found[:, 0]).max()
                smallest = max(smallest, largest * _PASSER_BY)
            finest = smallest / _SMALLEST_IN_SIGHT
            if sight <= finest:
                return found
            # Levels end exactly at the finest, each twice as fine as the one before.
            sight = finest * 2 ** max(0, round(np.log2(sight / finest)) - 1)

    def _search_level(self, picture: Image.Image, sight: float) -> np.ndarray:
        """Candidates of the level where the detector's sight is `sight` pixels, float (n, 5)."""
        scale = SIGHT / sight
        width, height = (max(1, round(side * scale)) for side in picture.size)
        rows = self._blaze_face.detect(_resized(picture, width, height))
        factor = np.array([picture.width / width, picture.height / height] * 2)
        return np.concatenate([rows[:, :4] * factor, rows[:, -1:]], axis=1)

    def _confirm(self, image: np.ndarray, box: np.ndarray) -> DetectedFace | None:
        """A second look, at a crop of twice the box; None if what is there is not this face.

        Presence alone does not tell: MediaPipe is sure of landmarks in gravel or on a badge. So
        the detector must see the face again, with eyes, nose and mouth where the landmarks are.
        """
        center, size = (box[:2] + box[2:4]) / 2, box[2:4] - box[:2]
        low = np.maximum(np.floor(center - size), 0).astype(int)
        high = np.ceil(center + size).astype(int)
        crop = image[low[1] : high[1], low[0] : high[0]]
        if not crop.size or not len(seen := self._key_points(crop)):
            return None  # without asking for landmarks, which takes longer
        for landmarks in self._landmarker.detect(crop):
            outline = np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])
            at_center = np.abs((outline[:2] + outline[2:]) / 2 + low - center) < size / 2
            if at_center.all() and _agree(seen, landmarks):
                landmarks[:, :2] += low
                shifted = outline + np.tile(low, 2)
                return DetectedFace(shifted.astype(np.float32), float(box[4]), landmarks)
        return None

    def _key_points(self, crop: np.ndarray) -> np.ndarray:
        """Eyes, nose and mouth of what the detector sees in a crop: (n, 4, 2), x and y in it."""
        side = max(crop.shape[:2])
        width, height = (max(1, round(length * SIGHT / side)) for length in crop.shape[1::-1])
        scale = np.array([width / crop.shape[1], height / crop.shape[0]])
        rows = self._blaze_face.detect(_resized(Image.fromarray(crop), width, height))
        return rows[:, 4:12].reshape(-1, 4, 2) / scale


def _agree(seen: np.ndarray, landmarks: np.ndarray) -> bool:
    """Whether one of the detector's faces has its key points where the landmarks have them."""
    expected = np.stack(
        [*eye_centers(landmarks), landmarks[_NOSE_TIP, :2], landmarks[_LIPS, :2].mean(0)]
    )
    allowed = _DISAGREEMENT * np.ptp(landmarks[:, :2], axis=0).max()
    return bool((np.abs(seen - expected).max(axis=(1, 2)) < allowed).any())


def _resized(picture: Image.Image, width: int, height: int) -> np.ndarray:
    if picture.size != (width, height):
        # Scaling up takes no averages.
        method = Image.Resampling.BOX if width < picture.width else Image.Resampling.BILINEAR
        picture = picture.resize((width, height), method, reducing_gap=1.0)
    return np.asarray(picture)


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    return [faces[i] for i in sorted(_merge_indices(np.array([_box_row(f) for f in faces])))]


def _box_row(face: DetectedFace) -> np.ndarray:
    return np.append(face.box, face.confidence)


def _merge(rows: np.ndarray) -> np.ndarray:
    return rows[_merge_indices(rows)]


def _merge_indices(rows: np.ndarray) -> list[int]:
    """Non-maximum suppression; `rows` (n, 5) as in `_candidates`.

    A box falls to a more confident one if they share 40% of their union, or if 70% of the smaller
    lies in the larger (a face cut by a tile's border).
    """
    kept: list[int] = []
    for index in np.argsort(-rows[:, 4]) if len(rows) else ():
        box = rows[index]
        for other in rows[kept]:
            shared = np.minimum(box[2:4], other[2:4]) - np.maximum(box[:2], other[:2])
            intersection = np.prod(np.maximum(shared, 0))
            areas = [np.prod(b[2:4] - b[:2]) for b in (box, other)]
            if intersection > min(0.4 * (sum(areas) - intersection), 0.7 * min(areas)):
                break
        else:
            kept.append(int(index))
    return kept
