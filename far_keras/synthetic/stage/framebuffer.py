"""The image in the making: colour, depth and region of every supersampled pixel."""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.rasterizer import (
    average_samples,
    blend_strands,
    blend_triangles,
    rasterize,
)

__all__ = ["SUPERSAMPLING", "Framebuffer"]

SUPERSAMPLING = 2  # supersampled pixels per pixel and axis


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
        """Rasterises a mesh into `depth` and says which of its triangles shows where.

        Args:
            points: (N, 3) projected vertices: x, y in supersampled pixels, depth.
            triangles: (T, 3) vertex numbers.

        Returns:
            Triangle numbers (h, w) int32, -1 where the mesh does not show, and the barycentric
            weights (h, w, 2) float32 of each triangle's first two vertices.
        """
        index = np.full(self.depth.shape, -1, np.int32)
        barycentric = np.zeros((*self.depth.shape, 2), np.float32)
        rasterize(
            np.ascontiguousarray(points, np.float32),
            np.ascontiguousarray(triangles, np.int32),
            0,
            self.depth,
            index,
            barycentric,
        )
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
        """Draws a mesh whose vertices have colours; nothing is culled.

        Args:
            points: (N, 3) projected vertices: x, y in supersampled pixels, depth.
            triangles: (T, 3) vertex numbers.
            colors: (N, 3) linear RGB, light included.
            region: what the mesh is; it is written (with the depth) where alpha is over 0.5.
            alpha: opacity, one number or (N,).
            bias: decimetres by which the mesh is drawn nearer to the viewer than it is.

        Returns:
            (h, w) bool: where it shows.
        """
        points = np.array(points, np.float32)
        points[:, 2] -= bias
        triangles = np.ascontiguousarray(triangles, np.int32)
        before = self.depth.copy()
        index, barycentric = self.geometry_buffer(points, triangles)
        blend_triangles(
            index,
            barycentric,
            triangles,
            np.ascontiguousarray(colors, np.float32),
            np.ascontiguousarray(np.broadcast_to(np.asarray(alpha, np.float32), len(points))),
            int(region),
            before,
            self.depth,
            self.color,
            self.region,
        )
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

        def fitted(values: float | np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
            return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32), wanted))

        blend_strands(
            points,
            fitted(colors, (*shape, 3)),
            fitted(widths, shape),
            fitted(alpha, shape),
            int(region),
            float(bias),
            self.depth,
            self.color,
            np.zeros_like(self.depth),
            self.region,
        )

    def resolve(self) -> tuple[np.ndarray, np.ndarray]:
        """Downsamples to the final size.

        Returns:
            Linear colour (H, W, 3) float32, the mean of each pixel's samples, and `Region` ids
            (H, W) uint8, the commonest of its samples (the first of them in a tie).
        """
        shape = (self.height // SUPERSAMPLING, self.width // SUPERSAMPLING)
        color = np.empty((*shape, 3), np.float32)
        regions = np.empty(shape, np.uint8)
        average_samples(self.color, self.region, SUPERSAMPLING, color, regions)
        return color, regions
