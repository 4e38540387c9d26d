"""Faces that nobody has: the renderings of people turned into statues and drawings."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from far_keras.synthetic.regions import Region
from far_keras.synthetic.renderer import Rendering

__all__ = ["DRAWINGS", "STATUES", "drawing", "statue"]

Array = np.ndarray[Any, np.dtype[Any]]

STATUES: dict[str, tuple[float, float, float]] = {
    # sRGB of the material where it is lit. None is near any skin: nobody is to be taken for one.
    "marble": (0.86, 0.85, 0.82),
    "limestone": (0.66, 0.62, 0.54),
    "granite": (0.48, 0.47, 0.46),
    "verdigris": (0.38, 0.52, 0.46),
}
DRAWINGS = ("pencil", "ink", "cartoon")
PAPER = ((0.97, 0.96, 0.93), (0.93, 0.88, 0.76), (0.99, 0.99, 0.99), (0.80, 0.78, 0.74))
_CARVED = (
    *(Region.SKIN, Region.LIPS, Region.EYE, Region.EAR, Region.MOUTH_INSIDE, Region.HAIR),
    *(Region.BROW, Region.BEARD, Region.NECK, Region.NOSE, Region.CLOTHING, Region.HAT),
    *(Region.EARRING, Region.NECKLACE, Region.NECKTIE, Region.GLASSES),
)
_EVEN = 0.55  # level that the middle of each part is brought to
_MOST_GAIN = 3.0


def statue(rendering: Rendering, material: str, rng: np.random.Generator) -> Array:
    """The person carved or cast: the shading stays, all colour and paint go.

    Args:
        rendering: Of a person.
        material: A key of `STATUES`.
        rng: For the material's grain.

    Returns:
        (H, W, 3) uint8 sRGB; what is behind the person stays as it was.
    """
    level = _level(rendering)
    for region in _CARVED:
        here = rendering.regions == region
        if here.any():
            gain = _EVEN / max(float(np.median(level[here])), 0.02)
            level[here] *= np.clip(gain, 1 / _MOST_GAIN, _MOST_GAIN)
    eyes = rendering.regions == Region.EYE
    level[eyes] = _EVEN + 0.2 * (level[eyes] - _EVEN)
    grain = gaussian_filter(rng.normal(size=level.shape), rng.uniform(0.4, 1.2))
    stone = gaussian_filter(level, rng.uniform(0.5, 0.9)) / _EVEN + rng.uniform(0.02, 0.10) * grain
    carved = np.isin(rendering.regions, _CARVED)[..., None]
    colored = stone[..., None] * np.array(STATUES[material])
    return np.where(carved, _bytes(colored), rendering.image)


def drawing(rendering: Rendering, style: str, rng: np.random.Generator) -> Array:
    """The person drawn by hand: lines where the image is darker than its surroundings.

    Args:
        rendering: Of a person.
        style: One of `DRAWINGS`.
        rng: For paper and line.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    level = _level(rendering)
    around = gaussian_filter(level, rng.uniform(2.0, 5.0))
    lines = np.clip(level / np.maximum(around, 0.02), 0, 1)  # 1 where nothing is drawn
    paper = np.array(PAPER[int(rng.integers(len(PAPER)))])
    if style == "pencil":
        tone = 0.75 + 0.25 * gaussian_filter(level, 1.5) ** 0.5
        strokes = 1 + 0.06 * gaussian_filter(rng.normal(size=level.shape), (0.4, 2.0))
        return _bytes((0.12 + 0.88 * lines**2 * tone * strokes)[..., None] * paper)
    ink = 1 / (1 + np.exp(-(lines - rng.uniform(0.84, 0.92)) / 0.025))[..., None]
    if style == "ink":
        return _bytes((0.08 + 0.92 * ink) * paper)
    smooth = gaussian_filter(rendering.image / 255, (2.0, 2.0, 0))
    steps = int(rng.integers(3, 6))
    flat = (np.floor(smooth * steps) + 0.5) / steps
    vivid = flat.mean(2, keepdims=True) + rng.uniform(1.0, 1.6) * (
        flat - flat.mean(2, keepdims=True)
    )
    return _bytes((0.15 + 0.85 * ink) * vivid)


def _level(rendering: Rendering) -> Array:
    """(H, W) brightness in [0, 1]."""
    return rendering.image.astype(np.float64).mean(2) / 255


def _bytes(picture: Array) -> Array:
    return np.clip(255 * picture, 0, 255).astype(np.uint8)
