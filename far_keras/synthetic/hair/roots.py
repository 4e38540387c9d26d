"""Choice of the points on the skin from which hairs grow."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from far_keras.synthetic.head.mesh import SurfaceSamples, surface_samples

__all__ = ["choose", "face_samples", "scalp_samples"]

Array = np.ndarray[Any, np.dtype[Any]]


@lru_cache(maxsize=1)
def scalp_samples() -> SurfaceSamples:
    """Samples of every place where head hair can grow, whoever's it is, in random order."""
    samples = surface_samples()
    x, y, z = np.abs(samples.rest[:, 0]), samples.rest[:, 1], samples.rest[:, 2]
    on_forehead = (np.arctan2(x, z - 0.5) < np.radians(55)) & (y < 7.85)
    possible = ~samples.ear & (y > 6.6) & ~on_forehead & (z - 0.5 < 0.6 + 2 * (y - 7.2))
    # The inside of the mouth and of the eye sockets lies behind the face.
    possible &= (np.hypot(x / 0.72, (z - 0.55) / 0.95) > 0.8) | (y > 7.8)
    return _shuffled(samples[possible], 40_000)


@lru_cache(maxsize=1)
def face_samples() -> SurfaceSamples:
    """Samples of brows, cheeks, jaw and the upper neck, without lips, mouth and ears."""
    samples = surface_samples()
    y, z = samples.rest[:, 1], samples.rest[:, 2]
    possible = ~samples.ear & ~samples.lips & ~samples.mouth & (y < 7.7) & (z > 0.35)
    return _shuffled(samples[possible], 120_000)


def choose(density: Array, count: int, rng: np.random.Generator) -> Array:
    """Indices of samples, taken in proportion to `density` (S,) in [0, 1], in random order.

    `count` is how many there would be if all samples of positive density had density 1.
    """
    positive = np.flatnonzero(density > 0)
    share = min(1.0, count / max(len(positive), 1))
    kept = positive[rng.random(len(positive)) < density[positive] * share]
    return np.asarray(rng.permutation(kept))


def _shuffled(samples: SurfaceSamples, most: int) -> SurfaceSamples:
    order = np.random.default_rng(0).permutation(len(samples))
    return samples[order[:most]]
