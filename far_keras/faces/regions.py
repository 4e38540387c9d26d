"""Binary masks of the facial regions from the landmarks of a face."""

from __future__ import annotations

import numpy as np

from far_keras.faces.alignment import LEFT_EYE, RIGHT_EYE
from far_keras.faces.head_frame import HeadFrame
from far_keras.faces.landmarks import NUM_LANDMARKS
from far_keras.faces.segmentation import (
    HAIR,
    OTHER,
    SKIN,
    crown_outline,
    ear_outlines,
    segment_head,
)
from far_keras.geometry import ALIGNED_SIZE, convex_hull, fill_polygons
from far_keras.schema import REGIONS

__all__ = ["pack_masks", "region_masks", "unpack_masks"]

# Without the image: leaves out the places beside the face where only long hair hangs.
_MOSTLY_HAIR = 115  # of 255

# Indices into the 478 points, in order around each figure. "Left" is the image's left.
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
    *(327, 2, 98),
)


def region_masks(
    landmarks: np.ndarray,
    size: tuple[int, int] = ALIGNED_SIZE,
    image: np.ndarray | None = None,
) -> np.ndarray:
    """Masks of `REGIONS` for a face.

    Mouth, lower face, cheeks, nose and eyes (the hull of brow and eye on each side) follow the
    landmarks. The mesh has no points on ears, hair and crown: they are extrapolated from the
    head's pose, and where the image is given follow its colours, see `segmentation`.

    Args:
        landmarks: (478, 3) in pixels of the image, as `FaceLandmarker.detect` gives them.
        size: Height and width of the image.
        image: uint8 RGB (height, width, 3), the image. Without it hair and ears lie where they
            mostly do, and all heads wear the same hair.

    Returns:
        bool (height, width, 8) in the order of `REGIONS`; regions may overlap.

    Raises:
        ValueError: `landmarks` has another shape, or `image` is not of `size`.
    """
    if landmarks.shape != (NUM_LANDMARKS, 3):
        raise ValueError(
            f"landmarks: expected shape ({NUM_LANDMARKS}, 3). Received: {landmarks.shape}"
        )
    if image is not None and image.shape != (*size, 3):
        raise ValueError(f"image: expected shape {(*size, 3)}. Received: {image.shape}")
    points = landmarks[:, :2].astype(np.float64)

    def part(*indices: int) -> np.ndarray:
        return points[list(indices)]

    frame = HeadFrame.from_landmarks(landmarks)
    oval = fill_polygons([part(*_OVAL)], size)
    ear = fill_polygons(ear_outlines(frame), size) & ~oval
    shares = segment_head(image, part(*_OVAL), frame, size)
    hair = shares[HAIR] > (127 if image is not None else _MOSTLY_HAIR)
    if image is None:
        hair &= ~ear
    else:
        ear &= (shares[SKIN] > shares[HAIR]) & (shares[OTHER] < 200)
    skull = fill_polygons([crown_outline(frame)], size) & (shares[OTHER] < 128)
    masks = {
        "mouth": fill_polygons([part(*_LIPS)], size),
        "ear": ear,
        "lower_face": fill_polygons([part(*_LOWER_FACE)], size),
        "cheeks": fill_polygons([part(*_LEFT_CHEEK), part(*_RIGHT_CHEEK)], size),
        "nose": fill_polygons([part(*_NOSE)], size),
        "eyes": fill_polygons(
            [
                convex_hull(part(*_LEFT_BROW, *LEFT_EYE)),
                convex_hull(part(*_RIGHT_BROW, *RIGHT_EYE)),
            ],
            size,
        ),
        "hair": hair,
        "object": oval | skull | hair | ear,
    }
    return np.stack([masks[name] for name in REGIONS], -1)


def pack_masks(masks: np.ndarray) -> np.ndarray:
    """Eight masks in one image: bit r of a pixel is set where region r is.

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
