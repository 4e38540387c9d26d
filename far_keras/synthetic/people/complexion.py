"""The colour of skin and bare lips, by melanin and blood."""

from __future__ import annotations

import numpy as np

__all__ = ["lip_color", "skin_tone"]

# sRGB of evenly lit skin, by melanin from none to most.
MELANIN = (0.0, 0.15, 0.35, 0.55, 0.75, 0.9, 1.0)
TONES = (
    (230, 194, 177),
    (220, 176, 150),
    (203, 155, 122),
    (168, 117, 83),
    (124, 81, 55),
    (88, 56, 40),
    (64, 41, 31),
)


def _linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB values in [0, 1] to linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def skin_tone(melanin: float, redness: float = 0.4) -> np.ndarray:
    """Linear albedo (3,) float32 of the skin of a forehead.

    Args:
        melanin: 0 very pale .. 1 very dark.
        redness: 0 sallow .. 1 ruddy.
    """
    tone = np.array([np.interp(melanin, MELANIN, channel) for channel in zip(*TONES, strict=True)])
    ruddy = redness - 0.4
    tint = np.array([1 + 0.02 * ruddy, 1 - 0.10 * ruddy, 1 - 0.06 * ruddy])
    return (_linear(tone / 255) * tint).astype(np.float32)


def lip_color(tone: np.ndarray, depth: float) -> np.ndarray:
    """Linear albedo (3,) of bare lips on skin of a tone (3,).

    Args:
        tone: from `skin_tone`.
        depth: 0 hardly redder than the skin .. 1 deep red.
    """
    faint, deep = np.array([0.90, 0.70, 0.69]), np.array([0.72, 0.36, 0.38])
    # Where melanin darkens the skin, lips are pinker than it.
    pink = depth * max(0.0, 0.35 - float(tone[0])) * np.array([0.20, 0.06, 0.07])
    return np.asarray(tone * (faint + (deep - faint) * depth) + pink, np.float32)
