"""Where hair grows on the scalp of the rest head, with a soft and irregular edge."""

from __future__ import annotations

from typing import Any

import numpy as np

from far_keras.synthetic.parameters import Hair

__all__ = ["scalp_density"]

Array = np.ndarray[Any, np.dtype[Any]]

# Azimuth about the vertical axis x = 0, z = 0.5 in degrees (0 ahead, 90 over the ear), and the
# height at which hair ends there: forehead, temple, whiskers before the ear, ear, nape.
_AZIMUTH = (0, 12, 22, 34, 45, 54, 60, 64, 67, 75, 78, 98, 102, 115, 180)
_LOWER_EDGE = (
    8.0,
    8.0,
    8.02,
    8.02,
    7.92,
    7.74,
    7.52,
    7.32,
    7.14,
    7.1,
    7.38,
    7.38,
    6.98,
    6.76,
    6.66,
)
# How far a fully receded hairline is above it: the temples first, a tuft stays in the middle.
_RECESSION = (0.14, 0.2, 0.34, 0.42, 0.42, 0.26, 0.1, 0.03, 0, 0, 0, 0, 0, 0, 0)


def scalp_density(points: Array, hair: Hair, male: bool) -> Array:
    """How densely hair grows at points of the rest head.

    Args:
        points: (..., 3) on the rest head's skin.
        hair: `receding` moves the edge up at the temples and thins the crown beyond 0.6,
            `hairline` moves all of it, `thinning` bares the top; "bald" has none.
        male: Men's temples are more angular, women's hairline is lower and round.

    Returns:
        (...) float64 in [0, 1]; it falls to 0 over about a centimetre at the edge.
    """
    if hair.style == "bald":
        return np.zeros(points.shape[:-1])
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    azimuth = np.degrees(np.arctan2(x, z - 0.5))
    edge = np.interp(azimuth, _AZIMUTH, _LOWER_EDGE)
    edge += 0.11 * hair.hairline * np.interp(azimuth, (0, 35, 60), (1.0, 0.8, 0.0))
    edge += hair.receding * np.interp(azimuth, _AZIMUTH, _RECESSION)
    corner = np.exp(-(((azimuth - 36) / 9) ** 2))
    edge += corner * (0.05 if male else -0.05) - (0.05 if male else 0.09)
    if not male:  # no whiskers before the ears
        edge += 0.3 * np.exp(-(((azimuth - 71) / 7) ** 2))
    # An irregular edge: a few waves along the hairline that no comb would draw.
    signed = np.degrees(np.arctan2(points[..., 0], z - 0.5))
    edge += 0.014 * np.sin(signed * 0.31 + 1.0) + 0.01 * np.sin(signed * 0.83)
    softness = np.interp(azimuth, (0, 40, 60, 75, 100, 180), (0.12, 0.14, 0.2, 0.12, 0.1, 0.16))
    t = np.clip((y - edge) / softness, 0, 1)
    density = t * t * (3 - 2 * t)
    crown = np.clip((hair.receding - 0.6) / 0.4, 0, 1) * np.clip((y - 7.95) / 0.2, 0, 1)
    top = np.clip((y - 7.85) / 0.3, 0, 1)
    return density * (1 - crown) * (1 - 0.8 * hair.thinning * top)
