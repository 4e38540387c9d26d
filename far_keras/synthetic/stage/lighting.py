"""Lights, the shading of the head, and the shadow that it casts on itself."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.ndimage import gaussian_filter

from far_keras.synthetic.head.mesh import HeadMesh, MeshMaterial
from far_keras.synthetic.parameters import RGB, Light
from far_keras.synthetic.stage.rasterizer import SUPERSAMPLING, rasterize

__all__ = [
    "Lighting",
    "ShadowMap",
    "Surface",
    "ambient_occlusion",
    "lighting_of",
    "shade",
    "tilt_normals",
]

FILL_DIRECTION = (0.5, 0.15, 0.7)  # with a key from the other side
RIM_DIRECTION = (0.75, 0.35, -0.56)


@dataclass(frozen=True, eq=False)
class Lighting:
    """Lights in the camera's frame: unit vectors towards the light, and linear colours."""

    key: np.ndarray  # (2, 3) float32: direction, colour
    fill: np.ndarray  # (2, 3), from the other side
    rim: np.ndarray  # (2, 3), from behind
    ambient: np.ndarray  # (3,) colour; the sky above is brighter than the ground below
    softness: float  # how large the key is, 0 a point .. 1 a window

    def irradiance(
        self, normals: np.ndarray, wrap: float = 0.0, lit: np.ndarray | float = 1.0
    ) -> np.ndarray:
        """Light (..., 3) float32 that a matt surface receives; its colour is albedo * irradiance.

        Args:
            normals: (..., 3) unit vectors in the camera's frame.
            wrap: 0 for a hard surface; 0.5 for one that lets light through, as hair and skin do.
            lit: (...) share of the key light that is not blocked.
        """
        total = self.ambient * (0.78 + 0.22 * normals[..., 1:2])
        # A large key reaches around what it lights.
        lights = (
            (self.key, lit, 0.25 * self.softness),
            (self.fill, 1.0, 0.0),
            (self.rim, 1.0, 0.0),
        )
        for (direction, color), share, reach in lights:
            around = wrap + reach
            facing = np.maximum((normals @ direction + around) / (1 + around), 0) * share
            total = total + facing[..., None] * color
        return total.astype(np.float32)

    def highlight(self, normals: np.ndarray, sharpness: float) -> np.ndarray:
        """Blinn-Phong reflection (..., 3) of key and fill; a large key has a large highlight."""
        total = np.zeros((*normals.shape[:-1], 3), np.float32)
        for (direction, color), large in ((self.key, self.softness), (self.fill, 0.0)):
            half = direction + np.array([0, 0, 1], np.float32)
            half /= np.linalg.norm(half)
            shine = np.maximum(normals @ half, 0) ** (sharpness * (1 - 0.6 * large))
            total += shine[..., None] * color
        return total


def lighting_of(light: Light) -> Lighting:
    """The lights that a shot's parameters ask for."""
    away = -np.sign(light.key_direction[0] or 1.0)
    strength = max(abs(light.key_direction[0]), FILL_DIRECTION[0])
    fill = light.fill_direction or (away * strength, *FILL_DIRECTION[1:])
    rim = light.rim_direction or (away * RIM_DIRECTION[0], *RIM_DIRECTION[1:])
    return Lighting(
        key=_source(light.key_direction, light.key_color),
        fill=_source(fill, light.fill_color),
        rim=_source(rim, light.rim_color),
        ambient=np.array(light.ambient_color, np.float32),
        softness=light.softness,
    )


def _source(direction: RGB, color: RGB) -> np.ndarray:
    towards = np.array(direction, np.float32)
    return np.stack([towards / np.linalg.norm(towards), np.array(color, np.float32)])


@dataclass(eq=False)
class Surface:
    """The optical properties of F fragments, float32."""

    albedo: np.ndarray  # (F, 3) linear
    normal: np.ndarray  # (F, 3) unit, camera's frame, relief included
    gloss: np.ndarray  # (F,) strength of the highlight
    sharpness: np.ndarray  # (F,) exponent of the highlight
    scatter: np.ndarray  # (F,) 1 for skin, 0 for what lets no light in

    @classmethod
    def matt(cls, normal: np.ndarray) -> Surface:
        """A grey, matt surface with these normals (F, 3), to be changed."""
        count = len(normal)
        return cls(
            albedo=np.full((count, 3), 0.5, np.float32),
            normal=normal.copy(),
            gloss=np.zeros(count, np.float32),
            sharpness=np.full(count, 20, np.float32),
            scatter=np.zeros(count, np.float32),
        )


@numba.njit(cache=True, fastmath=True)
def _tilt(normal, across, upward, rotation):  # pragma: no cover
    for i in range(normal.shape[0]):
        square = np.float32(0.0)
        for k in range(3):
            normal[i, k] += rotation[k, 0] * across[i] + rotation[k, 1] * upward[i]
            square += normal[i, k] ** 2
        scale = 1 / np.sqrt(square)
        for k in range(3):
            normal[i, k] *= scale


def tilt_normals(
    normal: np.ndarray, across: np.ndarray, upward: np.ndarray, rotation: np.ndarray
) -> None:
    """Adds relief to unit normals (F, 3) of the camera's frame, in place.

    `across` and `upward` (F,) are added along x and y of the head frame, which `rotation` (3, 3)
    turns.
    """
    _tilt(normal, across.astype(np.float32), upward.astype(np.float32), rotation)


def ambient_occlusion(depth: np.ndarray) -> np.ndarray:
    """How open to the sky each pixel is, (h, w) float32 in [0.2, 1], judged by depth alone.

    Places that lie behind their surroundings (eye sockets, nostrils, below the chin) get less.
    """
    coarse = depth[::SUPERSAMPLING, ::SUPERSAMPLING]
    known = np.isfinite(coarse)
    if not known.any():
        return np.ones_like(depth)
    filled = np.where(known, coarse, coarse[known].max() + 0.5).astype(np.float32)
    hidden = np.zeros_like(filled)
    for radius, weight in ((2.0, 2.2), (5.0, 1.5), (11.0, 0.7)):
        hidden += weight * np.clip(filled - gaussian_filter(filled, radius, truncate=2.5), 0, 0.22)
    openness = np.clip(1 - 1.5 * hidden, 0.2, 1)
    full = openness.repeat(SUPERSAMPLING, 0).repeat(SUPERSAMPLING, 1)
    return full[: depth.shape[0], : depth.shape[1]]


@numba.njit(cache=True, fastmath=True)
def _light(
    albedo, normal, gloss, sharpness, scatter, lit, openness, key, fill, rim, ambient, softness, out
):  # pragma: no cover
    # How far light wraps around into the shade, per colour: red travels farthest in skin.
    wraps = (0.34, 0.15, 0.09)
    half_x, half_y, half_z = key[0, 0], key[0, 1], key[0, 2] + 1
    scale = 1.0 / np.sqrt(half_x**2 + half_y**2 + half_z**2)
    for i in range(albedo.shape[0]):
        nx, ny, nz = normal[i, 0], normal[i, 1], normal[i, 2]
        key_cos = nx * key[0, 0] + ny * key[0, 1] + nz * key[0, 2]
        fill_cos = nx * fill[0, 0] + ny * fill[0, 1] + nz * fill[0, 2]
        rim_cos = max(nx * rim[0, 0] + ny * rim[0, 1] + nz * rim[0, 2], 0.0)
        half = max((nx * half_x + ny * half_y + nz * half_z) * scale, 0.0)
        edge = (1.0 - min(max(nz, 0.0), 1.0)) ** 4
        shine = gloss[i] * half ** (sharpness[i] * (1.0 - 0.6 * softness)) * (0.15 + 0.85 * lit[i])
        sky = 0.78 + 0.22 * ny
        for c in range(3):
            wrap = wraps[c] * scatter[i] + 0.25 * softness
            diffuse = max((key_cos + wrap) / (1.0 + wrap), 0.0)
            # The penumbra of a shadow on skin is red for the same reason.
            share = lit[i] ** (1.0 - 0.45 * scatter[i] * (1.0 if c == 0 else 0.25))
            filled = max((fill_cos + 0.3) / 1.3, 0.0)
            # Occluded skin is lit by the skin around it, so its shade is warm.
            dark = openness[i] ** (1.15 if c > 0 else 1.15 - 0.35 * scatter[i])
            light = (
                key[1, c] * diffuse * share * (0.45 + 0.55 * dark)
                + fill[1, c] * filled * dark
                + ambient[c] * sky * dark
                + rim[1, c] * rim_cos
            )
            out[i, c] = (
                albedo[i, c] * light
                + key[1, c] * shine
                + 0.10 * edge * scatter[i] * (ambient[c] + 0.5 * fill[1, c]) * openness[i]
            )


def shade(
    surface: Surface, lit: np.ndarray, openness: np.ndarray, lighting: Lighting
) -> np.ndarray:
    """Light that reaches the viewer, (F, 3) float32 linear.

    `lit` (F,) is the share of the key light that is not blocked, `openness` (F,) the ambient
    occlusion, 1 for none.
    """
    out = np.empty_like(surface.albedo)
    albedo = np.ascontiguousarray(surface.albedo, np.float32)
    rest = (surface.normal, surface.gloss, surface.sharpness, surface.scatter)
    lights = (lighting.key, lighting.fill, lighting.rim, lighting.ambient, lighting.softness)
    _light(albedo, *rest, lit, openness, *lights, out)
    return out


SIZE = 288  # texels
REACH = 1.7  # decimetres from the middle that the map covers
BIAS = 0.05  # decimetres; a surface does not shade itself
MIDDLE = (0.0, 7.1, 0.7)
HARD_EDGE, SOFT_EDGE = 1.0, 4.5  # texels between the taps that make a shadow's edge


@numba.njit(cache=True, fastmath=True)
def _project(points, frame, out):  # pragma: no cover
    """Posed points (N, 3) to texel x, y and depth along the light."""
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - MIDDLE[0], points[i, 1] - MIDDLE[1], points[i, 2] - MIDDLE[2]
        for k in range(3):
            out[i, k] = frame[k, 0] * x + frame[k, 1] * y + frame[k, 2] * z
        out[i, 0] = (out[i, 0] / REACH + 1) * (0.5 * SIZE)
        out[i, 1] = (out[i, 1] / REACH + 1) * (0.5 * SIZE)


@numba.njit(cache=True, fastmath=True)
def _lit_share(depth, seen, bias, spacing, out):  # pragma: no cover
    """Averages 5x5 taps of the map, `spacing` texels apart, so that a shadow's edge is soft."""
    size = depth.shape[0]
    for i in range(seen.shape[0]):
        lit = 0
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                x, y = int(seen[i, 0] + spacing * dx), int(seen[i, 1] + spacing * dy)
                inside = 0 <= x < size and 0 <= y < size
                if not inside or seen[i, 2] - bias < depth[y, x]:
                    lit += 1
        out[i] = lit / 25.0


class ShadowMap:
    """The head as the key light sees it."""

    def __init__(
        self, mesh: HeadMesh, posed: np.ndarray, direction: np.ndarray, softness: float
    ) -> None:
        """Renders the map from posed vertices (N, 3); `direction` is a unit vector to the light.

        A shadow's edge is 4 to 20 millimetres wide for a `softness` of 0 .. 1.
        """
        self._spacing = HARD_EDGE + (SOFT_EDGE - HARD_EDGE) * softness
        right = np.cross(np.array([0, 1, 0], np.float32), direction)
        right /= np.linalg.norm(right)
        up = np.cross(direction, right)
        self._frame = np.stack([right, -up, -direction]).astype(np.float32)
        solid = np.isin(mesh.material, (MeshMaterial.SKIN, MeshMaterial.EYE))
        self._depth = np.full((SIZE, SIZE), np.inf, np.float32)
        index = np.empty((SIZE, SIZE), np.int32)
        barycentric = np.empty((SIZE, SIZE, 2), np.float32)
        rasterize(self._seen(posed), mesh.triangles[solid], self._depth, index, barycentric)

    def _seen(self, points: np.ndarray) -> np.ndarray:
        seen = np.empty((len(points), 3), np.float32)
        _project(np.ascontiguousarray(points, np.float32), self._frame, seen)
        return seen

    def lit_share(self, points: np.ndarray) -> np.ndarray:
        """How much of the key light reaches posed points (..., 3): (...) float32 in [0, 1]."""
        flat = points.reshape(-1, 3)
        share = np.empty(len(flat), np.float32)
        _lit_share(self._depth, self._seen(flat), BIAS, self._spacing, share)
        return share.reshape(points.shape[:-1])
