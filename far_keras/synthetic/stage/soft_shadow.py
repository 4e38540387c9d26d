"""The soft shadow that hair and hats cast on the face and the shoulders behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.framebuffer import SUPERSAMPLING
from far_keras.synthetic.stage.scene import Scene

__all__ = ["cast_shadow"]

Array = np.ndarray[Any, np.dtype[Any]]

RECEIVERS = np.zeros(256, bool)
RECEIVERS[
    [
        Region.SKIN,
        Region.CLOTHING,
        Region.LIPS,
        Region.EYE,
        Region.EAR,
        Region.NECK,
        Region.NOSE,
        Region.BROW,
        Region.BEARD,
    ]
] = True
_COARSE = 2 * SUPERSAMPLING


def cast_shadow(scene: Scene, shown: Array, *, reach: float, strength: float) -> None:
    """Darkens skin and cloth beside something that has just been drawn, away from the key light.

    Args:
        scene: The image so far.
        shown: (h, w) bool: where the thing shows; it does not shade itself.
        reach: Decimetres that the shadow falls.
        strength: 0 .. 1 of the light is taken away at most.
    """
    buffer = scene.framebuffer
    height, width = buffer.depth.shape
    mask = shown[::_COARSE, ::_COARSE].astype(np.float32)
    direction = scene.light.key[0]
    length = reach * scene.pixels_per_unit / _COARSE
    fall = np.array([0.35 + direction[1], -direction[0]]) * length * 0.55
    cast = gaussian_filter(shift(mask, fall, order=1, mode="nearest"), 0.28 * length)
    near = gaussian_filter(mask, 0.5 * length)
    dark = np.clip(0.75 * cast + 0.5 * near, 0, 1)
    rows = (np.arange(height) / _COARSE).clip(0, dark.shape[0] - 1.001)
    columns = (np.arange(width) / _COARSE).clip(0, dark.shape[1] - 1.001)
    i, j = rows.astype(int), columns.astype(int)
    fi, fj = (rows - i)[:, None].astype(np.float32), (columns - j)[None].astype(np.float32)
    across = dark[:, j] * (1 - fj) + dark[:, j + 1] * fj
    full = across[i] * (1 - fi) + across[i + 1] * fi
    full *= RECEIVERS[buffer.region] & ~shown
    # Light that skin scatters keeps shadows on it a little red.
    tint = np.array([0.9, 1.0, 1.03], np.float32) * strength
    buffer.color *= 1 - full[..., None] * tint
