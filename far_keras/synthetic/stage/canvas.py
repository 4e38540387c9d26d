"""Plain shapes on a square canvas: what backgrounds are painted with, before the lens blurs them.

Coordinates are in canvas widths, x to the right and y down, both 0 .. 1 within the canvas; colours
are linear RGB.
"""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.stage.noise import SIZE as NOISE_SIZE
from far_keras.synthetic.stage.noise import noise_texture

__all__ = ["CANVAS", "any_light", "blank", "box", "clouds", "disc", "ellipse", "line"]

CANVAS = 256  # pixels a side


def blank(color: np.ndarray) -> np.ndarray:
    """A canvas (256, 256, 3) of one colour."""
    return np.full((CANVAS, CANVAS, 3), color, np.float32)


def any_light(rng: np.random.Generator, low: float, high: float, chroma: float) -> np.ndarray:
    """A random linear colour (3,) of a brightness between `low` and `high`.

    Most surroundings lie between brown and blue; few are green or violet.
    """
    warm, violet = rng.normal(0.3 * chroma, 1.2 * chroma), rng.normal(0, 0.5 * chroma)
    tint = np.exp([warm + 0.5 * violet, -violet, 0.5 * violet - warm])
    return rng.uniform(low, high) * tint / tint.mean()


def clouds(rng: np.random.Generator, smoothness: float) -> np.ndarray:
    """Cloudy noise (256, 256), about -2 to 2."""
    row, column = rng.integers(0, NOISE_SIZE, 2)
    return np.roll(noise_texture(smoothness, 11), (row, column), (0, 1))


def box(
    canvas: np.ndarray, left: float, top: float, right: float, bottom: float, color: np.ndarray
) -> np.ndarray:
    """Fills an upright box; returns the part of the canvas (h, w, 3) that it covers, to go on."""
    x0, x1 = (int(np.clip(round(x * CANVAS), 0, CANVAS)) for x in (left, right))
    y0, y1 = (int(np.clip(round(y * CANVAS), 0, CANVAS)) for y in (top, bottom))
    part = canvas[y0:y1, x0:x1]
    part[:] = color
    return part


def _window(x: float, y: float, reach_x: float, reach_y: float) -> tuple[slice, slice]:
    columns = np.clip([(x - reach_x) * CANVAS - 1, (x + reach_x) * CANVAS + 2], 0, CANVAS)
    rows = np.clip([(y - reach_y) * CANVAS - 1, (y + reach_y) * CANVAS + 2], 0, CANVAS)
    return slice(*rows.astype(int)), slice(*columns.astype(int))


def ellipse(
    canvas: np.ndarray,
    x: float,
    y: float,
    radius_x: float,
    radius_y: float,
    color: np.ndarray,
    *,
    alpha: float = 1.0,
    round_light: float = 0.0,
    top: float = -1.0,
) -> None:
    """Blends an ellipse.

    Args:
        canvas: where.
        x, y: its centre.
        radius_x, radius_y: its half axes.
        color: linear RGB.
        alpha: opacity.
        round_light: how much darker its left (positive) or right (negative) side is, -1 .. 1.
        top: only what lies below this share of the half axis is drawn: -1 all, 0 the lower half.
    """
    window = _window(x, y, radius_x, radius_y)
    rows, columns = np.ogrid[window]
    u = (columns / CANVAS - x) / radius_x
    v = (rows / CANVAS - y) / radius_y
    soft = min(radius_x, radius_y) * CANVAS
    cover = np.clip((1 - np.hypot(u, v)) * soft + 0.5, 0, 1) * alpha * (v >= top)
    lit = (1 + round_light * np.clip(u, -1, 1))[..., None]
    part = canvas[window]
    part += cover[..., None].astype(np.float32) * (color * lit - part)


def disc(
    canvas: np.ndarray, x: float, y: float, radius: float, color: np.ndarray, alpha: float
) -> None:
    """Blends a disc: a point of light out of focus."""
    ellipse(canvas, x, y, radius, radius, color, alpha=alpha)


def line(
    canvas: np.ndarray,
    start: tuple[float, float],
    end: tuple[float, float],
    width: float,
    color: np.ndarray,
) -> None:
    """Draws a straight line with square ends: poles, branches, railings."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    length = max(np.hypot(dx, dy), 1e-6)
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    window = _window(*middle, abs(dx) / 2 + width, abs(dy) / 2 + width)
    rows, columns = np.ogrid[window]
    px, py = columns / CANVAS - middle[0], rows / CANVAS - middle[1]
    across = np.abs(px * dy - py * dx) / length
    along = np.abs(px * dx + py * dy) / length
    cover = np.clip((width / 2 - across) * CANVAS + 0.5, 0, 1)
    cover = cover * np.clip((length / 2 - along) * CANVAS + 0.5, 0, 1)
    part = canvas[window]
    part += cover[..., None].astype(np.float32) * (color - part)
