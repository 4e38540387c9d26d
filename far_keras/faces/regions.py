"""Binary masks of the facial regions from the landmarks of a face."""

from __future__ import annotations

import numpy as np

from far_keras.faces.alignment import ALIGNED_SIZE, LEFT_EYE, RIGHT_EYE
from far_keras.faces.polygons import convex_hull, fill_polygons
from far_keras.schema import REGIONS

__all__ = ["pack_masks", "region_masks", "unpack_masks"]

# Indices into the 478 points, in order around each figure. "Left" is the picture's left.
_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
_NOSE = (
    *(168, 193, 188, 174, 198, 49, 129, 64, 98, 97, 2),
    *(326, 327, 294, 358, 279, 420, 399, 412, 417),
)
_LEFT_CHEEK = (234, 117, 118, 119, 120, 100, 142, 129, 203, 206, 212, 214, 138, 58, 132, 93)
_RIGHT_CHEEK = (454, 346, 347, 348, 349, 329, 371, 358, 423, 426, 432, 434, 367, 288, 361, 323)
_LOWER_FACE = (
    *(132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361),
    *(425, 423, 327, 326, 2, 97, 98, 203, 205),
)


def region_masks(landmarks: np.ndarray, size: tuple[int, int] = ALIGNED_SIZE) -> np.ndarray:
    """Masks of `REGIONS` for a face.

    Args:
        landmarks: (478, 2 or 3) in pixels of the picture, as `FaceLandmarker.detect` gives them.
        size: Height and width of the picture.

    Returns:
        bool (height, width, 8) in the order of `REGIONS`; regions may overlap.
    """
    points = landmarks[:, :2].astype(np.float64)

    def part(*indices: int) -> np.ndarray:
        return points[list(indices)]

    oval = part(*_OVAL)
    eyes = [
        convex_hull(part(*brow, *eye))
        for brow, eye in ((_LEFT_BROW, LEFT_EYE), (_RIGHT_BROW, RIGHT_EYE))
    ]
    head, ears = _extrapolate(points)
    filled_oval = fill_polygons([oval], size)
    ear = fill_polygons(ears, size) & ~filled_oval
    whole = fill_polygons([head], size) | filled_oval | ear
    masks = {
        "mouth": fill_polygons([part(*_LIPS)], size),
        "ear": ear,
        "lower_face": fill_polygons([part(*_LOWER_FACE)], size),
        "cheeks": fill_polygons([part(*_LEFT_CHEEK), part(*_RIGHT_CHEEK)], size),
        "nose": fill_polygons([part(*_NOSE)], size),
        "eyes": fill_polygons(eyes, size),
        "hair": fill_polygons([head], size) & ~filled_oval & ~ear,
        "object": whole,
    }
    return np.stack([masks[name] for name in REGIONS], -1)


def _extrapolate(points: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    chin, top = points[152], points[10]
    left, right = points[234], points[454]
    up = top - chin
    across = right - left
    center = (left + right) / 2 + 0.25 * up
    angle = np.linspace(0, 2 * np.pi, 40)[:, None]
    head = center + 0.68 * across * np.cos(angle) + 0.78 * up * np.sin(angle)
    ears = [
        side + 0.22 * up * np.sin(angle) + 0.1 * across * np.cos(angle) for side in (left, right)
    ]
    return head, ears


def pack_masks(masks: np.ndarray) -> np.ndarray:
    """Eight masks in one picture: bit r of a pixel is set where region r is.

    Args:
        masks: bool (H, W, 8) in the order of `REGIONS`.

    Returns:
        uint8 (H, W).
    """
    if masks.ndim != 3 or masks.shape[-1] != len(REGIONS) or masks.dtype != bool:
        raise ValueError(
            f"masks: expected bool (H, W, {len(REGIONS)}). "
            f"Received: shape {masks.shape}, dtype {masks.dtype}"
        )
    return np.packbits(masks, axis=-1, bitorder="little")[..., 0]


def unpack_masks(packed: np.ndarray) -> np.ndarray:
    """The opposite of `pack_masks`: uint8 (H, W) to bool (H, W, 8)."""
    if packed.ndim != 2 or packed.dtype != np.uint8:
        raise ValueError(
            f"packed: expected uint8 (H, W). Received: shape {packed.shape}, dtype {packed.dtype}"
        )
    return np.unpackbits(packed[..., None], axis=-1, bitorder="little").astype(bool)
