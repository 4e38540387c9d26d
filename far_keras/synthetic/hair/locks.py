"""Locks of hair: which hairs belong together, how they clump, wave and curl."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["clump", "nearest_guide", "wave"]

Array = np.ndarray[Any, np.dtype[Any]]


@njit(cache=True, fastmath=True)
def nearest_guide(roots: Array, guides: int) -> Array:
    """(N,) index of the nearest of the first `guides` roots: the lock a hair belongs to."""
    count = roots.shape[0]
    owner = np.empty(count, np.int64)
    for s in range(count):
        best, at = 1e9, 0
        for g in range(guides):
            x = roots[s, 0] - roots[g, 0]
            y = roots[s, 1] - roots[g, 1]
            z = roots[s, 2] - roots[g, 2]
            d = x * x + y * y + z * z
            if d < best:
                best, at = d, g
        owner[s] = at
    return owner


@njit(cache=True, fastmath=True)
def clump(points: Array, owner: Array, strength: float, start: float) -> None:
    """Draws hairs (N, K, 3) towards the first hair of their lock, more so at the tips, in place.

    `strength` 0 .. 1 is reached at the tip; it begins at the fraction `start` of the length.
    """
    count, steps, _ = points.shape
    guides = owner.max() + 1
    lead = points[:guides].copy()
    for s in range(count):
        g = owner[s]
        if s == g:
            continue
        for k in range(1, steps):
            t = max(0.0, (k / (steps - 1.0) - start) / (1.0 - start))
            share = strength * t * (2.0 - t)
            for c in range(3):
                points[s, k, c] += (lead[g, k, c] - points[s, k, c]) * share


@njit(cache=True, fastmath=True)
def wave(
    points: Array, center: Array, amplitude: Array, frequency: Array, phase: Array, flat: float
) -> None:
    """Winds hairs (N, K, 3) around their own course, in place.

    Args:
        points: The hairs.
        center: (3,) of the head; waves lie in the plane of the skull's surface.
        amplitude: (N,) decimetres, reached after a few tenths of a decimetre.
        frequency: (N,) radians a decimetre.
        phase: (N,) radians.
        flat: 0 a full helix .. 1 waves within the surface only.
    """
    count, steps, _ = points.shape
    for s in range(count):
        travelled = 0.0
        qx, qy, qz = points[s, 0, 0], points[s, 0, 1], points[s, 0, 2]
        for k in range(1, steps):
            x, y, z = points[s, k, 0], points[s, k, 1], points[s, k, 2]
            tx, ty, tz = x - qx, y - qy, z - qz
            qx, qy, qz = x, y, z
            step = np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
            tx /= step
            ty /= step
            tz /= step
            travelled += step
            ux, uy, uz = x - center[0], y - center[1], z - center[2]
            norm = np.sqrt(ux * ux + uy * uy + uz * uz) + 1e-9
            ux /= norm
            uy /= norm
            uz /= norm
            bx, by, bz = ty * uz - tz * uy, tz * ux - tx * uz, tx * uy - ty * ux
            grown = amplitude[s] * (1.0 - np.exp(-2.5 * travelled))
            angle = phase[s] + frequency[s] * travelled
            side = grown * np.sin(angle)
            height = grown * (1.0 - flat) * (0.5 + 0.5 * np.cos(angle))
            points[s, k, 0] = x + bx * side + ux * height
            points[s, k, 1] = y + by * side + uy * height
            points[s, k, 2] = z + bz * side + uz * height
