"""Figures of merit for masks, in plain NumPy, in CelebA's frame of 178 x 218 pixels.

All networks are scored in this frame, whatever the size of their own masks, so that they can be
compared, and that is where masks are used. The definitions are in docs/evaluation.md.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from far_keras.errors import DatasetError
from far_keras.geometry import ALIGNED_SIZE
from far_keras.schema import REGIONS, AttributeSchema

__all__ = [
    "BOUNDARY_TOLERANCE",
    "MASK_METRICS",
    "boundary_f1",
    "group_masks",
    "mask_scores",
    "outline",
    "unpack_regions",
]

MASK_METRICS = ("iou", "dice", "boundary_f1")
"""The rows of `mask_scores`, in the order of every table."""

BOUNDARY_TOLERANCE = 3
"""Pixels of the 178 x 218 frame: 0.8% of its diagonal, rounded up, as in Perazzi et al., "A
Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016."""

Masks = NDArray[np.bool_]


def mask_scores(truth: Masks, probabilities: NDArray, level: float = 0.5) -> NDArray[np.float64]:
    """IoU, Dice and boundary F1 of each group of one image.

    Args:
        truth: (G, 218, 178).
        probabilities: (h, w, G) of any size, enlarged bilinearly.
        level: A probability of at least this much is inside.

    Returns:
        (3, G), the rows of `MASK_METRICS`; all NaN for an image without any mask, as one without
        a face has; else NaN for a group where both are empty, or for the boundary F1 where neither
        has a boundary.

    Raises:
        DatasetError: Another number of groups, or another frame.
    """
    if truth.shape != (probabilities.shape[-1], *ALIGNED_SIZE):
        raise DatasetError(
            f"truth: expected ({probabilities.shape[-1]}, 218, 178), the groups of the predicted "
            f"masks in the aligned frame. Received: {truth.shape}"
        )
    if not truth.any():
        return np.full((len(MASK_METRICS), len(truth)), np.nan)
    answer = _enlarge(probabilities) >= level
    both = (truth & answer).sum(axis=(1, 2)).astype(float)
    either = (truth | answer).sum(axis=(1, 2)).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([both / either, 2 * both / (both + either), boundary_f1(truth, answer)])


def boundary_f1(
    truth: Masks, answer: Masks, tolerance: int = BOUNDARY_TOLERANCE
) -> NDArray[np.float64]:
    """How well the outlines agree (Csurka et al., BMVC 2013): it sees what overlap drowns.

    Precision is the share of the answer's outline that lies within `tolerance` pixels of the
    truth's, recall the share of the truth's within as many of the answer's, F1 their harmonic mean.

    Args:
        truth: (G, H, W).
        answer: (G, H, W).
        tolerance: Greatest Euclidean distance in pixels that still agrees.

    Returns:
        (G,) in [0, 1]; 0 where one alone has an outline, NaN where neither has.
    """
    lines = outline(truth), outline(answer)
    lengths = [line.sum(axis=(1, 2)).astype(float) for line in lines]
    near = [
        (line & _dilate(other, tolerance)).sum(axis=(1, 2)) for line, other in (lines, lines[::-1])
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, precision = (n / length for n, length in zip(near, lengths, strict=True))
        f1 = 2 * precision * recall / (precision + recall)
    # An outline alone, or two that never meet: no agreement, though 0 / 0.
    return np.where((lengths[0] > 0) | (lengths[1] > 0), np.nan_to_num(f1), np.nan)


def outline(masks: Masks) -> Masks:
    """The pixels (..., H, W) that have a neighbour outside; the image's edge is no outline."""
    padded = np.pad(masks, [(0, 0)] * (masks.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    within = padded[..., :-2, 1:-1] & padded[..., 2:, 1:-1]
    within &= padded[..., 1:-1, :-2] & padded[..., 1:-1, 2:]
    return masks & ~within


def unpack_regions(png: bytes) -> Masks | None:
    """(218, 178, 8): the regions of a record's packed PNG; None for a record without."""
    if not png:
        return None
    packed = np.asarray(Image.open(io.BytesIO(png)))
    return (packed[..., None] >> np.arange(len(REGIONS)) & 1).astype(bool)


def group_masks(regions: Masks, schema: AttributeSchema) -> Masks:
    """(218, 178, 8) regions to (G, 218, 178): a group's mask is the union of its regions."""
    return np.stack(
        [
            regions[..., [REGIONS.index(region) for region in group.regions]].any(axis=-1)
            for group in schema.groups
        ]
    )


def _enlarge(probabilities: NDArray) -> NDArray[np.float32]:
    height, width = ALIGNED_SIZE
    channels = np.moveaxis(np.asarray(probabilities, np.float32), -1, 0)
    return np.stack(
        [
            np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BILINEAR))
            for each in channels
        ]
    )


def _dilate(lines: Masks, radius: int) -> Masks:
    """All pixels within `radius` of a line."""
    height, width = lines.shape[-2:]
    padded = np.pad(lines, [(0, 0), (radius, radius), (radius, radius)])
    near = np.zeros_like(lines)
    for y in range(-radius, radius + 1):
        for x in range(-radius, radius + 1):
            if x * x + y * y <= radius * radius:
                top, left = radius + y, radius + x
                near |= padded[:, top : top + height, left : left + width]
    return near
