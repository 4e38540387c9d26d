"""Growth of hairs over the head: they leave their roots, lie on the skull and fall.

Everything happens in the head's frame (decimetres, x to the image's right, y up, z towards the
camera for a frontal face), so that a person's hair keeps its shape when the head turns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from far_keras.synthetic.head.form import BODY_CELL, BODY_X, BODY_Z

__all__ = ["grow", "press"]

Array = np.ndarray[Any, np.dtype[Any]]


@njit(cache=True, fastmath=True, inline="always")
def _radius(radii: Array, x: float, y: float, z: float, r: float) -> float:
    """Bilinear look-up of the skin's distance in direction (x, y, z) / r."""
    rows, columns = radii.shape
    i = np.arccos(min(1.0, max(-1.0, y / r))) / np.pi * (rows - 1)
    j = (np.arctan2(x, z) + np.pi) / (2 * np.pi) * (columns - 1)
    i0 = min(int(i), rows - 2)
    j0 = min(int(j), columns - 2)
    fi = i - i0
    fj = j - j0
    upper = radii[i0, j0] * (1 - fj) + radii[i0, j0 + 1] * fj
    lower = radii[i0 + 1, j0] * (1 - fj) + radii[i0 + 1, j0 + 1] * fj
    return upper * (1 - fi) + lower * fi


@njit(cache=True, fastmath=True, inline="always")
def _shoulder(shoulders: Array, x: float, z: float) -> tuple[float, float, float]:
    """Height of the body's surface below (x, z) and its slopes along x and z."""
    rows, columns = shoulders.shape
    i = (z - BODY_Z) / BODY_CELL
    j = (x - BODY_X) / BODY_CELL
    if i < 0 or j < 0 or i >= rows - 1 or j >= columns - 1:
        return -9.0, 0.0, 0.0
    i0, j0 = int(i), int(j)
    fi, fj = i - i0, j - j0
    a, b = shoulders[i0, j0], shoulders[i0, j0 + 1]
    c, d = shoulders[i0 + 1, j0], shoulders[i0 + 1, j0 + 1]
    height = (a * (1 - fj) + b * fj) * (1 - fi) + (c * (1 - fj) + d * fj) * fi
    slope_x = ((b - a) * (1 - fi) + (d - c) * fi) / BODY_CELL
    slope_z = ((c - a) * (1 - fj) + (d - b) * fj) / BODY_CELL
    return height, slope_x, slope_z


@njit(cache=True, fastmath=True)
def grow(
    roots: Array,
    directions: Array,
    lengths: Array,
    lifts: Array,
    cling: Array,
    weight: Array,
    face_edge: Array,
    sideways: Array,
    center: Array,
    radii: Array,
    neck: Array,
    shoulders: Array,
    steps: int,
    cling_until: float,
) -> Array:
    """Polylines of hairs that lie on the head as long as it carries them, then fall.

    Args:
        roots: (N, 3) points on the skin, in the skull's frame of `HeadForm`, as all that follows.
        directions: (N, 3) unit vectors along which the hairs leave the skin.
        lengths: (N,) decimetres.
        lifts: (N,) height above the skin at which each hair comes to lie.
        cling: (N,) 0: free, may stand off .. 1: lies on its layer above `cling_until`.
        weight: (N,) pull of gravity, about 0 (stiff) to 6 (limp).
        face_edge: (N,) z before which hairs beside the face are drawn back, so that it stays open
            (the edge leans forward towards the hairline); a large number for fringes.
        sideways: (N,) z-pull below the jaw: positive falls before the shoulders.
        center: (3,) `SKULL_CENTER`.
        radii, neck, shoulders: of the `HeadForm`.
        steps: Points a hair, at least 2.
        cling_until: Height (y) below which hairs fall freely.

    Returns:
        (N, steps, 3) points.
    """
    count = roots.shape[0]
    out = np.empty((count, steps, 3))
    for s in range(count):
        px, py, pz = roots[s, 0], roots[s, 1], roots[s, 2]
        dx, dy, dz = directions[s, 0], directions[s, 1], directions[s, 2]
        step = lengths[s] / (steps - 1)
        rise = max(0.05, 2.5 * lifts[s])
        out[s, 0, 0], out[s, 0, 1], out[s, 0, 2] = px, py, pz
        for k in range(1, steps):
            # Stiff at the root: the hair first goes where it was combed to.
            dy -= weight[s] * step * min(1.0, 0.25 + 1.5 * k * step)
            if py < 8.15:
                over = pz - face_edge[s] - 0.75 * max(0.0, py - 7.45)
                if over > 0.0:
                    dz -= 22.0 * step * min(over, 0.4)
            if py < 7.4:
                # Hanging hair comes to rest, closes in under the ears a little, and falls before
                # or behind the shoulders.
                dx -= 2.5 * step * dx
                out_x = px - center[0]
                if abs(out_x) > 0.62 and py < 7.0:
                    dx -= 0.16 * step * (1.0 if out_x > 0 else -1.0) * weight[s]
                if py < 6.75:
                    dz += sideways[s] * step
            norm = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz + 1e-12)
            dx *= norm
            dy *= norm
            dz *= norm
            px += dx * step
            py += dy * step
            pz += dz * step
            x, y, z = px - center[0], py - center[1], pz - center[2]
            r = np.sqrt(x * x + y * y + z * z)
            floor = _radius(radii, x, y, z, r)
            lift = lifts[s] * (1.0 - np.exp(-k * step / rise)) + 0.004
            target = floor + lift
            hold = 0.0
            if r < target:
                hold = 1.0
            elif cling[s] > 0:
                hold = cling[s] * min(1.0, max(0.0, (py - cling_until + 0.15) / 0.3))
            if hold > 0:
                ux, uy, uz = x / r, y / r, z / r
                r_new = r + (target - r) * hold
                px = center[0] + ux * r_new
                py = center[1] + uy * r_new
                pz = center[2] + uz * r_new
                out_speed = dx * ux + dy * uy + dz * uz
                if r < target:
                    out_speed = min(out_speed, 0.0)
                dx -= ux * out_speed * hold
                dy -= uy * out_speed * hold
                dz -= uz * out_speed * hold
            if py < 6.8:
                # Outside the neck, an upright elliptical cylinder, and above the shoulders.
                ex, ez = px / neck[0], (pz - neck[1]) / neck[2]
                inside = ex * ex + ez * ez
                if 1e-6 < inside < 1.0:
                    outwards = 1.0 / np.sqrt(inside)
                    px *= outwards
                    pz = neck[1] + (pz - neck[1]) * outwards
                if py < 6.3:
                    height, slope_x, slope_z = _shoulder(shoulders, px, pz)
                    slope_x *= 0.3
                    under = height + 0.5 * lifts[s] + 0.02 - py
                    if under > 0.0:
                        norm = 1.0 / np.sqrt(1.0 + slope_x * slope_x + slope_z * slope_z)
                        ux, uy, uz = -slope_x * norm, norm, -slope_z * norm
                        under = min(under, 0.3) * norm
                        px += ux * under
                        py += uy * under
                        pz += uz * under
                        into = min(0.0, dx * ux + dy * uy + dz * uz)
                        dx -= ux * into
                        dy -= uy * into
                        dz -= uz * into
            out[s, k, 0], out[s, k, 1], out[s, k, 2] = px, py, pz
    return out


@njit(cache=True, fastmath=True)
def press(
    points: Array, center: Array, radii: Array, normal: Array, offset: float, height: float
) -> None:
    """Presses hairs (N, K, 3) flat under a hat, in place.

    Above the plane of the hat's rim (`normal` (3,) and `offset`) hairs come to lie no higher than
    `height` over the skin; below it they are let free over a quarter of a decimetre.
    """
    count, steps, _ = points.shape
    for s in range(count):
        for k in range(steps):
            x, y, z = points[s, k, 0], points[s, k, 1], points[s, k, 2]
            above = x * normal[0] + y * normal[1] + z * normal[2] - offset
            if above < -0.25:
                continue
            x, y, z = x - center[0], y - center[1], z - center[2]
            r = np.sqrt(x * x + y * y + z * z)
            free = max(0.0, -above / 0.25)
            most = _radius(radii, x, y, z, r) + height + 0.5 * free * free
            if r > most:
                scale = most / r
                points[s, k, 0] = center[0] + x * scale
                points[s, k, 1] = center[1] + y * scale
                points[s, k, 2] = center[2] + z * scale
