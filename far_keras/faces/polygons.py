"""Filled outlines: the few plane figures that masks are made of."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["convex_hull", "fill_polygons"]


def convex_hull(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of (n, 2) points, in order around it (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})
    if len(ordered) < 3:
        return np.array(ordered).reshape(-1, 2)
    chains = []
    for line in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for x, y in line:
            while len(chain) > 1:
                (x0, y0), (x1, y1) = chain[-2:]
                if (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1])


def fill_polygons(polygons: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The union of filled polygons, borders included.

    Args:
        polygons: Arrays (n, 2) of x, y with whole numbers at pixel centres; fewer than two corners
            fill nothing.
        size: Height and width.

    Returns:
        bool (height, width).
    """
    height, width = size
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        if len(polygon) > 1:
            draw.polygon(np.asarray(polygon, float).ravel().tolist(), fill=255)
    return np.asarray(canvas) > 0
