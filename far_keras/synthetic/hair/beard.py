"""Facial hair: mustache, goatee, full beard and sideburns, with soft borders and free lips."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from far_keras.synthetic.hair.roots import choose, face_samples
from far_keras.synthetic.hair.short_hairs import draw_short_hairs
from far_keras.synthetic.head.mesh import SurfaceSamples
from far_keras.synthetic.parameters import Beard
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Scene

__all__ = ["beard_region", "draw_beard"]

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["mustache", "goatee", "cheeks", "sideburns"]

MOST_HAIRS = 6000
LEAST = 0.2  # strength below which nothing is drawn
WIDTH = 0.0125  # decimetres


def _soft(values: Array, edge: float) -> Array:
    """0 below 0, 1 above `edge`, a smooth step between."""
    t = np.clip(values / edge, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def beard_region(rest: Array, kind: Kind, beard: Beard | None = None) -> Array:
    """How densely one kind of facial hair grows at points of the rest head.

    Args:
        rest: (N, 3) points on the skin; those on lips and ears must be left out by the caller.
        kind: "cheeks" are cheeks, jaw and upper neck: with mustache and goatee, a full beard.
        beard: Whose shapes of mustache and goatee; None for natural ones.

    Returns:
        (N,) float64 in [0, 1].
    """
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    beard = beard or Beard()
    if kind == "mustache":
        top = 6.845 - 0.22 * x - 0.25 * np.maximum(x - 0.2, 0)
        low = 6.70 - 0.35 * np.maximum(x - 0.2, 0)
        end = 0.36
        if beard.mustache_style == "pencil":
            top = top - 0.055
        elif beard.mustache_style == "chevron":
            low = low - 0.03
        elif beard.mustache_style == "handlebar":
            end, low = 0.44, low - 0.02
        inside = _soft(top - y, 0.06) * _soft(y - low, 0.03) * _soft(end - x, 0.14)
        return np.asarray(inside * (z > 1.1))
    if kind == "goatee":
        chin = _soft(0.32 - x, 0.17) * _soft(6.545 - 0.1 * x - y, 0.09) * _soft(y - 6.06, 0.14)
        patch = _soft(0.07 - x, 0.03) * _soft(6.585 - y, 0.03) * (y > 6.4)
        ring = (
            _soft(x - 0.23, 0.07)
            * _soft(0.385 - x, 0.1)
            * _soft(6.66 - y, 0.1)
            * _soft(y - 6.24, 0.12)
        )
        if beard.goatee_style == "chin":
            ring = 0 * ring
        elif beard.goatee_style == "anchor":
            along_jaw = _soft(0.46 - x, 0.1) * _soft(6.36 - y, 0.05) * _soft(y - 6.1, 0.08)
            chin, ring = np.maximum(0.6 * chin * _soft(0.2 - x, 0.1), along_jaw), 0 * ring
        return np.asarray(np.maximum(np.maximum(chin, patch), ring) * (z > 0.95))
    if kind == "cheeks":
        top = np.interp(z, (0.5, 0.68, 0.85, 1.05, 1.2, 1.4), (7.2, 7.1, 6.82, 6.66, 6.56, 6.5))
        low = np.interp(z, (0.4, 0.8, 1.1, 1.3), (6.5, 6.24, 6.1, 6.04))
        return np.asarray(
            _soft(top + 0.03 - y, 0.22) * _soft(y - low + 0.04, 0.2) * _soft(z - 0.6, 0.12)
        )
    # Narrow before the ear, from the temple's hair down to the lobe, thinner towards the cheek.
    front = np.interp(y, (6.8, 7.0, 7.3), (0.79, 0.85, 0.92))
    before_ear = _soft(front - z, 0.13) * _soft(z - 0.62, 0.05) * _soft(x - 0.5, 0.05)
    return np.asarray(before_ear * _soft(7.38 - y, 0.1) * _soft(y - 6.84, 0.22))


def draw_beard(scene: Scene) -> None:
    """Draws mustache, goatee, full beard and sideburns of the person; region BEARD.

    Stubble (`Beard.shadow`) is part of the skin and not drawn here.
    """
    beard, hair = scene.person.beard, scene.person.hair
    amounts: dict[Kind, float] = {
        "mustache": beard.mustache,
        "goatee": beard.goatee,
        "cheeks": beard.cheeks,
        "sideburns": max(hair.sideburns, beard.cheeks) if hair.style != "bald" else beard.cheeks,
    }
    if max(amounts.values()) < LEAST:
        return
    samples = face_samples()
    rng = scene.person_rng("beard")
    length = max(beard.length, 0.05)
    density = np.zeros(len(samples))
    for kind, amount in amounts.items():
        if amount >= LEAST:
            # Weak growth is sparse as well as short.
            grown = beard_region(samples.rest, kind, beard)
            density = np.maximum(density, grown * min(1, 0.3 + amount))
    if beard.patchy:
        x, y, z = samples.rest.T
        islands = sample_noise(noise_texture(1.3, 9), 0.5 * (x + 0.4 * z), 0.5 * y + 0.3 * z)
        density *= np.clip(1 - 1.3 * beard.patchy * np.clip(islands + 0.5, 0, 1), 0, 1)
    roots = samples[choose(density, MOST_HAIRS, rng)]
    if len(roots) == 0:
        return
    strength, edge = np.zeros(len(roots)), np.zeros(len(roots))
    for kind, amount in amounts.items():
        if amount >= LEAST:
            here = beard_region(roots.rest, kind, beard)
            strength = np.maximum(strength, amount * (here > 0.02))
            edge = np.maximum(edge, here)
    lengths = _lengths(roots, length, beard.cheeks > 0.5) * (0.4 + 0.6 * strength)
    # Borders are stubble: shorter and fainter hairs.
    lengths = lengths * (0.3 + 0.7 * edge)
    draw_short_hairs(
        scene,
        roots,
        _directions(roots, rng),
        lengths * rng.uniform(0.7, 1.2, len(roots)),
        beard.color,
        Region.BEARD,
        rng,
        width=WIDTH,
        alpha=0.3 + 0.3 * edge,
        rise=0.35 + min(1.0, 3 * length),
        gravity=min(0.6, 2.5 * length),
        steps=5,
        grey=beard.grey,
    )


def _directions(roots: SurfaceSamples, rng: np.random.Generator) -> Array:
    """Outwards over the lip, down on cheeks and chin, a little forward under the jaw."""
    x, y = roots.rest[:, 0], roots.rest[:, 1]
    lip = (np.abs(x) < 0.37) & (y > 6.64)
    sideways = np.where(lip, np.sign(x) * 0.9, 0.25 * x)
    down = np.where(lip, -0.8, -1.0)
    directions = np.stack([sideways, down, 0.15 + 0.0 * x], axis=1)
    return np.asarray(directions + rng.normal(0, 0.22, directions.shape))


def _lengths(roots: SurfaceSamples, length: float, full: bool) -> Array:
    """Trimmed over the lip and along the upper edges, longest at the chin."""
    x, y, z = np.abs(roots.rest[:, 0]), roots.rest[:, 1], roots.rest[:, 2]
    chin = _soft(6.6 - y, 0.35) * _soft(z - 0.9, 0.3)
    cheek = 0.45 if full else 0.7
    lengths = length * (cheek + (1 - cheek) * chin)
    # A mustache ends at the lip's upper edge.
    over_lip = (x < 0.3) & (y > 6.7)
    room = np.maximum(y - (6.725 - 0.25 * np.maximum(x - 0.08, 0)), 0.02) * 1.4
    lengths = np.where(over_lip, np.minimum(lengths, room + 0.02), lengths)
    sideburn = z < 0.92
    return np.asarray(np.where(sideburn, np.minimum(lengths, 0.075), lengths))
