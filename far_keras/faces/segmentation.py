"""Which pixels around a face are hair, and which skin: its pose says where they may be, its
colours where they are.

The face mesh has no points on hair, ears and the crown. A prior, drawn in the `HeadFrame`, says
how often hair, skin or something else is found at each place; from it colour histograms of the
three are taken, which in turn correct the shares, three times over. So hair of every length and
colour is followed as far as it stands out from what is behind it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from far_keras.faces.head_frame import HeadFrame
from far_keras.geometry import fill_polygons

__all__ = [
    "HAIR",
    "OTHER",
    "SKIN",
    "crown_outline",
    "ear_outlines",
    "segment_head",
]

OTHER, HAIR, SKIN = range(3)

Outline = tuple[tuple[float, float], ...]

# Right halves of outlines in the plane through the ears, from top to bottom. Read off maps of how
# often hair and head are found at each place in rendered images, and rounded.
_CURTAIN = (
    *((0, 1.05), (0.45, 0.9), (0.7, 0.6), (0.8, 0.3), (0.88, 0), (0.88, -0.4)),
    *((0.82, -0.7), (0.7, -1.1), (0.6, -1.4)),
)
_NECK = ((0.38, -0.35), (0.40, -0.75), (0.42, -1.4))
_RING = ((0, 1.03), (0.25, 0.98), (0.45, 0.85), (0.6, 0.6), (0.64, 0.3), (0.64, -0.25))
_EAR = ((0.47, 0.18), (0.58, 0.15), (0.6, 0), (0.56, -0.28), (0.47, -0.3))
_CROWN = (*((0, 0.9), (0.2, 0.86), (0.38, 0.74), (0.47, 0.58), (0.51, 0.3), (0.52, 0.1)),)
_FOREHEAD = ((0, 0.66), (0.2, 0.64), (0.32, 0.56), (0.4, 0.4))

# Painted in this order: outline and shares of other things, hair and skin.
_ZONES: tuple[tuple[Outline, tuple[float, float, float]], ...] = (
    (_CURTAIN, (0.62, 0.34, 0.04)),
    (_NECK, (0.35, 0.05, 0.60)),
    (_RING, (0.45, 0.50, 0.05)),
    (_EAR, (0.10, 0.45, 0.45)),
    (_CROWN, (0.02, 0.85, 0.13)),
    (_FOREHEAD, (0.01, 0.29, 0.70)),
)
_ELSEWHERE = (0.95, 0.04, 0.01)
_UPPER_FACE = (0.01, 0.15, 0.84)  # a fringe may hang down to the brows
_LOWER_FACE = (0.01, 0.02, 0.97)

_BINS = 16  # a colour channel
_ROUNDS = 3
_FACE_WIDTH = 42.0  # pixels of the reduced image: half of what it is in the aligned frame


def segment_head(
    image: np.ndarray | None, oval: np.ndarray, frame: HeadFrame, size: tuple[int, int]
) -> np.ndarray:
    """Shares of other things, hair and skin at each pixel.

    Args:
        image: uint8 RGB (height, width, 3). Without it what the pose alone lets expect is given.
        oval: (n, 2) outline of the face in pixels.
        frame: Of the head, in pixels.
        size: Height and width of the image.

    Returns:
        uint8 (3, height, width), 255 for certainty, in the order `OTHER`, `HAIR`, `SKIN`.
    """
    height, width = size
    factor = max(1, round(frame.scale / _FACE_WIDTH))
    reduced_size = -(-height // factor), -(-width // factor)
    shrunk = HeadFrame(_shrink(frame.origin, factor), frame.axes, frame.scale / factor)
    shares = _prior(_shrink(oval, factor), shrunk, reduced_size)
    if image is not None:
        # YCbCr: brightness apart from the colours, which in skin and hair vary little
        reduced = np.asarray(Image.fromarray(image).convert("YCbCr").reduce(factor))
        shares = _follow_colours(reduced, shares)
    return np.stack(
        [
            np.asarray(
                Image.fromarray((share * 255).astype(np.uint8)).resize(
                    (width, height),
                    Image.Resampling.BILINEAR,
                    box=(0, 0, width / factor, height / factor),
                )
            )
            for share in shares
        ]
    )


def crown_outline(frame: HeadFrame) -> np.ndarray:
    """Outline of the skull above the ears in pixels."""
    return _outline(_CROWN, frame)


def ear_outlines(frame: HeadFrame) -> list[np.ndarray]:
    """Outlines of both ears in pixels, hidden or not: ellipses that stand off the head."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    out, up = np.cos(angle), np.sin(angle)
    return [
        frame.project(
            np.column_stack(
                [side * (0.56 + 0.06 * out + 0.03 * up), -0.07 + 0.23 * up, -0.1 - 0.15 * out]
            )
        )
        for side in (-1, 1)
    ]


def _prior(oval: np.ndarray, frame: HeadFrame, size: tuple[int, int]) -> np.ndarray:
    """The shares that are expected from the pose alone, float64 (3, H, W)."""
    prior = np.empty((3, *size))
    prior[:] = np.reshape(_ELSEWHERE, (3, 1, 1))
    for half, shares in _ZONES:
        prior[:, fill_polygons([_outline(half, frame)], size)] = np.reshape(shares, (3, 1))
    face = fill_polygons([oval], size)
    y, x = np.ogrid[: size[0], : size[1]]
    up = frame.axes[1, :2]
    brows = frame.project(np.array([[0, 0.2, 0.45]]))[0]
    above = (x - brows[0]) * up[0] + (y - brows[1]) * up[1] > 0
    prior[:, face & above] = np.reshape(_UPPER_FACE, (3, 1))
    prior[:, face & ~above] = np.reshape(_LOWER_FACE, (3, 1))
    # Heads differ: the zones' borders are known to about a tenth of the face's width on each side.
    width = 2 * round(frame.scale / 8) + 1
    return uniform_filter(prior, (0, width, width), mode="nearest")


def _outline(half: Outline, frame: HeadFrame) -> np.ndarray:
    outline = np.array([*half, *((-x, y) for x, y in half[::-1])])
    return frame.project(np.column_stack([outline, np.zeros(len(outline))]))


def _follow_colours(image: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Expectation maximisation with one colour histogram for each of the three."""
    brightness = image[..., 0].astype(int) // (256 // _BINS)
    # Colours of skin and hair lie near grey: 6 steps a bin around the middle.
    blue, red = (np.clip((image[..., c].astype(int) - 80) // 6, 0, _BINS - 1) for c in (1, 2))
    bins = (brightness * _BINS + blue) * _BINS + red
    shares = prior
    for _ in range(_ROUNDS):
        likelihood = np.stack([_histogram(bins, share)[bins] for share in shares])
        shares = prior * (likelihood + 1e-5)
        shares /= shares.sum(0)
    return uniform_filter(shares, (0, 3, 3), mode="nearest")  # single strands and noise


def _histogram(bins: np.ndarray, weights: np.ndarray) -> np.ndarray:
    counts = np.bincount(bins.ravel(), weights.ravel(), minlength=_BINS**3)
    smooth = gaussian_filter(counts.reshape((_BINS,) * 3), 0.8, mode="constant").ravel()
    return smooth / max(smooth.sum(), 1e-9)


def _shrink(points: np.ndarray, factor: int) -> np.ndarray:
    """Pixel centres of the image in pixels of the reduced one; depth is not used."""
    return (points - (factor - 1) / 2) / factor
