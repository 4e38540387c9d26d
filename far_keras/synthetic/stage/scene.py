"""One image being made: everything that the drawing functions need, in one place.

Each drawing function takes a `Scene`, reads `scene.person` and `scene.shot`, builds its geometry in
the head frame (where the skull is upright and faces +z, after the person's shape and expression),
brings it before the camera with `scene.project`, and draws into `scene.framebuffer`:

    samples = surface_samples()
    scalp = samples[is_scalp(samples.rest)]         # choose by rest coordinates
    roots = scene.head.surface(scalp)               # (S, 3) in the head frame
    strands = grow(roots, scene.head.surface_normals(scalp), scene.rng("hair"))  # (S, K, 3)
    scene.framebuffer.draw_strands(scene.project(strands), colors, widths, Region.HAIR)

Light comes in the camera's frame: turn normals with `scene.to_camera` first.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from far_keras.synthetic.head.lids import lid_opening
from far_keras.synthetic.head.mesh import HeadMesh, Material, SurfaceSamples, load_head
from far_keras.synthetic.head.morphs import expression_weights, morph, shape_weights
from far_keras.synthetic.head.normals import vertex_normals
from far_keras.synthetic.parameters import Person, Shot
from far_keras.synthetic.stage.camera import PinholeCamera, Pose, aligned_camera
from far_keras.synthetic.stage.framebuffer import Framebuffer
from far_keras.synthetic.stage.lighting import Lighting, lighting_of
from far_keras.synthetic.stage.shadow_map import ShadowMap

__all__ = ["Head", "Scene", "build_scene"]

# Lips and chins can be shaped flatter than the teeth behind them.
TEETH_SHIFT = np.array([0, 0, -0.05], np.float32)
CORNEA = 0.14  # decimetres from an eyeball's centre to its pupil


@dataclass(frozen=True, eq=False)
class Head:
    """A person's head with an expression.

    Attributes:
        mesh: the mesh with its rest pose (`mesh.vertices`).
        vertices: (N, 3) float32 in the head frame: shaped, with expression, upright.
        pose: how the head is turned.
    """

    mesh: HeadMesh
    vertices: np.ndarray
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
        """Random numbers for one purpose in this shot; other purposes' draws do not shift them."""
        return np.random.default_rng([self.shot.seed, zlib.crc32(purpose.encode())])

    def person_rng(self, purpose: str) -> np.random.Generator:
        """The same, but equal in every shot of the person: what grows on them, not how it lies."""
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
        """Supersampled pixels that a decimetre at the eyes measures: for widths of strands."""
        return self.camera.pixels_per_unit


def build_scene(person: Person, shot: Shot, size: tuple[int, int]) -> Scene:
    """Shapes the head, poses it, sets up camera and light; the image is still empty.

    Args:
        person: who.
        shot: how.
        size: (height, width) of the final image.
    """
    mesh = load_head()
    weights = shape_weights(mesh, person)
    for name, value in expression_weights(shot.expression, lid_opening(person)).items():
        weights[name] = weights.get(name, 0.0) + value
    pose = Pose(shot.camera.yaw, shot.camera.pitch, shot.camera.roll)
    vertices = morph(mesh, weights)
    # The targets for sex and ancestry also change how tall the body is: bring the eyes back.
    eyes = np.concatenate(mesh.eye_vertices)
    vertices += mesh.vertices[eyes].mean(0) - vertices[eyes].mean(0)
    vertices[np.union1d(*map(mesh.vertices_of, (Material.TEETH, Material.TONGUE)))] += TEETH_SHIFT
    head = Head(mesh, vertices, pose)
    pupils = head.eye_centers + np.array([0, 0, CORNEA], np.float32)
    eye_distance = float(np.linalg.norm(pupils[1] - pupils[0]))
    rng = np.random.default_rng([shot.seed, zlib.crc32(b"camera")])
    camera = aligned_camera(shot.camera, pose.apply(pupils), eye_distance, size, rng)
    return Scene(person, shot, head, camera, lighting_of(shot.light), Framebuffer(size))
