"""MediaPipe's face detector, run over images of any size at once.

The model (BlazeFace, V. Bazarevsky et al., arXiv 1907.05047) looks at 128 x 128 pixels and finds
faces from about a fifth of that on. But it is convolutional: on a larger image it answers for
every place in it. That costs a quarter of what half-overlapping tiles of 128 pixels do, whose
pixels are each looked at four times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from far_keras.quiet import quiet

__all__ = ["SIGHT", "BlazeFace"]

SIGHT = 128
"""Side in pixels of what the model was made for; larger faces are not found."""

_KEY_POINTS = 6
# Of what is looked at, in pixels: sixteen shapes, which stay prepared once they were needed, all of
# them in some 250 MB.
_SIDES = (128, 256, 320, 384)
_OVERLAP = 64  # of neighbouring blocks; faces that are larger are found at a coarser scale
_SAME = 0.3  # intersection over union from which on two detections are of one face


class BlazeFace:
    """Finds faces of about 25 to 128 pixels in an image.

    Args:
        content: Of ``face_detector.tflite``.
        min_confidence: Below it detections are dropped, 0 to 1.
    """

    def __init__(self, content: bytes, min_confidence: float = 0.5) -> None:
        self._content = content
        self._min_logit = float(np.log(min_confidence / (1 - min_confidence)))
        self._interpreters: dict[tuple[int, int], Any] = {}

    def detect(self, image: np.ndarray) -> np.ndarray:
        """Faces, the surest first.

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
        return _merge(np.concatenate(found))

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
        """An interpreter for inputs of this height and width."""
        if shape not in self._interpreters:
            from ai_edge_litert.interpreter import Interpreter

            with quiet():  # it says which delegate it has made
                interpreter = Interpreter(model_content=self._content, num_threads=1)
                index = interpreter.get_input_details()[0]["index"]
                interpreter.resize_tensor_input(index, (1, *shape, 3))
                interpreter.allocate_tensors()
            self._interpreters[shape] = interpreter
        return self._interpreters[shape]


def _fill(pixels: np.ndarray, image: np.ndarray) -> None:
    """Writes an image into the model's float32 input in [-1, 1], black around, as MediaPipe does.

    The input is not kept: the model does not run while anyone refers to it.
    """
    height, width = image.shape[:2]
    pixels[height:] = pixels[:height, width:] = -1
    inner = pixels[:height, :width]
    np.multiply(image, np.float32(1 / 127.5), out=inner)
    inner -= 1


def _side(length: int) -> int:
    """The smallest of `_SIDES` that has room for `length` pixels."""
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
    """Centres, x and y, that the model's answers count from: 2 a cell of 8, 6 a cell of 16."""
    grids = []
    for stride, repeat in ((8, 2), (16, 6)):
        y, x = np.mgrid[stride / 2 : height : stride, stride / 2 : width : stride]
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeat, axis=0))
    return np.concatenate(grids)


def _merge(rows: np.ndarray) -> np.ndarray:
    """MediaPipe's weighted suppression: each face becomes the mean of its detections."""
    rows = rows[np.argsort(-rows[:, -1], kind="stable")]
    merged = []
    while len(rows):
        same = _overlaps(rows[0], rows) > _SAME
        same[0] = True
        weights = rows[same, -1:]
        mean = (rows[same] * weights).sum(axis=0) / weights.sum()
        mean[-1] = rows[0, -1]
        merged.append(mean)
        rows = rows[~same]
    return np.array(merged).reshape(-1, 4 + 2 * _KEY_POINTS + 1)


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with each of `others`."""
    inner = np.minimum(box[2:4], others[:, 2:4]) - np.maximum(box[:2], others[:, :2])
    shared = np.prod(np.maximum(inner, 0), axis=1)
    areas = np.prod(others[:, 2:4] - others[:, :2], axis=1)
    union = areas + np.prod(box[2:4] - box[:2]) - shared
    return shared / np.maximum(union, 1e-9)
