"""Every face in a photograph, also the small ones of a group, each with its landmarks."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.errors import AssetError
from far_keras.faces.alignment import eye_centers
from far_keras.faces.landmarks import FaceLandmarker
from far_keras.faces.mediapipe_tasks import create_task, to_mediapipe_image
from far_keras.quiet import quiet

__all__ = ["DetectedFace", "FaceDetector"]

# The detector sees 128 x 128 pixels. In them it finds faces down to about a seventh of the side.
_TILE = 192  # pixels to which a tile of the photograph is scaled
_SMALLEST_IN_TILE = 1 / 7
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

    MediaPipe's detector is made for near faces. Here it looks at the whole photograph, then at
    overlapping tiles, each level of half the size, until the smallest faces sought fill a seventh
    of a tile; every candidate is then looked at again in a crop around it, which also gives its
    landmarks.

    The smallest faces sought measure `min_size` pixels, an eightieth of the photograph's longer
    side, or a sixth of the largest face found on the coarser levels, whichever is largest. So a
    face that fills half the photograph's width costs 10 tiles of about 1.3 ms, one that fills a
    quarter 50, and a group of people 200 or more.

    May be used from several threads, which take turns; a process makes its own.

    Args:
        model: Path of ``face_landmarker.task``; found or fetched by `find_asset` if None.
        min_confidence: Of the detection, 0 to 1.
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
        self._detector = create_task(
            "FaceDetector", content, min_detection_confidence=min_confidence
        )

    def find(self, image: np.ndarray) -> list[DetectedFace]:
        """The faces in a photograph, the largest first; empty if there is none.

        Args:
            image: uint8 RGB (H, W, 3).

        Raises:
            ImageError: `image` is of another shape or dtype.
        """
        to_mediapipe_image(image)  # checks
        if self._detector is None:
            raise ValueError("this FaceDetector is closed; make a new one")
        boxes = _merge(self._candidates(image))
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
        return self._detector is None

    def close(self) -> None:
        """Frees the native models; also at the end of a ``with`` block. May be called twice."""
        self._landmarker.close()
        if self._detector is not None:
            with quiet():
                self._detector.close()
            self._detector = None

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
        longest = max(image.shape[:2])
        smallest = max(self._min_size, longest * _SMALLEST_IN_PHOTOGRAPH)
        found = np.zeros((0, 5))
        tile = float(longest)
        while True:
            found = np.concatenate([found, self._search_level(image, tile)])
            if len(found):
                largest = (found[:, 2] - found[:, 0]).max()
                smallest = max(smallest, largest * _PASSER_BY)
            if tile * _SMALLEST_IN_TILE <= smallest:
                return found
            tile /= 2

    def _search_level(self, image: np.ndarray, tile: float) -> np.ndarray:
        """Candidates in half-overlapping tiles of `tile` photograph pixels, float (n, 5)."""
        scale = min(1.0, _TILE / tile)
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        level = image
        if scale < 1:
            resized = Image.fromarray(image).resize(
                (width, height), Image.Resampling.BOX, reducing_gap=1.0
            )
            level = np.asarray(resized)
        factor = np.array([image.shape[1] / width, image.shape[0] / height] * 2)
        rows = []
        for x, y, part in _tiles(level, round(tile * scale)):
            for hit in self._detector.detect(to_mediapipe_image(part)).detections:
                box = hit.bounding_box
                corner = np.array([x + box.origin_x, y + box.origin_y], float)
                size = np.array([box.width, box.height])
                corners = np.concatenate([corner, corner + size])
                rows.append([*(corners * factor), hit.categories[0].score])
        return np.array(rows, float).reshape(-1, 5)

    def _confirm(self, image: np.ndarray, box: np.ndarray) -> DetectedFace | None:
        """A second look, at a crop of twice the box; None if what is there is not this face.

        Presence alone does not tell: MediaPipe is sure of landmarks in gravel or on a badge. So
        the detector must see the face again, with eyes, nose and mouth where the landmarks are.
        """
        center, size = (box[:2] + box[2:4]) / 2, box[2:4] - box[:2]
        low = np.maximum(np.floor(center - size), 0).astype(int)
        high = np.ceil(center + size).astype(int)
        crop = image[low[1] : high[1], low[0] : high[0]]
        for landmarks in self._landmarker.detect(crop) if crop.size else []:
            outline = np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])
            at_center = np.abs((outline[:2] + outline[2:]) / 2 + low - center) < size / 2
            if at_center.all() and self._sees(crop, landmarks):
                landmarks[:, :2] += low
                shifted = outline + np.tile(low, 2)
                return DetectedFace(shifted.astype(np.float32), float(box[4]), landmarks)
        return None

    def _sees(self, crop: np.ndarray, landmarks: np.ndarray) -> bool:
        """Whether the detector's own key points agree with the landmarks."""
        expected = np.stack(
            [*eye_centers(landmarks), landmarks[_NOSE_TIP, :2], landmarks[_LIPS, :2].mean(0)]
        )
        allowed = _DISAGREEMENT * np.ptp(landmarks[:, :2], axis=0).max()
        scale = np.array(crop.shape[1::-1])
        for hit in self._detector.detect(to_mediapipe_image(crop)).detections:
            seen = np.array([(point.x, point.y) for point in hit.keypoints[:4]]) * scale
            if np.abs(seen - expected).max() < allowed:
                return True
        return False


def _tiles(level: np.ndarray, side: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Left, top and pixels of square tiles that overlap by half and cover `level`."""
    starts = []
    for length in level.shape[:2]:
        count = max(1, -(-2 * (length - side) // side) + 1)
        starts.append(np.linspace(0, max(0, length - side), count).astype(int))
    for y in starts[0]:
        for x in starts[1]:
            yield int(x), int(y), level[y : y + side, x : x + side]


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
