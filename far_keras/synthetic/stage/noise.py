"""Tileable noise textures, made once, sampled anywhere: mottled skin, pores, cloth, foliage."""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np

__all__ = ["SIZE", "noise_texture", "sample_noise"]

SIZE = 256


@lru_cache(maxsize=32)
def noise_texture(smoothness: float = 1.0, seed: int = 0) -> np.ndarray:
    """A (256, 256) float32 field that wraps around, mean 0, deviation 1.

    Args:
        smoothness: exponent of the falling spectrum: 0 white noise, 1 mottled, 2 cloudy.
        seed: another seed, another texture.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None]) * SIZE
    spectrum = np.fft.fft2(rng.normal(size=(SIZE, SIZE))) / np.maximum(frequency, 1.0) ** smoothness
    spectrum[0, 0] = 0
    field = np.fft.ifft2(spectrum).real
    return (field / field.std()).astype(np.float32)


@numba.njit(cache=True, fastmath=True)
def _sample(texture, u, v, out):  # pragma: no cover
    size = texture.shape[0]
    for i in range(u.shape[0]):
        x, y = u[i] * size, v[i] * size
        column, row = int(np.floor(x)), int(np.floor(y))
        fx, fy = x - column, y - row
        c0, r0 = column % size, row % size
        c1, r1 = (c0 + 1) % size, (r0 + 1) % size
        above = texture[r0, c0] + fx * (texture[r0, c1] - texture[r0, c0])
        below = texture[r1, c0] + fx * (texture[r1, c1] - texture[r1, c0])
        out[i] = above + fy * (below - above)


def sample_noise(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bilinear samples (F,) float32 of a tileable texture at u, v (F,); one tile is 1 wide."""
    out = np.empty(len(u), np.float32)
    _sample(texture, np.ascontiguousarray(u), np.ascontiguousarray(v), out)
    return out
