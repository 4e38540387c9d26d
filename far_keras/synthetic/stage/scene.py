"""The scene: all that the drawing functions of one image need.

A drawing function takes a `Scene`, reads `scene.person` and `scene.shot`, builds its geometry in
the head frame (the skull is upright and faces +z, shaped and with its expression), and draws
`scene.project(points)` into `scene.framebuffer`. Lights are in the camera's frame: turn normals
with `scene.to_camera` first.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from scipy.ndimage import gaussian_filter, shift

from far_keras.faces.region_map import Region
from far_keras.synthetic.head.mesh import (
    UV_MASKS,
    HeadMesh,
    MeshMaterial,
    SurfaceSamples,
    load_head,
    vertex_normals,
)
from far_keras.synthetic.head.morphs import expression_weights, lid_opening, morph, shape_weights
from far_keras.synthetic.parameters import Person, Shot
from far_keras.synthetic.stage.camera import PinholeCamera, Pose, aligned_camera
from far_keras.synthetic.stage.lighting import Lighting, ShadowMap, lighting_of
from far_keras.synthetic.stage.rasterizer import SUPERSAMPLING, Framebuffer

__all__ = ["CORNEA", "Fragments", "Head", "Scene", "build_scene", "cast_shadow", "head_fragments"]

# Lips and chins can be shaped flatter than the teeth behind them.
TEETH_SHIFT = np.array([0, 0, -0.05], np.float32)
CORNEA = 0.14  # decimetres from an eyeball's centre to its pupil


@dataclass(frozen=True, eq=False)
class Head:
    """A person's head with an expression."""

    mesh: HeadMesh  # with the rest pose
    vertices: np.ndarray  # (N, 3) float32 in the head frame: shaped, with expression, upright
    pose: Pose

    @cached_property
    def normals(self) -> np.ndarray:
        """(N, 3) unit normals in the head frame."""
        return vertex_normals(self.vertices, self.mesh.triangles)

    @cached_property
    def posed_vertices(self) -> np.ndarray:
        """(N, 3) vertices as they stand before the camera."""
        return self.pose.apply(self.vertices)

    @cached_property
    def posed_normals(self) -> np.ndarray:
        """(N, 3) unit normals in the camera's frame."""
        return vertex_normals(self.posed_vertices, self.mesh.triangles)

    @cached_property
    def eye_centers(self) -> np.ndarray:
        """(2, 3) centres of the eyeballs in the head frame, the image's left one first."""
        return np.stack([self.vertices[eye].mean(0) for eye in self.mesh.eye_vertices])

    def surface(self, samples: SurfaceSamples) -> np.ndarray:
        """Positions (S, 3) of surface samples in the head frame."""
        return samples.interpolate(self.vertices)

    def surface_normals(self, samples: SurfaceSamples) -> np.ndarray:
        """Unit normals (S, 3) at surface samples in the head frame."""
        normals = samples.interpolate(self.normals)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


@dataclass(eq=False)
class Scene:
    """A person, a shot of them, and the image as far as it is drawn."""

    person: Person
    shot: Shot
    head: Head
    camera: PinholeCamera
    light: Lighting
    framebuffer: Framebuffer

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose in this shot, independent of other purposes."""
        return np.random.default_rng([self.shot.seed, zlib.crc32(purpose.encode())])

    def person_rng(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose that are the same in every shot of the person."""
        seed = self.person.face.variation_seed
        return np.random.default_rng([seed, zlib.crc32(purpose.encode())])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the head frame to x, y in supersampled pixels and depth."""
        return self.camera.project(self.head.pose.apply(points))

    def to_camera(self, directions: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Directions (..., 3) at points (..., 3), both of the head frame, to the camera's frame."""
        return self.head.pose.apply_to_directions(directions, points)

    @cached_property
    def shadows(self) -> ShadowMap:
        """What the head shades: `shadows.lit_share(posed points)`."""
        light = self.light
        return ShadowMap(self.head.mesh, self.head.posed_vertices, light.key[0], light.softness)

    @property
    def pixels_per_unit(self) -> float:
        """Supersampled pixels per decimetre at the eyes, for widths of strands."""
        return self.camera.pixels_per_unit


def build_scene(person: Person, shot: Shot, size: tuple[int, int]) -> Scene:
    """Shapes and poses the head and sets up camera and light; the image, of `size`, is empty."""
    mesh = load_head()
    weights = shape_weights(mesh, person)
    for name, value in expression_weights(shot.expression, lid_opening(person)).items():
        weights[name] = weights.get(name, 0.0) + value
    pose = Pose(shot.camera.yaw, shot.camera.pitch, shot.camera.roll)
    vertices = morph(mesh, weights)
    # The targets for sex and ancestry also change how tall the body is: bring the eyes back.
    eyes = np.concatenate(mesh.eye_vertices)
    vertices += mesh.vertices[eyes].mean(0) - vertices[eyes].mean(0)
    inside = np.union1d(*map(mesh.vertices_of, (MeshMaterial.TEETH, MeshMaterial.TONGUE)))
    vertices[inside] += TEETH_SHIFT
    head = Head(mesh, vertices, pose)
    pupils = head.eye_centers + np.array([0, 0, CORNEA], np.float32)
    eye_distance = float(np.linalg.norm(pupils[1] - pupils[0]))
    rng = np.random.default_rng([shot.seed, zlib.crc32(b"camera")])
    camera = aligned_camera(shot.camera, pose.apply(pupils), eye_distance, size, rng)
    return Scene(person, shot, head, camera, lighting_of(shot.light), Framebuffer(size))


@dataclass(frozen=True, eq=False)
class Fragments:
    """The F supersampled pixels that show the head: what skin, eyes and light are computed from."""

    row: np.ndarray  # (F,) int32
    column: np.ndarray  # (F,) int32
    material: np.ndarray  # (F,) int8 `MeshMaterial` ids
    rest: np.ndarray  # (F, 3) float32 position on the rest head: tells the part of the face
    posed: np.ndarray  # (F, 3) float32 position before the camera
    normal: np.ndarray  # (F, 3) float32 unit normals in the camera's frame, facing the viewer
    masks: np.ndarray  # (F, len(UV_MASKS)) float32 values of the texture masks

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: np.ndarray) -> Fragments:
        """The fragments that a mask or an index array chooses."""
        return Fragments(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def of(self, *materials: MeshMaterial) -> np.ndarray:
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
    solid = mesh.material != MeshMaterial.LASH
    triangles = mesh.triangles[solid]
    points = scene.camera.project(head.posed_vertices)
    index, barycentric = scene.framebuffer.geometry_buffer(points, triangles)
    row, column = (axis.astype(np.int32) for axis in np.nonzero(index >= 0))
    values = np.empty((len(row), 9), np.float32)
    masks = np.empty((len(row), len(UV_MASKS)), np.float32)
    vertices = (mesh.vertices, head.posed_vertices, head.posed_normals)
    textures = (mesh.triangle_uv[solid], mesh.uv_masks)
    _interpolate(index, barycentric, triangles, *vertices, *textures, values, masks)
    material = mesh.material[solid][index[row, column]]
    rest, posed, normal = (np.ascontiguousarray(part) for part in np.split(values, 3, axis=1))
    return Fragments(row, column, material, rest, posed, normal, masks)


RECEIVERS = np.zeros(256, bool)
RECEIVERS[[Region.SKIN, Region.CLOTHING, Region.LIPS, Region.EYE, Region.EAR]] = True
RECEIVERS[[Region.NECK, Region.NOSE, Region.BROW, Region.BEARD]] = True
_COARSE = 2 * SUPERSAMPLING


def cast_shadow(scene: Scene, shown: np.ndarray, *, reach: float, strength: float) -> None:
    """Darkens skin and cloth next to what was just drawn, on the side away from the key light.

    Args:
        shown: (h, w) bool: where the object shows; it does not shade itself.
        reach: Length of the shadow in decimetres.
        strength: The largest share of the light that it takes away, 0 .. 1.
    """
    buffer = scene.framebuffer
    height, width = buffer.depth.shape
    mask = shown[::_COARSE, ::_COARSE].astype(np.float32)
    direction = scene.light.key[0]
    length = reach * scene.pixels_per_unit / _COARSE
    fall = np.array([0.35 + direction[1], -direction[0]]) * length * 0.55
    cast = gaussian_filter(shift(mask, fall, order=1, mode="nearest"), 0.28 * length)
    near = gaussian_filter(mask, 0.5 * length)
    dark = np.clip(0.75 * cast + 0.5 * near, 0, 1)
    rows = (np.arange(height) / _COARSE).clip(0, dark.shape[0] - 1.001)
    columns = (np.arange(width) / _COARSE).clip(0, dark.shape[1] - 1.001)
    i, j = rows.astype(int), columns.astype(int)
    fi, fj = (rows - i)[:, None].astype(np.float32), (columns - j)[None].astype(np.float32)
    across = dark[:, j] * (1 - fj) + dark[:, j + 1] * fj
    full = across[i] * (1 - fi) + across[i + 1] * fi
    full *= RECEIVERS[buffer.region] & ~shown
    # Light that skin scatters keeps shadows on it a little red.
    tint = np.array([0.9, 1.0, 1.03], np.float32) * strength
    buffer.color *= 1 - full[..., None] * tint
