"""Normals of a triangle mesh."""

from __future__ import annotations

import math

import numba
import numpy as np

__all__ = ["vertex_normals"]


@numba.njit(cache=True)
def vertex_normals(points, triangles):  # pragma: no cover
    """Unit normals (N, 3) float32 of a mesh, weighted by the triangles' areas."""
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b] - points[a]
        vx, vy, vz = points[c] - points[a]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(normals.shape[0]):
        length = math.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        normals[v] /= max(length, 1e-12)
    return normals
