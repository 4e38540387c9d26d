"""The framebuffer, and the scan conversion of triangles and strands (lines with a width) into it.

Screen coordinates are pixels of the supersampled image, x to the right, y down, integers at pixel
centres; depth is the distance along the viewing axis, smaller is nearer.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from far_keras.faces.region_map import Region

__all__ = ["SUPERSAMPLING", "Framebuffer", "rasterize"]


@numba.njit(cache=True, fastmath=True)
def rasterize(points, triangles, depth, index, barycentric):  # pragma: no cover
    """Writes the nearest triangle of every pixel into a geometry buffer.

    Args:
        points: (N, 3) float32, projected vertices: x, y, depth.
        triangles: (T, 3) int32.
        depth: (h, w) float32, read and written; infinity where nothing is.
        index: (h, w) int32, written: the triangle's number.
        barycentric: (h, w, 2) float32, written: weights of the triangle's first two vertices.
    """
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
        x1, y1, z1 = points[b, 0], points[b, 1], points[b, 2]
        x2, y2, z2 = points[c, 0], points[c, 1], points[c, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9 or not math.isfinite(area):
            continue
        left = max(math.ceil(min(x0, x1, x2)), 0)
        right = min(math.floor(max(x0, x1, x2)), width - 1)
        top = max(math.ceil(min(y0, y1, y2)), 0)
        bottom = min(math.floor(max(y0, y1, y2)), height - 1)
        scale = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w0 = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) * scale
                w1 = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) * scale
                w2 = 1.0 - w0 - w1
                if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                    continue
                z = w0 * z0 + w1 * z1 + w2 * z2
                if z < depth[y, x]:
                    depth[y, x] = z
                    index[y, x] = t
                    barycentric[y, x, 0] = w0
                    barycentric[y, x, 1] = w1


@numba.njit(cache=True, fastmath=True, inline="always")
def _hidden(x, y, z, dx, dy, dz, bias, depth):  # pragma: no cover
    """Whether both ends and the middle of a short line lie behind what is drawn already."""
    height, width = depth.shape
    for step in range(3):
        t = 0.5 * step
        column, row = int(x + t * dx + 0.5), int(y + t * dy + 0.5)
        if 0 <= column < width and 0 <= row < height and z + t * dz - bias < depth[row, column]:
            return False
    return True


@numba.njit(cache=True, fastmath=True)
def blend_triangles(
    index, barycentric, triangles, colors, alphas, region, before, depth, color, regions
):  # pragma: no cover
    """Colours a geometry buffer from the colours (N, 3) and alphas (N,) of the vertices.

    Where alpha is over 0.5, `region` is written; elsewhere depth goes back to what it was `before`.
    """
    for y in range(index.shape[0]):
        for x in range(index.shape[1]):
            t = index[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w0, w1 = barycentric[y, x, 0], barycentric[y, x, 1]
            w2 = np.float32(1.0) - w0 - w1
            alpha = w0 * alphas[a] + w1 * alphas[b] + w2 * alphas[c]
            for k in range(3):
                value = w0 * colors[a, k] + w1 * colors[b, k] + w2 * colors[c, k]
                color[y, x, k] += alpha * (value - color[y, x, k])
            if alpha > 0.5:
                regions[y, x] = region
            else:
                depth[y, x] = before[y, x]


@numba.njit(cache=True, fastmath=True)
def average_samples(color, regions, step, out_color, out_regions):  # pragma: no cover
    """Downsamples by `step`: mean colours, and the commonest region (the first in a tie)."""
    scale = np.float32(1.0 / (step * step))
    votes = np.zeros(256, np.int32)
    for y in range(out_regions.shape[0]):
        for x in range(out_regions.shape[1]):
            best, winner = 0, 0
            for k in range(3):
                out_color[y, x, k] = 0.0
            for dy in range(step):
                for dx in range(step):
                    region = regions[y * step + dy, x * step + dx]
                    votes[region] += 1
                    for k in range(3):
                        out_color[y, x, k] += color[y * step + dy, x * step + dx, k] * scale
            for dy in range(step):
                for dx in range(step):
                    region = regions[y * step + dy, x * step + dx]
                    if votes[region] > best:
                        best, winner = votes[region], region
            for dy in range(step):
                for dx in range(step):
                    votes[regions[y * step + dy, x * step + dx]] = 0
            out_regions[y, x] = winner


@numba.njit(cache=True, fastmath=True)
def blend_strands(
    points, colors, widths, alphas, region, bias, depth, color, coverage, regions
):  # pragma: no cover
    """Draws polylines (S, K, 3) over the image, in order, with soft edges.

    A pixel is covered by the strand's alpha times how much of the pixel's width the line takes; it
    is drawn where the line is nearer than `depth` + `bias`. Where the lines of one call cover more
    than half of a pixel (`coverage`, zeros at first), `regions` gets `region` and `depth` the
    line's depth.
    """
    height, width = depth.shape
    count, knots = points.shape[0], points.shape[1]
    for s in range(count):
        for k in range(knots - 1):
            x0, y0, z0 = points[s, k, 0], points[s, k, 1], points[s, k, 2]
            dx, dy = points[s, k + 1, 0] - x0, points[s, k + 1, 1] - y0
            dz = points[s, k + 1, 2] - z0
            length2 = dx * dx + dy * dy
            if not math.isfinite(length2) or length2 > 1e6:
                continue
            reach = 0.5 * max(widths[s, k], widths[s, k + 1]) + 0.5
            left = max(math.ceil(min(x0, x0 + dx) - reach), 0)
            right = min(math.floor(max(x0, x0 + dx) + reach), width - 1)
            top = max(math.ceil(min(y0, y0 + dy) - reach), 0)
            bottom = min(math.floor(max(y0, y0 + dy) + reach), height - 1)
            if right < left or bottom < top:
                continue
            if length2 < 400.0 and _hidden(x0, y0, z0, dx, dy, dz, bias, depth):
                continue
            inverse = 1.0 / max(length2, 1e-9)
            # Only the part of each row that the line can reach: diagonals would fill their box.
            across = 1.42 * reach * math.sqrt(length2) / max(abs(dy), 1e-6) + 1.0
            slope = dx / dy if abs(dy) > 1e-6 else 0.0
            for y in range(top, bottom + 1):
                middle = x0 + (y - y0) * slope
                first = max(left, int(max(middle - across, -1e6)))
                last = min(right, int(min(middle + across, 1e6)) + 1)
                for x in range(first, last + 1):
                    px, py = x - x0, y - y0
                    t = (px * dx + py * dy) * inverse
                    # Half-open, so that neighbouring segments do not both cover their joint.
                    if t < 0.0 and k > 0:
                        continue
                    if t >= 1.0 and k < knots - 2:
                        continue
                    t = min(max(t, 0.0), 1.0)
                    px -= t * dx
                    py -= t * dy
                    distance = px * px + py * py
                    if distance >= reach * reach:
                        continue
                    z = z0 + t * dz
                    if z - bias >= depth[y, x]:
                        continue
                    radius = 0.5 * (widths[s, k] + t * (widths[s, k + 1] - widths[s, k]))
                    cover = min(radius + 0.5 - math.sqrt(distance), 1.0, 2.0 * radius)
                    if cover <= 0.0:
                        continue
                    alpha = cover * (alphas[s, k] + t * (alphas[s, k + 1] - alphas[s, k]))
                    for c in range(3):
                        value = colors[s, k, c] + t * (colors[s, k + 1, c] - colors[s, k, c])
                        color[y, x, c] += alpha * (value - color[y, x, c])
                    coverage[y, x] += alpha * (1.0 - coverage[y, x])
                    if coverage[y, x] > 0.5:
                        regions[y, x] = region
                        depth[y, x] = min(z, depth[y, x])


SUPERSAMPLING = 2  # supersampled pixels per pixel and axis


def _fitted(values: float | np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32), shape))


class Framebuffer:
    """Colour, depth and region at `SUPERSAMPLING` times the final size.

    Attributes:
        color: (h, w, 3) float32, linear RGB, may exceed 1 before the exposure is applied.
        depth: (h, w) float32, distance along the viewing axis in decimetres, infinity if empty.
        region: (h, w) uint8, `Region` ids.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """Args: size: (height, width) of the final image."""
        self.height, self.width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
        self.color = np.zeros((self.height, self.width, 3), np.float32)
        self.depth = np.full((self.height, self.width), np.inf, np.float32)
        self.region = np.full((self.height, self.width), Region.BACKGROUND, np.uint8)

    def geometry_buffer(
        self, points: np.ndarray, triangles: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rasterises a mesh of projected vertices (N, 3) and triangles (T, 3) into `depth`.

        Returns:
            Triangle numbers (h, w) int32, -1 where the mesh does not show, and the barycentric
            weights (h, w, 2) float32 of each triangle's first two vertices.
        """
        index = np.full(self.depth.shape, -1, np.int32)
        barycentric = np.zeros((*self.depth.shape, 2), np.float32)
        points = np.ascontiguousarray(points, np.float32)
        triangles = np.ascontiguousarray(triangles, np.int32)
        rasterize(points, triangles, self.depth, index, barycentric)
        return index, barycentric

    def draw_triangles(
        self,
        points: np.ndarray,
        triangles: np.ndarray,
        colors: np.ndarray,
        region: Region,
        *,
        alpha: float | np.ndarray = 1.0,
        bias: float = 0.0,
    ) -> np.ndarray:
        """Draws a mesh whose vertices have colours, without culling; returns where it shows (h, w).

        Args:
            points: (N, 3) projected vertices: x, y in supersampled pixels, depth.
            triangles: (T, 3) vertex numbers.
            colors: (N, 3) linear RGB, light included.
            region: written, with the depth, where alpha is over 0.5.
            alpha: opacity, one number or (N,).
            bias: decimetres by which the mesh is drawn nearer to the viewer than it is.
        """
        points = np.array(points, np.float32)
        points[:, 2] -= bias
        triangles = np.ascontiguousarray(triangles, np.int32)
        before = self.depth.copy()
        index, barycentric = self.geometry_buffer(points, triangles)
        colors = np.ascontiguousarray(colors, np.float32)
        vertices = (triangles, colors, _fitted(alpha, (len(points),)), int(region))
        blend_triangles(index, barycentric, *vertices, before, self.depth, self.color, self.region)
        return index >= 0

    def draw_strands(
        self,
        points: np.ndarray,
        colors: np.ndarray,
        widths: float | np.ndarray,
        region: Region,
        *,
        alpha: float | np.ndarray = 1.0,
        bias: float = 0.0,
    ) -> None:
        """Draws polylines in the given order: hairs, wires, chains, seams.

        Args:
            points: (S, K, 3) projected points: x, y in supersampled pixels, depth.
            colors: linear RGB, broadcast to (S, K, 3), light included.
            widths: in supersampled pixels, broadcast to (S, K).
            region: written, with the depth, where the lines of this call cover over half a pixel.
            alpha: opacity, broadcast to (S, K).
            bias: decimetres that a line may lie behind the surface and still show.
        """
        points = np.ascontiguousarray(points, np.float32)
        shape = points.shape[:2]
        colors, widths = _fitted(colors, (*shape, 3)), _fitted(widths, shape)
        strands = (points, colors, widths, _fitted(alpha, shape), int(region), float(bias))
        coverage = np.zeros_like(self.depth)
        blend_strands(*strands, self.depth, self.color, coverage, self.region)

    def resolve(self) -> tuple[np.ndarray, np.ndarray]:
        """Downsamples to the final size: mean linear colour (H, W, 3) float32, and `Region` ids.

        A pixel's region (H, W) uint8 is the commonest of its samples, the first in a tie.
        """
        shape = (self.height // SUPERSAMPLING, self.width // SUPERSAMPLING)
        color = np.empty((*shape, 3), np.float32)
        regions = np.empty(shape, np.uint8)
        average_samples(self.color, self.region, SUPERSAMPLING, color, regions)
        return color, regions
