"""What the head shows in each pixel, before it has a colour: the input of skin, eyes and light."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from far_keras.synthetic.head.mesh import UV_MASKS, Material
from far_keras.synthetic.stage.scene import Scene

__all__ = ["Fragments", "head_fragments"]


@dataclass(frozen=True, eq=False)
class Fragments:
    """The F supersampled pixels that show the head.

    Attributes:
        row, column: (F,) int32 pixel coordinates.
        material: (F,) int8 `Material` ids.
        rest: (F, 3) float32 where on the rest head this is: says what part of a face it is.
        posed: (F, 3) float32 where it is before the camera.
        normal: (F, 3) float32 unit normals in the camera's frame, facing the viewer.
        masks: (F, len(UV_MASKS)) float32 values of the texture masks.
    """

    row: np.ndarray
    column: np.ndarray
    material: np.ndarray
    rest: np.ndarray
    posed: np.ndarray
    normal: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: np.ndarray) -> Fragments:
        """The fragments that a mask or an index array chooses."""
        return Fragments(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def of(self, *materials: Material) -> np.ndarray:
        """(F,) bool: which fragments are made of one of `materials`."""
        return np.isin(self.material, materials)

    def mask(self, name: str) -> np.ndarray:
        """(F,) values of one of `UV_MASKS`."""
        return self.masks[:, UV_MASKS.index(name)]


@numba.njit(cache=True, fastmath=True)
def _interpolate(
    index, barycentric, triangles, rest, posed, normals, triangle_uv, textures, out, masks
):  # pragma: no cover
    size = textures.shape[1]
    f = 0
    for y in range(index.shape[0]):
        for x in range(index.shape[1]):
            t = index[y, x]
            if t < 0:
                continue
            w0, w1 = barycentric[y, x, 0], barycentric[y, x, 1]
            w2 = np.float32(1.0) - w0 - w1
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            square = np.float32(0.0)
            for k in range(3):
                out[f, k] = w0 * rest[a, k] + w1 * rest[b, k] + w2 * rest[c, k]
                out[f, 3 + k] = w0 * posed[a, k] + w1 * posed[b, k] + w2 * posed[c, k]
                n = w0 * normals[a, k] + w1 * normals[b, k] + w2 * normals[c, k]
                out[f, 6 + k] = n
                square += n * n
            scale = np.float32(1.0) / np.sqrt(max(square, np.float32(1e-12)))
            if out[f, 8] < 0.0:  # seen from behind, as the inside of the mouth is
                scale = -scale
            for k in range(3):
                out[f, 6 + k] *= scale
            u = w0 * triangle_uv[t, 0, 0] + w1 * triangle_uv[t, 1, 0] + w2 * triangle_uv[t, 2, 0]
            v = w0 * triangle_uv[t, 0, 1] + w1 * triangle_uv[t, 1, 1] + w2 * triangle_uv[t, 2, 1]
            column = min(max(int(u * size), 0), size - 1)
            line = min(max(int((np.float32(1.0) - v) * size), 0), size - 1)
            for m in range(textures.shape[0]):
                masks[f, m] = textures[m, line, column]
            f += 1


def head_fragments(scene: Scene) -> Fragments:
    """Rasterises the head, without its lashes, into the scene's depth buffer."""
    head, mesh = scene.head, scene.head.mesh
    solid = mesh.material != Material.LASH
    triangles = mesh.triangles[solid]
    points = scene.camera.project(head.posed_vertices)
    index, barycentric = scene.framebuffer.geometry_buffer(points, triangles)
    row, column = (axis.astype(np.int32) for axis in np.nonzero(index >= 0))
    values = np.empty((len(row), 9), np.float32)
    masks = np.empty((len(row), len(UV_MASKS)), np.float32)
    _interpolate(
        index,
        barycentric,
        triangles,
        mesh.vertices,
        head.posed_vertices,
        head.posed_normals,
        mesh.triangle_uv[solid],
        mesh.uv_masks,
        values,
        masks,
    )
    material = mesh.material[solid][index[row, column]]
    rest, posed, normal = (np.ascontiguousarray(part) for part in np.split(values, 3, axis=1))
    return Fragments(row, column, material, rest, posed, normal, masks)
