"""Eyebrows: a few hundred fine hairs along a relaxed arch over each eye."""

from __future__ import annotations

from typing import Any

import numpy as np

from far_keras.synthetic.hair.roots import choose, face_samples
from far_keras.synthetic.hair.short_hairs import draw_short_hairs
from far_keras.synthetic.parameters import Hair
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.scene import Scene

__all__ = ["brow_density", "brow_line", "draw_brows"]

Array = np.ndarray[Any, np.dtype[Any]]

INNER, OUTER = 0.125, 0.60  # |x| on the rest head
FADE = (0.7, 1.0, 1.0, 0.6)  # of a hair's opacity from the inner end to the tail


def brow_line(x: Array, hair: Hair, male: bool) -> Array:
    """Height (y) of the brows' middle on the rest head at |x| (...), decimetres.

    The inner end is no lower than the outer one: a relaxed face, whatever the arch.
    """
    peak = 0.024 + 0.046 * hair.brow_arch
    knots = (INNER, 0.22, 0.34, 0.43, 0.51, OUTER)
    line = np.interp(
        x, knots, (0.012, 0.016, 0.024 + 0.4 * (peak - 0.024), peak, 0.65 * peak, -0.012)
    )
    line += 0.05 * hair.brow_angle * (x - 0.3) / 0.3
    return np.asarray((7.495 if male else 7.52) + line)


def brow_density(rest: Array, hair: Hair, male: bool) -> Array:
    """How densely brows grow at points (N, 3) of the rest head: (N,) in [0, 1], soft edges."""
    x = np.abs(rest[:, 0])
    thickness = (0.018 + 0.036 * hair.brow_thickness) * (1.12 if male else 0.68)
    half = thickness * np.interp(x, (INNER, 0.17, 0.3, 0.43, OUTER), (0.7, 1.0, 1.0, 0.7, 0.3))
    offset = np.abs(rest[:, 1] - brow_line(x, hair, male)) / half
    across = np.clip((1.4 - offset) / 0.9, 0, 1)
    start = INNER + 0.14 * (hair.brow_gap - 0.5)
    end = OUTER + 0.16 * (hair.brow_length - 0.5)
    inner = np.clip((x - start + 0.02) / 0.09, 0, 1)
    outer = np.clip((end - x) / 0.13, 0, 1)
    return np.asarray(across * inner * outer * (rest[:, 2] > 0.9))


def draw_brows(scene: Scene) -> None:
    """Draws both brows; region BROW."""
    hair, male = scene.person.hair, scene.person.male
    samples = face_samples()
    near = np.abs(samples.rest[:, 1] - 7.5) < 0.16
    density = np.zeros(len(samples))
    density[near] = brow_density(samples.rest[near], hair, male)
    rng = scene.person_rng("brows")
    count = int(
        np.count_nonzero(density) * (0.6 + 0.4 * hair.brow_thickness + 0.4 * hair.brow_fill)
    )
    roots = samples[choose(density, count, rng)]
    x, side = np.abs(roots.rest[:, 0]), np.sign(roots.rest[:, 0])
    above = roots.rest[:, 1] - brow_line(x, hair, male)
    # Upright at the inner end, along the arch in the middle, falling outside.
    upward = np.interp(x, (INNER, 0.2, 0.34, 0.46, OUTER), (1.6, 0.75, 0.3, -0.25, -0.5))
    directions = np.stack([side, upward - 9.0 * above, 0.0 * x], axis=1)
    directions += rng.normal(0, 0.16, directions.shape)
    lengths = (0.055 + 0.030 * hair.brow_thickness) * np.interp(
        x, (INNER, 0.25, OUTER), (0.75, 1.0, 0.8)
    )
    lengths = lengths * rng.uniform(0.75, 1.15, len(roots))
    draw_short_hairs(
        scene,
        roots,
        directions,
        lengths,
        hair.brow_color,
        Region.BROW,
        rng,
        width=0.0075,
        alpha=((0.75 if male else 0.42) + 0.3 * hair.brow_fill)
        * np.interp(x, (INNER, 0.2, 0.4, OUTER), FADE),
        rise=0.12,
    )
