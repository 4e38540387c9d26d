"""Binary masks of the facial regions from the landmarks and the colours of a face.

The face mesh has no points on hair, ears and crown. A prior, drawn in the `HeadFrame`, says how
often hair, skin or something else is found at each place; colour histograms weighted with it
correct the shares, three times over. So hair of any length and colour is followed as far as it
differs from the background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from far_keras.faces.alignment import LEFT_EYE, RIGHT_EYE
from far_keras.faces.face_mesh import NUM_LANDMARKS
from far_keras.geometry import ALIGNED_SIZE, convex_hull, fill_polygons
from far_keras.schema import REGIONS

__all__ = ["HeadFrame", "pack_masks", "region_masks", "unpack_masks"]

# Without the image: leaves out the places at the face's sides where only long hair hangs.
_MOSTLY_HAIR = 115  # of 255

# Indices into the 478 points, in order around each outline. "Left" is the image's left.
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

# Pairs of points whose connection runs straight across the head, and straight up a closed or
# open-mouthed face. Depth included, they give the head's axes whatever its pose.
_ACROSS = ((234, 454), (127, 356), (93, 323), (33, 263), (162, 389), (21, 251))
_UP = ((2, 10), (164, 151), (2, 9), (0, 8))

_OTHER, _HAIR, _SKIN = range(3)

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
_UPPER_FACE_SHARES = (0.01, 0.15, 0.84)  # a fringe may hang down to the brows
_LOWER_FACE_SHARES = (0.01, 0.02, 0.97)

_BINS = 16  # per colour channel
_ROUNDS = 3
_FACE_WIDTH = 42.0  # pixels of the reduced image: half of what it is in the aligned frame


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """Coordinates fixed to a head.

    Their origin is midway between the ears, x runs to the image's right ear, y up and z out of
    the face; the unit is the face's width from ear to ear. Chin and top of the forehead have y of
    about -0.7 and 0.5, the crown of the head 0.9.

    Args:
        origin: float64 (3,) in pixels, depth included.
        axes: float64 (3, 3): unit vectors of x, y and z as rows, in the image's coordinates.
        scale: Pixels per unit.
    """

    origin: np.ndarray
    axes: np.ndarray
    scale: float

    @classmethod
    def from_landmarks(cls, landmarks: np.ndarray) -> HeadFrame:
        """Fits the frame to (478, 3) landmarks."""
        points = landmarks.astype(np.float64)
        across = np.mean([points[right] - points[left] for left, right in _ACROSS], axis=0)
        across /= np.linalg.norm(across)
        up = np.mean([points[top] - points[bottom] for bottom, top in _UP], axis=0)
        up -= across * (across @ up)
        up /= np.linalg.norm(up)
        out = np.cross(across, up)
        left_ear, right_ear = points[234], points[454]
        return cls(
            origin=(left_ear + right_ear) / 2,
            axes=np.stack([across, up, out]),
            scale=float(np.linalg.norm(right_ear - left_ear)),
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """Where points (n, 3) of the head are in the image: (n, 2), in pixels."""
        return self.origin[:2] + self.scale * np.asarray(points, float) @ self.axes[:, :2]


def region_masks(
    landmarks: np.ndarray,
    size: tuple[int, int] = ALIGNED_SIZE,
    image: np.ndarray | None = None,
) -> np.ndarray:
    """Masks of `REGIONS` for a face.

    Mouth, lower face, cheeks, nose and eyes (the hull of brow and eye on each side) follow the
    landmarks. Ears, hair and crown are extrapolated from the head's pose and, with the image,
    follow its colours.

    Args:
        landmarks: (478, 3) in pixels of the image, as `FaceLandmarker.detect` gives them.
        size: Height and width of the image.
        image: uint8 RGB (height, width, 3). Without it hair and ears are placed where they
            mostly are, and all heads have the same hair.

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
    ear = fill_polygons(_ear_outlines(frame), size) & ~oval
    shares = _segment_head(image, part(*_OVAL), frame, size)
    hair = shares[_HAIR] > (127 if image is not None else _MOSTLY_HAIR)
    if image is None:
        hair &= ~ear
    else:
        ear &= (shares[_SKIN] > shares[_HAIR]) & (shares[_OTHER] < 200)
    skull = fill_polygons([_outline(_CROWN, frame)], size) & (shares[_OTHER] < 128)
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
    """Packs the masks into one image: bit r of a pixel is set where region r is.

    Args:
        masks: bool (H, W, 8) in the order of `REGIONS`.

    Returns:
        uint8 (H, W).

    Raises:
        ValueError: `masks` has another shape or dtype, or there are more regions than bits.
    """
    if len(REGIONS) > 8:
        raise ValueError(
            f"REGIONS: expected at most 8 regions, one per bit of a pixel. Received: {len(REGIONS)}"
            ". Widen the records of pack_masks and unpack_masks before adding a region"
        )
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


def _segment_head(
    image: np.ndarray | None, oval: np.ndarray, frame: HeadFrame, size: tuple[int, int]
) -> np.ndarray:
    """Shares of other things, hair and skin at each pixel: uint8 (3, height, width), 255 = certain.

    Without the image, the prior from the pose alone. `oval` (n, 2) is the outline of the face.
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


def _ear_outlines(frame: HeadFrame) -> list[np.ndarray]:
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
    prior[:, face & above] = np.reshape(_UPPER_FACE_SHARES, (3, 1))
    prior[:, face & ~above] = np.reshape(_LOWER_FACE_SHARES, (3, 1))
    # Heads differ: the zones' borders are known to about a tenth of the face's width on each side.
    width = 2 * round(frame.scale / 8) + 1
    return uniform_filter(prior, (0, width, width), mode="nearest")


def _outline(half: Outline, frame: HeadFrame) -> np.ndarray:
    outline = np.array([*half, *((-x, y) for x, y in half[::-1])])
    return frame.project(np.column_stack([outline, np.zeros(len(outline))]))


def _follow_colours(image: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Expectation maximisation with one colour histogram for each of the three."""
    brightness = image[..., 0].astype(int) // (256 // _BINS)
    # Colours of skin and hair lie near grey: 6 steps per bin around the middle.
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
