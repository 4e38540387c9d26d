"""Light on hairs: Kajiya and Kay's model with two shifted highlights and cheap self-shadowing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["shade_hairs", "strand_colors"]

Array = np.ndarray[Any, np.dtype[Any]]

# Not even black hair is black: it reflects a little of everything, warm at that.
_DARKEST = np.array([0.014, 0.011, 0.010])


def strand_colors(color: Array, owner: Array, rng: np.random.Generator) -> Array:
    """Natural variation of one hair colour over strands and locks.

    Args:
        color: (3,) linear RGB.
        owner: (N,) the lock of each strand.
        rng: Source of the variation.

    Returns:
        (N, 3) linear RGB. Grey hair is a mixture of dark and white strands.
    """
    base = np.maximum(np.asarray(color, float), _DARKEST)
    saturation = 1 - base.min() / base.max()
    grey = np.clip((0.35 - saturation) / 0.2, 0, 1) * np.clip((base.mean() - 0.06) / 0.06, 0, 1)
    spread = 0.2 + 0.22 * grey
    locks = rng.normal(0, 0.11, owner.max() + 1)
    brightness = np.exp(rng.normal(0, spread, len(owner)) + locks[owner] - spread**2 / 2)
    warmth = rng.normal(0, 0.05, (len(owner), 1)) * np.array([1.0, 0.1, -1.0])
    return np.clip(base * brightness[:, None] * (1 + warmth), 0.004, 0.98)


@njit(cache=True, fastmath=True)
def shade_hairs(
    points: Array,
    colors: Array,
    tips: Array,
    depth: Array,
    root_shade: float,
    center: Array,
    rotation: Array,
    key: Array,
    fill: Array,
    rim: Array,
    ambient: Array,
) -> Array:
    """Linear RGB of hairs under the shot's light.

    Args:
        points: (N, K, 3) in the head's frame.
        colors, tips: (N, 3) albedo at the root and at the tip.
        depth: (N,) 0 for hairs of the innermost layer .. 1 outermost: inner ones are darker.
        root_shade: Brightness at the root, relative to the rest of the hair.
        center: (3,) of the head.
        rotation: (3, 3) from the head's frame to the camera's.
        key, fill, rim: (2, 3) each, as in `lighting.Lighting`: direction and colour.
        ambient: (3,) linear RGB.

    Returns:
        (N, K, 3) float32.
    """
    count, steps, _ = points.shape
    out = np.empty((count, steps, 3), np.float32)
    lx, ly, lz = key[0, 0], key[0, 1], key[0, 2]
    hx, hy, hz = lx, ly, lz + 1.0
    norm = np.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx / norm, hy / norm, hz / norm
    r = rotation
    for s in range(count):
        layer = 0.55 + 0.45 * depth[s]
        for k in range(steps):
            a = k if k < steps - 1 else k - 1
            tx = points[s, a + 1, 0] - points[s, a, 0]
            ty = points[s, a + 1, 1] - points[s, a, 1]
            tz = points[s, a + 1, 2] - points[s, a, 2]
            norm = np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
            tx, ty, tz = tx / norm, ty / norm, tz / norm
            x = points[s, k, 0] - center[0]
            y = points[s, k, 1] - center[1]
            z = points[s, k, 2] - center[2]
            across = np.sqrt(x * x + z * z)
            # Hanging hair faces outwards, not down.
            ny = max(y, 0.0)
            norm = np.sqrt(x * x + ny * ny + z * z) + 1e-9
            nx, ny, nz = x / norm, ny / norm, z / norm
            ux = r[0, 0] * tx + r[0, 1] * ty + r[0, 2] * tz
            uy = r[1, 0] * tx + r[1, 1] * ty + r[1, 2] * tz
            uz = r[2, 0] * tx + r[2, 1] * ty + r[2, 2] * tz
            vx = r[0, 0] * nx + r[0, 1] * ny + r[0, 2] * nz
            vy = r[1, 0] * nx + r[1, 1] * ny + r[1, 2] * nz
            vz = r[2, 0] * nx + r[2, 1] * ny + r[2, 2] * nz
            facing = min(1.0, max(0.0, (vz + 0.45) / 0.6))
            inside = 0.22 + 0.78 * facing * facing * (3.0 - 2.0 * facing)
            if y < -0.75:
                neck = min(1.0, max(0.0, (across - 0.35) / 0.45))
                inside *= 0.45 + 0.55 * neck
            t = k / (steps - 1.0)
            faded = min(1.0, max(0.0, 2.2 * t - 0.6))
            root = root_shade + (1.0 - root_shade) * min(1.0, 3.5 * t)
            shadow = min(1.0, max(0.06, 0.42 + 0.62 * (vx * lx + vy * ly + vz * lz)))
            other = vx * fill[0, 0] + vy * fill[0, 1] + vz * fill[0, 2]
            other = min(1.0, max(0.05, 0.4 + 0.6 * other))
            along_light = ux * lx + uy * ly + uz * lz
            diffuse = np.sqrt(max(0.0, 1.0 - along_light * along_light))
            along_half = ux * hx + uy * hy + uz * hz
            # The cuticle's tilt shifts the white highlight to the root, the coloured to the tip.
            first = along_half + 0.09
            second = along_half - 0.12
            white = max(0.0, 1.0 - first * first) ** 55
            tinted = max(0.0, 1.0 - second * second) ** 14
            edge = max(0.0, 1.0 - abs(vz)) ** 2
            edge *= max(0.0, vx * rim[0, 0] + vy * rim[0, 1] + vz * rim[0, 2])
            dim = inside * layer * root
            sheen = dim * shadow * layer
            for c in range(3):
                albedo = colors[s, c] + faded * (tips[s, c] - colors[s, c])
                light = (
                    key[1, c] * diffuse * shadow * 0.8
                    + fill[1, c] * other * 0.8
                    + ambient[c] * (0.7 + 0.25 * vy)
                )
                shine = key[1, c] * sheen * (0.05 * white + 0.5 * albedo * tinted)
                out[s, k, c] = (
                    albedo * light * dim + shine + edge * rim[1, c] * (0.03 + 0.3 * albedo)
                )
    return out
