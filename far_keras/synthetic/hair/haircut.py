"""A person's haircut: what `parameters.Hair` leaves open, and what a comb decides for each hair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from far_keras.synthetic.parameters import Hair

__all__ = ["PARTING", "Combing", "Look", "draw_look", "unit"]

Array = np.ndarray[Any, np.dtype[Any]]

PARTING = 0.3  # decimetres from the middle at `Hair.parting` 1


@dataclass(frozen=True)
class Look:
    """Traits of a person's haircut that `Hair` leaves open; drawn once for a person.

    Attributes:
        end: Height (y, decimetres) at which long and medium hair ends.
        face_edge: z behind which hair is kept beside the face, (image left, image right).
        shoulders: Positive: hair falls before the shoulders, (image left, image right).
        sweep: Sideways direction of a fringe, -1 .. 1.
        knot: (3,) where a bun or ponytail is tied, on the rest head.
        frequency: Radians a decimetre of waves.
        top_length: Decimetres of short hair on top.
        fringe_trim: Decimetres by which a fringe ends above the brows.
    """

    end: float
    face_edge: tuple[float, float]
    shoulders: tuple[float, float]
    sweep: float
    knot: Array
    frequency: float
    top_length: float
    fringe_trim: float

    @property
    def fringe_parting(self) -> float:
        """x from which a fringe is swept aside: over the eye that it leaves free."""
        return -0.32 * float(np.sign(self.sweep)) * min(1.0, 2 * abs(self.sweep))


@dataclass(frozen=True)
class Combing:
    """Per hair (N,), arguments of `strands.grow` and `strands.wave`; directions (N, 3)."""

    directions: Array
    lengths: Array
    lifts: Array
    cling: Array
    weight: Array
    face_edge: Array
    sideways: Array
    amplitude: Array
    frequency: Array
    cling_until: float = 7.4
    flat: float = 0.8
    clump: float = 0.45
    width: float = 0.022


def unit(vectors: Array) -> Array:
    """Vectors (..., 3) at length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9))


def draw_look(hair: Hair, male: bool, rng: np.random.Generator) -> Look:
    """The open traits of a haircut; the same `rng` state gives the same haircut."""
    if hair.style == "long":
        end = rng.uniform(5.0, 6.1)
    elif hair.style == "short":
        end = rng.uniform(6.75, 7.05)  # a woman's: over the ears
    else:
        end = rng.uniform(6.75, 7.0) if male else rng.uniform(6.1, 6.7)
    tucked = rng.random(2) < 0.22
    open_face = 0.72 + 0.42 * hair.fall + rng.uniform(0.0, 0.15, 2)
    edges = np.where(tucked, 0.5, open_face)
    before = np.where(rng.random() < 0.6, 1.0, -1.0) * np.where(rng.random(2) < 0.85, 1, -1)
    shoulders = before * rng.uniform(0.8, 2.0, 2)
    sweep = rng.choice((-1, 1)) * rng.choice((0.1, 0.3, 0.8))
    if hair.style == "updo":
        knot = np.array([0, 8.45, rng.uniform(0.0, 0.4)])
    elif hair.style == "bun":
        high = rng.random() < 0.55
        knot = np.array([0, 8.42, 0.1]) if high else np.array([0, 7.75, -0.36])
    else:
        knot = np.array([0, rng.uniform(7.6, 8.2), -0.33])
    return Look(
        end=float(end),
        face_edge=(float(edges[0]), float(edges[1])),
        shoulders=(float(shoulders[0]), float(shoulders[1])),
        sweep=float(sweep),
        knot=knot,
        frequency=float(rng.uniform(8.5, 11.5)),
        top_length=float(rng.uniform(0.3, 0.55)),
        fringe_trim=float(rng.uniform(0.0, 0.2) if male else rng.uniform(-0.04, 0.1)),
    )
