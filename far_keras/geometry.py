"""Plane geometry that faces, masks and the renderer share: the aligned frame, boxes, polygons."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

__all__ = [
    "ALIGNED_EYES",
    "ALIGNED_SIZE",
    "box_iou",
    "convex_hull",
    "coverage_weights",
    "fill_polygons",
    "suppress_overlaps",
]

ALIGNED_SIZE = (218, 178)
"""Height and width of an aligned face, pixels: CelebA's ``img_align_celeba``."""

ALIGNED_EYES = ((69.5, 111.0), (108.5, 111.0))
"""x, y of the eye centers in an aligned face, first the one at the image's left."""


def box_iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with others.

    Args:
        box: (4,) left, top, right, bottom.
        boxes: (N, 4) likewise.

    Returns:
        (N,) in [0, 1]; 0 where the union is empty.
    """
    box, boxes = np.asarray(box, float), np.asarray(boxes, float).reshape(-1, 4)
    shared = _shared_areas(box, boxes)
    union = _areas(box) + _areas(boxes) - shared
    return np.divide(shared, union, out=np.zeros(len(boxes)), where=union > 0)


def suppress_overlaps(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, contained: float = 1.0
) -> list[int]:
    """Non-maximum suppression.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        scores: (N,) confidences.
        threshold: A box whose IoU with a kept box of higher score exceeds this is dropped.
        contained: So is a box if more than this share of the smaller of the two lies in the
            larger one; 1 checks the IoU only.

    Returns:
        Indices of the kept boxes, by falling score.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    kept: list[int] = []
    rest = np.argsort(-np.asarray(scores), kind="stable")
    while len(rest):
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        box, others = boxes[best], boxes[rest]
        inside = _shared_areas(box, others) > contained * np.minimum(_areas(box), _areas(others))
        rest = rest[~inside & (box_iou(box, others) <= threshold)]
    return kept


def _shared_areas(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def coverage_weights(source: int, target: int) -> np.ndarray:
    """Weights of exact area averaging along one axis.

    ``coverage_weights(H, h) @ mask @ coverage_weights(W, w).T`` resizes a mask of H x W cells to
    h x w, each the mean of the area that it covers.

    Returns:
        float32 (target, source): the share of target cell i that source cell k covers. Rows sum
        to 1.
    """
    edges = np.arange(target + 1) * (source / target)
    cells = np.arange(source)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return (np.clip(overlap, 0.0, None) * (target / source)).astype(np.float32)


def convex_hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of (n, 2) points, in order around it (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})
    if len(ordered) < 3:
        return np.array(ordered).reshape(-1, 2)
    chains = []
    for line in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for x, y in line:
            while len(chain) > 1:
                (x0, y0), (x1, y1) = chain[-2:]
                if (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1])


def fill_polygons(polygons: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The union of filled polygons, borders included.

    Args:
        polygons: Arrays (n, 2) of x, y with whole numbers at pixel centres; fewer than two corners
            fill nothing.
        size: Height and width.

    Returns:
        bool (height, width).
    """
    height, width = size
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        if len(polygon) > 1:
            draw.polygon(np.asarray(polygon, float).ravel().tolist(), fill=255)
    return np.asarray(canvas) > 0
