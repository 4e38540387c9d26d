"""Finds every face in a photograph, also the small ones of a group, with its landmarks."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.errors import AssetError
from far_keras.faces.alignment import eye_centers
from far_keras.faces.landmarks import FaceLandmarker, check_rgb
from far_keras.geometry import box_iou, suppress_overlaps
from far_keras.quiet import quiet

__all__ = ["BlazeFace", "DetectedFace", "FaceDetector"]

# BlazeFace
_INPUT_SIDE = 128  # pixels; larger faces are not found
_KEY_POINTS = 6
_SIDES = (128, 256, 320, 384)  # of blocks, pixels: 16 shapes, whose interpreters take some 250 MB
_OVERLAP = 64  # pixels, of neighbouring blocks; larger faces are found at a coarser scale
_SAME = 0.3  # IoU above which two detections are of one face

# Share of the input's side. The model finds few faces of a seventh of it, most of a fifth.
_SMALLEST_IN_INPUT = 1 / 5
# A face this much smaller than the largest is that many times as far away: a passer-by. Portraits
# stay fast, since no fine tiles are searched for it.
_PASSER_BY = 1 / 6
_SMALLEST_IN_PHOTOGRAPH = 1 / 80  # of the longer side: bounds the number of tiles

# Landmarks that correspond to key points of the model, in addition to the eyes.
_NOSE_TIP = 1
_LIPS = [13, 14]
# Of the face's longer side. In photographs of groups, true faces stayed below 0.085, false ones
# (textures, badges, machines) above 0.125.
_DISAGREEMENT = 0.11
# Faces of this width are clear: true ones had confidences above 0.8, a door lock 0.6.
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

    MediaPipe's detector expects near faces. Here it searches the photograph at several scales,
    each about twice as fine as the one before, until the smallest faces fill a fifth of its input.
    Every candidate is checked again in a crop around it, which also gives its landmarks.

    The smallest faces have a width of `min_size` pixels, an eightieth of the photograph's longer
    side, or a sixth of the largest face found on the coarser levels, whichever is largest. So
    portraits are fast and groups of people take longer: `benchmarks/recognition.py`.

    Threads may share a detector (they wait for each other); each process needs its own.

    Args:
        model: Path of ``face_landmarker.task``; found or fetched by `find_asset` if None.
        min_confidence: Of the detection, 0 to 1; at least 0.7 for faces of 40 pixels and more.
        min_presence: Confidence, 0 to 1, that the landmarks lie on a face. In photographs of
            groups, true faces of 30 pixels and more had above 0.98.
        min_size: Width in pixels of the smallest faces that are searched for.

    Raises:
        AssetError: The model file is not available.
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
        candidates = self._candidates(image)
        boxes = candidates[_suppress(candidates)]
        clear = boxes[:, 2] - boxes[:, 0] >= _CLEAR
        boxes = boxes[~clear | (boxes[:, 4] >= _CLEAR_CONFIDENCE)]
        faces = _distinct([face for box in boxes if (face := self._confirm(image, box))])
        return sorted(faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))

    def follow(self, image: np.ndarray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """The same faces in the next frame of a video, searched for only where they were.

        About 8 ms per face. Faces that disappeared, or moved by half their size, are left out, and
        new ones are not found; the confidence stays that of the last search.

        Args:
            image: uint8 RGB (H, W, 3), of the size of the previous frame.
            faces: Those of the previous frame.
        """
        found = [self._confirm(image, _box_row(face)) for face in faces]
        return _distinct([face for face in found if face is not None])

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Frees the native models; also at the end of a ``with`` block. May be called twice."""
        self._landmarker.close()
        self._closed = True

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _candidates(self, image: np.ndarray) -> np.ndarray:
        """Boxes of all levels, float (n, 5): left, top, right, bottom, confidence."""
        canvas = Image.fromarray(image)  # copies: once for all levels
        longest = max(canvas.size)
        smallest = max(self._min_size, longest * _SMALLEST_IN_PHOTOGRAPH)
        found = np.zeros((0, 5))
        sight = float(longest)
        while True:
            found = np.concatenate([found, self._search_level(canvas, sight)])
            if len(found):
                largest = (found[:, 2] - found[:, 0]).max()
                smallest = max(smallest, largest * _PASSER_BY)
            finest = smallest / _SMALLEST_IN_INPUT
            if sight <= finest:
                return found
            # Levels end exactly at the finest, each twice as fine as the one before.
            sight = finest * 2 ** max(0, round(np.log2(sight / finest)) - 1)

    def _search_level(self, image: Image.Image, sight: float) -> np.ndarray:
        """Candidates of the level where the model sees `sight` pixels at once, float (n, 5)."""
        scale = _INPUT_SIDE / sight
        width, height = (max(1, round(side * scale)) for side in image.size)
        rows = self._blaze_face.detect(_resized(image, width, height))
        factor = np.array([image.width / width, image.height / height] * 2)
        return np.concatenate([rows[:, :4] * factor, rows[:, -1:]], axis=1)

    def _confirm(self, image: np.ndarray, box: np.ndarray) -> DetectedFace | None:
        """Detects the face again in a crop of twice the box; None if there is no face.

        Presence is not enough: MediaPipe is confident of landmarks in gravel or on a badge. So
        BlazeFace must find the face too, with eyes, nose and mouth where the landmarks are.
        """
        center, size = (box[:2] + box[2:4]) / 2, box[2:4] - box[:2]
        low = np.maximum(np.floor(center - size), 0).astype(int)
        high = np.ceil(center + size).astype(int)
        crop = image[low[1] : high[1], low[0] : high[0]]
        if not crop.size or not len(points := self._key_points(crop)):
            return None  # before the landmarks, which take longer
        for landmarks in self._landmarker.detect(crop):
            outline = np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)])
            at_center = np.abs((outline[:2] + outline[2:]) / 2 + low - center) < size / 2
            if at_center.all() and _agree(points, landmarks):
                landmarks[:, :2] += low
                shifted = outline + np.tile(low, 2)
                return DetectedFace(shifted.astype(np.float32), float(box[4]), landmarks)
        return None

    def _key_points(self, crop: np.ndarray) -> np.ndarray:
        """Eyes, nose and mouth of the faces that BlazeFace finds in a crop: (n, 4, 2), x and y."""
        side = max(crop.shape[:2])
        width, height = (max(1, round(length * _INPUT_SIDE / side)) for length in crop.shape[1::-1])
        scale = np.array([width / crop.shape[1], height / crop.shape[0]])
        rows = self._blaze_face.detect(_resized(Image.fromarray(crop), width, height))
        return rows[:, 4:12].reshape(-1, 4, 2) / scale


def _agree(points: np.ndarray, landmarks: np.ndarray) -> bool:
    """Whether the key points (n, 4, 2) of a BlazeFace detection lie where the landmarks do."""
    expected = np.stack(
        [*eye_centers(landmarks), landmarks[_NOSE_TIP, :2], landmarks[_LIPS, :2].mean(0)]
    )
    allowed = _DISAGREEMENT * np.ptp(landmarks[:, :2], axis=0).max()
    return bool((np.abs(points - expected).max(axis=(1, 2)) < allowed).any())


def _resized(image: Image.Image, width: int, height: int) -> np.ndarray:
    if image.size != (width, height):
        # Scaling up takes no averages.
        method = Image.Resampling.BOX if width < image.width else Image.Resampling.BILINEAR
        image = image.resize((width, height), method, reducing_gap=1.0)
    return np.asarray(image)


def _suppress(rows: np.ndarray) -> list[int]:
    """Indices of distinct boxes among `rows` (n, 5), as in `_candidates`.

    70% of the smaller box in the larger one: a face cut by the border of a tile.
    """
    return suppress_overlaps(rows[:, :4], rows[:, 4], threshold=0.4, contained=0.7)


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    rows = np.array([_box_row(face) for face in faces]).reshape(-1, 5)
    return [faces[index] for index in sorted(_suppress(rows))]


def _box_row(face: DetectedFace) -> np.ndarray:
    return np.append(face.box, face.confidence)


class BlazeFace:
    """MediaPipe's face detector, run over images of any size: finds faces of 25 to 128 pixels.

    The model (BlazeFace, V. Bazarevsky et al., arXiv 1907.05047) expects 128 x 128 pixels and
    finds faces from about a fifth of that on. But it is convolutional: on a larger image it
    predicts for every place in it. That costs a quarter of half-overlapping tiles of 128 pixels,
    which process each pixel four times.

    Args:
        content: Of ``face_detector.tflite``.
        min_confidence: Below it detections are dropped, 0 to 1.
    """

    def __init__(self, content: bytes, min_confidence: float = 0.5) -> None:
        self._content = content
        self._min_logit = float(np.log(min_confidence / (1 - min_confidence)))
        self._interpreters: dict[tuple[int, int], Any] = {}

    def detect(self, image: np.ndarray) -> np.ndarray:
        """Faces by falling confidence.

        Args:
            image: uint8 RGB (H, W, 3).

        Returns:
            float64 (n, 17): left, top, right, bottom; x and y of the eye on the image's left,
            the one on its right, nose tip, mouth, and both ear regions, all in pixels of `image`;
            and the confidence.
        """
        found = [np.zeros((0, 4 + 2 * _KEY_POINTS + 1))]
        for top, height in _blocks(image.shape[0]):
            for left, width in _blocks(image.shape[1]):
                rows = self._detect_block(image[top : top + height, left : left + width])
                rows[:, 0:-1:2] += left
                rows[:, 1:-1:2] += top
                found.append(rows)
        return _merge_detections(np.concatenate(found))

    def _detect_block(self, image: np.ndarray) -> np.ndarray:
        height, width = map(_side, image.shape[:2])
        interpreter = self._prepared((height, width))
        _fill(interpreter.tensor(interpreter.get_input_details()[0]["index"])()[0], image)
        interpreter.invoke()
        boxes, logits = sorted(
            (
                interpreter.get_tensor(output["index"])[0]
                for output in interpreter.get_output_details()
            ),
            key=lambda values: -values.shape[1],
        )
        sure = np.flatnonzero(logits[:, 0] >= self._min_logit)
        raw = boxes[sure].astype(np.float64)  # (n, 16): center, size, key points, in pixels
        points = raw.reshape(-1, 2 + _KEY_POINTS, 2)
        anchors = _anchors(height, width)[sure]
        center, half = points[:, 0] + anchors, points[:, 1] / 2
        return np.concatenate(
            [
                center - half,
                center + half,
                (points[:, 2:] + anchors[:, None]).reshape(-1, 2 * _KEY_POINTS),
                1 / (1 + np.exp(-logits[sure].astype(np.float64))),
            ],
            axis=1,
        )

    def _prepared(self, shape: tuple[int, int]) -> Any:
        """The interpreter for inputs of this height and width."""
        if shape not in self._interpreters:
            from ai_edge_litert.interpreter import Interpreter

            with quiet():  # it prints the name of its delegate
                interpreter = Interpreter(model_content=self._content, num_threads=1)
                index = interpreter.get_input_details()[0]["index"]
                interpreter.resize_tensor_input(index, (1, *shape, 3))
                interpreter.allocate_tensors()
            self._interpreters[shape] = interpreter
        return self._interpreters[shape]


def _fill(pixels: np.ndarray, image: np.ndarray) -> None:
    """Writes an image into the model's float32 input in [-1, 1], padded with black, like MediaPipe.

    Do not keep a reference to the input: the model does not run while one exists.
    """
    height, width = image.shape[:2]
    pixels[height:] = pixels[:height, width:] = -1
    inner = pixels[:height, :width]
    np.multiply(image, np.float32(1 / 127.5), out=inner)
    inner -= 1


def _side(length: int) -> int:
    """The smallest of `_SIDES` that holds `length` pixels."""
    return next(side for side in _SIDES if side >= length)


def _blocks(length: int) -> list[tuple[int, int]]:
    """Starts and lengths of the fewest overlapping parts that cover `length` pixels."""
    largest = _SIDES[-1]
    if length <= largest:
        return [(0, length)]
    count = -(-(length - _OVERLAP) // (largest - _OVERLAP))
    side = _side(-(-(length + (count - 1) * _OVERLAP) // count))
    starts = np.linspace(0, length - side, count).astype(int)
    return [(int(start), side) for start in starts]


def _anchors(height: int, width: int) -> np.ndarray:
    """Centres, x and y, of the model's anchors: 2 per cell of 8 pixels, 6 per cell of 16."""
    grids = []
    for stride, repeat in ((8, 2), (16, 6)):
        y, x = np.mgrid[stride / 2 : height : stride, stride / 2 : width : stride]
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeat, axis=0))
    return np.concatenate(grids)


def _merge_detections(rows: np.ndarray) -> np.ndarray:
    """MediaPipe's weighted suppression: each face becomes the mean of its detections."""
    rows = rows[np.argsort(-rows[:, -1], kind="stable")]
    merged = []
    while len(rows):
        same = box_iou(rows[0, :4], rows[:, :4]) > _SAME
        same[0] = True
        weights = rows[same, -1:]
        mean = (rows[same] * weights).sum(axis=0) / weights.sum()
        mean[-1] = rows[0, -1]
        merged.append(mean)
        rows = rows[~same]
    return np.array(merged).reshape(-1, 4 + 2 * _KEY_POINTS + 1)
