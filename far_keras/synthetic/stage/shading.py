"""Light on the head: diffuse light that skin scatters, gloss and ambient occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.ndimage import gaussian_filter

from far_keras.synthetic.stage.fragments import Fragments
from far_keras.synthetic.stage.framebuffer import SUPERSAMPLING
from far_keras.synthetic.stage.lighting import Lighting

__all__ = ["Surface", "ambient_occlusion", "shade", "tilt_normals"]


@dataclass(eq=False)
class Surface:
    """What each of F fragments is made of, as the light sees it.

    Attributes:
        albedo: (F, 3) float32 linear.
        normal: (F, 3) float32 unit, camera's frame, fine relief included.
        gloss: (F,) float32 strength of the highlight.
        sharpness: (F,) float32 exponent of the highlight.
        scatter: (F,) float32, 1 for skin, 0 for what lets no light in.
    """

    albedo: np.ndarray
    normal: np.ndarray
    gloss: np.ndarray
    sharpness: np.ndarray
    scatter: np.ndarray

    @classmethod
    def matt(cls, fragments: Fragments) -> Surface:
        """Grey, matt, with the fragments' own normals: to be filled in."""
        count = len(fragments)
        return cls(
            albedo=np.full((count, 3), 0.5, np.float32),
            normal=fragments.normal.copy(),
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
    """Adds fine relief to unit normals (F, 3) of the camera's frame, in place.

    Args:
        normal: (F, 3) float32.
        across, upward: (F,) what to add along x and y of the head frame.
        rotation: (3, 3) of the head.
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

    Args:
        surface: the fragments' materials.
        lit: (F,) share of the key light that is not blocked.
        openness: (F,) ambient occlusion, 1 is open.
        lighting: the scene's lights.
    """
    out = np.empty_like(surface.albedo)
    _light(
        np.ascontiguousarray(surface.albedo, np.float32),
        surface.normal,
        surface.gloss,
        surface.sharpness,
        surface.scatter,
        lit,
        openness,
        lighting.key,
        lighting.fill,
        lighting.rim,
        lighting.ambient,
        lighting.softness,
        out,
    )
    return out
