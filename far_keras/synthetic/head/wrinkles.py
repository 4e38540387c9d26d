"""Wrinkles and spots of a face, painted on a map of its front: grooves that light falls into."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from far_keras.synthetic.head.morphs import old_fraction
from far_keras.synthetic.parameters import Expression, Person

__all__ = ["DetailMap", "detail_map"]

LEFT, TOP = -1.0, 8.5  # rest coordinates of the map's first texel
TEXELS = 128  # per decimetre
WIDTH, HEIGHT = 256, 384
KNOTS = 12  # points of a stroke
DEPTH = 1.6  # of all grooves
SOFTNESS = 1.2  # of all grooves' width


@dataclass(frozen=True, eq=False)
class DetailMap:
    """Small detail over the rest head's front, x from -1 to 1 and y from 5.5 to 8.5."""

    height: np.ndarray  # (384, 256) float32 height of the skin, decimetres; grooves are negative
    pigment: np.ndarray  # (384, 256) float32 darkening: moles, age spots, freckles

    def at(self, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Height, its slopes along x and y, and pigment, (F,) float32 each, at rest coordinates."""
        out = np.zeros((len(rest), 4), np.float32)
        _sample(self.height, self.pigment, rest, out)
        return out[:, 0], out[:, 1], out[:, 2], out[:, 3]


@numba.njit(cache=True, fastmath=True)
def _sample(height, pigment, rest, out):  # pragma: no cover
    for i in range(rest.shape[0]):
        x, y = (rest[i, 0] - LEFT) * TEXELS, (TOP - rest[i, 1]) * TEXELS
        c, r = int(x), int(y)
        if rest[i, 2] < 0.35 or c < 1 or r < 1 or c >= WIDTH - 2 or r >= HEIGHT - 2:
            continue
        fx, fy = x - c, y - r
        a, b = height[r, c], height[r, c + 1]
        d, e = height[r + 1, c], height[r + 1, c + 1]
        out[i, 0] = (a + fx * (b - a)) * (1 - fy) + (d + fx * (e - d)) * fy
        out[i, 1] = ((b - a) * (1 - fy) + (e - d) * fy) * TEXELS
        out[i, 2] = -((d - a) * (1 - fx) + (e - b) * fx) * TEXELS
        out[i, 3] = pigment[r, c] * (1 - fy) + pigment[r + 1, c] * fy


@numba.njit(cache=True, fastmath=True)
def _paint(field, points, amount, sigma):  # pragma: no cover
    """Adds lines (S, K, 2) with a Gaussian profile; `amount` (S, K), `sigma` (S,) decimetres.

    Every texel takes the profile of the line's nearest point: bends leave no seams.
    """
    for s in range(points.shape[0]):
        radius = 3 * sigma[s] * TEXELS
        inverse = 1.0 / (sigma[s] * TEXELS) ** 2
        x, y = (points[s, :, 0] - LEFT) * TEXELS, (TOP - points[s, :, 1]) * TEXELS
        for r in range(max(int(y.min() - radius), 0), min(int(y.max() + radius) + 2, HEIGHT)):
            for c in range(max(int(x.min() - radius), 0), min(int(x.max() + radius) + 2, WIDTH)):
                nearest, value = radius * radius, 0.0
                for k in range(points.shape[1] - 1):
                    dx, dy = x[k + 1] - x[k], y[k + 1] - y[k]
                    t = ((c - x[k]) * dx + (r - y[k]) * dy) / max(dx * dx + dy * dy, 1e-6)
                    t = min(max(t, 0.0), 1.0)
                    px, py = c - x[k] - t * dx, r - y[k] - t * dy
                    square = px * px + py * py
                    if square < nearest:
                        nearest = square
                        value = amount[s, k] + t * (amount[s, k + 1] - amount[s, k])
                if value != 0.0:
                    field[r, c] += value * np.exp(-0.5 * nearest * inverse)


class _Strokes:
    """Collects grooves: smooth curves through a few points, tapered, slightly irregular."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.strokes: list[tuple[np.ndarray, np.ndarray, float]] = []  # points, depths, width

    def add(self, knots: list[tuple[float, float]], depth: float, width: float) -> None:
        """A groove `depth` deep (decimetres) along a curve through `knots`."""
        t = np.linspace(0, 1, KNOTS)
        given = np.array(knots) + self.rng.normal(0, 0.007, (len(knots), 2))
        at = np.linspace(0, 1, len(given))
        degree = min(2, len(given) - 1)
        curve = [np.polyval(np.polyfit(at, given[:, axis], degree), t) for axis in (0, 1)]
        waver = np.cumsum(self.rng.normal(0, 0.0014, (KNOTS, 2)), 0)
        taper = np.sin(np.pi * np.clip(t, 0.02, 0.98)) ** 0.7
        uneven = 1 + 0.18 * np.sin(t * self.rng.uniform(6, 14) + self.rng.uniform(0, 6))
        depths = -DEPTH * depth * taper * uneven
        self.strokes.append((np.stack(curve, 1) + waver, depths, SOFTNESS * width))

    def add_pair(self, knots: list[tuple[float, float]], depth: float, width: float) -> None:
        """The same groove on both sides of the face."""
        self.add(knots, depth * self.rng.uniform(0.85, 1.15), width)
        self.add([(-x, y) for x, y in knots], depth * self.rng.uniform(0.85, 1.15), width)

    def paint(self, field: np.ndarray) -> None:
        points, depths, widths = map(np.array, zip(*self.strokes, strict=True))
        _paint(field, points, depths, widths)
        # The flesh next to a fold bulges.
        _paint(field, points, -0.35 * depths, 2.6 * widths)


def _folds(strokes: _Strokes, person: Person, expression: Expression) -> None:
    """Grooves of a face, as deep as age and expression make them."""
    rng, smile, cheek = strokes.rng, expression.smile, person.skin.smile_folds
    raise_, lower = max(0.0, expression.brow_raise), max(0.0, -expression.brow_raise)
    old = old_fraction(person.age) * (2.1 - 0.8 * person.face.masculinity)  # fine skin folds more
    for y in np.linspace(7.60, 7.92, int(rng.integers(3, 6))):
        tilt = rng.uniform(-0.015, 0.015)
        half = rng.uniform(0.28, 0.46)
        bend = rng.uniform(0.0, 0.035)
        line = [(-half, y - tilt), (-half / 2, y + bend), (half / 2, y + bend), (half, y + tilt)]
        depth = 0.0056 * max(old * rng.uniform(0.6, 1.2), 0.0) + 0.003 * raise_
        strokes.add(line, depth, 0.013)
    for side in (-1, 1):
        frown = [(side * 0.06, 7.40), (side * 0.055, 7.47), (side * 0.07, 7.56)]
        strokes.add(frown, 0.0035 * old + 0.004 * lower, 0.012)
    for angle in np.linspace(-38, 32, 5):
        a = np.radians(angle + rng.uniform(-5, 5))
        start, end = 0.025, rng.uniform(0.10, 0.19)
        foot = [
            (0.475 + start * np.cos(a), 7.27 + start * np.sin(a)),
            (0.475 + 0.6 * end * np.cos(a), 7.27 + 0.55 * end * np.sin(a)),
            (0.475 + end * np.cos(a), 7.26 + 0.9 * end * np.sin(a)),
        ]
        strokes.add_pair(foot, 0.0042 * old + 0.0022 * smile, 0.009)
    strokes.add_pair(
        [(0.185, 7.22), (0.25, 7.165), (0.34, 7.14), (0.45, 7.19)], 0.0010 + 0.0046 * old, 0.010
    )
    strokes.add_pair(
        [(0.16, 7.19), (0.23, 7.10), (0.33, 7.055), (0.44, 7.09)], 0.0006 + 0.0064 * old, 0.015
    )
    strokes.add_pair(
        [(0.195, 6.95), (0.26, 6.86), (0.32, 6.74), (0.35, 6.60)],
        0.0010 + 0.0024 * cheek + 0.0125 * old + (0.003 + 0.005 * cheek) * smile,
        0.022,
    )
    if cheek * smile > 0.3:  # the bracket next to the mouth's corner
        bracket = [(0.36, 6.78), (0.42, 6.66), (0.41, 6.52)]
        strokes.add_pair(bracket, 0.006 * (cheek * smile - 0.2), 0.022)
    strokes.add_pair([(0.275, 6.60), (0.295, 6.50), (0.31, 6.38)], 0.0095 * old, 0.019)
    strokes.add([(-0.16, 6.43), (0.0, 6.45), (0.16, 6.43)], 0.0012 + 0.003 * old, 0.016)
    if old > 0.25:
        for x in np.linspace(-0.21, 0.21, 11):
            strokes.add([(x, 6.735), (x * 1.08, 6.80)], 0.0022 * (old - 0.25), 0.007)
        for offset in (0.0, 0.07, 0.13):
            cheek_line = [(0.40 + offset, 7.0), (0.43 + offset, 6.82), (0.38 + offset, 6.6)]
            strokes.add_pair(cheek_line, 0.0038 * (old - 0.25) * rng.uniform(0.3, 1.2), 0.013)
        strokes.add_pair([(0.36, 6.50), (0.45, 6.48), (0.52, 6.56)], 0.006 * (old - 0.25), 0.022)
    for y in (6.10, 5.98, 5.86):
        depth = 0.0006 + 0.0050 * old * rng.uniform(0.5, 1.1)
        strokes.add([(-0.36, y + 0.05), (0.0, y), (0.36, y + 0.05)], depth, 0.012)
    if old > 0.4:
        strokes.add_pair([(0.10, 6.2), (0.12, 6.0), (0.10, 5.8)], 0.008 * (old - 0.4), 0.022)


def _spots(person: Person, rng: np.random.Generator) -> np.ndarray:
    """Moles, freckles and age spots as short dots, painted over the whole face."""
    field = np.zeros((HEIGHT, WIDTH), np.float32)

    def dots(count: int, low: tuple[float, float], high: tuple[float, float], size: float,
             amount: float) -> None:  # fmt: skip
        if count == 0:
            return
        at = rng.uniform(low, high, (count, 2))
        points = np.stack([at, at + rng.normal(0, size * 0.5, at.shape)], 1)
        amounts = np.repeat(amount * rng.uniform(0.3, 1, (count, 1)), 2, 1)
        _paint(field, points, amounts, size * rng.uniform(0.5, 1.3, count))

    old = old_fraction(person.age)
    dots(int(rng.poisson(10 * person.skin.moles**1.5)), (-0.6, 6.1), (0.6, 7.9), 0.010, 1.0)
    dots(int(220 * person.freckles), (-0.55, 6.8), (0.55, 7.2), 0.009, 0.35)
    dots(int(80 * max(old - 0.3, 0)), (-0.75, 6.3), (0.75, 8.3), 0.025, 0.4)
    return field


def detail_map(person: Person, expression: Expression) -> DetailMap:
    """Paints a person's wrinkles, as deep as age and expression make them, and spots."""
    rng = np.random.default_rng([person.face.variation_seed, 2])
    height = np.zeros((HEIGHT, WIDTH), np.float32)
    strokes = _Strokes(rng)
    _folds(strokes, person, expression)
    strokes.paint(height)
    return DetailMap(height, _spots(person, rng))
