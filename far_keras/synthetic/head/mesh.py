"""The head mesh of every face: shape, morph targets, texture masks, surface samples.

Coordinates are the rest pose's, in decimetres: x to the image's right, y up, z towards the viewer.
The eyes are near y = 7.28, the chin near 6.2, the crown near 8.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from PIL import Image

from far_keras.errors import AssetError

__all__ = [
    "ASSETS",
    "UV_MASKS",
    "HeadMesh",
    "MeshMaterial",
    "SurfaceSamples",
    "load_head",
    "surface_samples",
    "vertex_normals",
]


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


ASSETS = Path(__file__).parents[1] / "assets"
UV_MASKS = ("lips", "ears", "inside_mouth")


class MeshMaterial(IntEnum):
    """What a triangle of the head is made of."""

    SKIN = 0
    EYE = 1
    LASH = 2
    TEETH = 3
    TONGUE = 4


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """A head with shoulders in its rest pose."""

    vertices: np.ndarray  # (N, 3) float32
    triangles: np.ndarray  # (T, 3) int32, counterclockwise seen from outside
    triangle_uv: np.ndarray  # (T, 3, 2) float32 texture coordinates in [0, 1], v up
    material: np.ndarray  # (T,) int8, `MeshMaterial` ids
    target_names: tuple[str, ...]  # of the morph targets
    target_deltas: np.ndarray  # (targets, N, 3) float32 displacements at full strength
    uv_masks: np.ndarray  # (len(UV_MASKS), size, size) float32 in [0, 1], row 0 is v = 1

    @cached_property
    def target_number(self) -> dict[str, int]:
        """The row of each target's name in `target_deltas`."""
        return {name: number for number, name in enumerate(self.target_names)}

    @cached_property
    def normals(self) -> np.ndarray:
        """(N, 3) unit normals of the rest pose."""
        return vertex_normals(self.vertices, self.triangles)

    def vertices_of(self, material: MeshMaterial) -> np.ndarray:
        """Numbers of the vertices that triangles of `material` use, sorted."""
        return np.unique(self.triangles[self.material == material])

    @cached_property
    def eye_vertices(self) -> tuple[np.ndarray, np.ndarray]:
        """Vertex numbers of the eyeball at the image's left (x < 0) and right."""
        eyes = self.vertices_of(MeshMaterial.EYE)
        left = self.vertices[eyes, 0] < 0
        return eyes[left], eyes[~left]

    def mask_at(self, mask: str, uv: np.ndarray) -> np.ndarray:
        """Values of one of `UV_MASKS` at texture coordinates (..., 2), nearest texel."""
        texture = self.uv_masks[UV_MASKS.index(mask)]
        size = texture.shape[0]
        column = np.clip((uv[..., 0] * size).astype(int), 0, size - 1)
        row = np.clip(((1 - uv[..., 1]) * size).astype(int), 0, size - 1)
        return texture[row, column]


@lru_cache(maxsize=1)
def load_head() -> HeadMesh:
    """Reads the head that ships with the package.

    Raises:
        AssetError: a file is missing from the installation.
    """
    try:
        with np.load(ASSETS / "head.npz", allow_pickle=False) as data:
            arrays: dict[str, Any] = {name: data[name] for name in data.files}
        masks = [
            np.asarray(Image.open(ASSETS / f"uv_{name}.png"), np.float32) / 255 for name in UV_MASKS
        ]
    except OSError as error:
        raise AssetError(
            f"The head mesh cannot be read from {ASSETS}: expected head.npz and uv_*.png. "
            f"Received: {error}. Reinstall far_keras, or rebuild them with research/build_head.py."
        ) from error
    arrays["target_names"] = tuple(str(name) for name in arrays["target_names"])
    arrays["target_deltas"] = arrays["target_deltas"].astype(np.float32)
    return HeadMesh(**arrays, uv_masks=np.stack(masks))


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """Points spread evenly over the skin of head and neck: where hairs can grow."""

    triangle: np.ndarray  # (S,) int32 triangle numbers
    barycentric: np.ndarray  # (S, 3) float32 weights of the triangle's vertices
    rest: np.ndarray  # (S, 3) float32 positions in the rest pose: tell the part of the head
    rest_normal: np.ndarray  # (S, 3) float32 unit normals in the rest pose
    ear: np.ndarray  # (S,) bool
    lips: np.ndarray  # (S,) bool
    mouth: np.ndarray  # (S,) bool: inside the mouth

    def __len__(self) -> int:
        return len(self.triangle)

    def __getitem__(self, chosen: np.ndarray) -> SurfaceSamples:
        """The samples that a mask or an index array chooses."""
        return SurfaceSamples(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def interpolate(self, per_vertex: np.ndarray) -> np.ndarray:
        """Values (S, C) at the samples from values (N, C) at the mesh's vertices."""
        corners = load_head().triangles[self.triangle]
        return np.einsum("sk,skc->sc", self.barycentric, per_vertex[corners])


@lru_cache(maxsize=4)
def surface_samples(count: int = 300_000, lowest: float = 5.9) -> SurfaceSamples:
    """Draws points uniformly by area on the skin above `lowest`, the same ones in every process."""
    mesh, rng = load_head(), np.random.default_rng(0)
    corners = mesh.vertices[mesh.triangles]  # (T, 3, 3)
    usable = (mesh.material == MeshMaterial.SKIN) & (corners[:, :, 1].mean(1) > lowest)
    numbers = np.flatnonzero(usable)
    edges = corners[numbers, 1:] - corners[numbers, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    triangle = rng.choice(numbers, count, p=area / area.sum()).astype(np.int32)
    root, second = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - root, root * (1 - second), root * second], 1).astype(np.float32)
    normal = np.einsum("sk,skc->sc", weights, mesh.normals[mesh.triangles[triangle]])
    uv = np.einsum("sk,skc->sc", weights, mesh.triangle_uv[triangle])
    return SurfaceSamples(
        triangle=triangle,
        barycentric=weights,
        rest=np.einsum("sk,skc->sc", weights, corners[triangle]),
        rest_normal=normal / np.linalg.norm(normal, axis=1, keepdims=True),
        ear=mesh.mask_at("ears", uv) > 0.3,
        lips=mesh.mask_at("lips", uv) > 0.3,
        mouth=mesh.mask_at("inside_mouth", uv) > 0.3,
    )
