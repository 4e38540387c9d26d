"""How each hair style is combed: direction, length and manner of every hair from its root."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from far_keras.synthetic.head.form import SKULL_CENTER
from far_keras.synthetic.parameters import Hair

__all__ = [
    "PARTING",
    "Combing",
    "Look",
    "comb_fringe",
    "comb_loose",
    "comb_scalp",
    "comb_tail",
    "draw_look",
    "unit",
]

PARTING = 0.3  # decimetres from the middle at `Hair.parting` 1


@dataclass(frozen=True)
class Look:
    """Traits of a person's haircut that `Hair` leaves open. Lengths in decimetres."""

    end: float  # height (y) at which long and medium hair ends
    face_edge: tuple[float, float]  # z of the hair's front at the face: image left, right
    shoulders: tuple[float, float]  # positive: hair falls in front of the shoulders
    sweep: float  # sideways direction of a fringe, -1 .. 1
    knot: np.ndarray  # (3,) where a bun or ponytail is tied, on the rest head
    frequency: float  # of waves, radians per decimetre
    top_length: float  # of short hair
    fringe_trim: float  # how far a fringe ends above the brows

    @property
    def fringe_parting(self) -> float:
        """x from which a fringe is swept aside: over the eye that it leaves free."""
        return -0.32 * float(np.sign(self.sweep)) * min(1.0, 2 * abs(self.sweep))


@dataclass(frozen=True)
class Combing:
    """Arguments of `strands.grow` and `strands.wave` for N hairs: (N,), or one value for all."""

    directions: np.ndarray  # (N, 3)
    lengths: np.ndarray
    lifts: np.ndarray
    cling: np.ndarray | float = 0.0
    weight: np.ndarray | float = 0.0
    face_edge: np.ndarray | float = 9.0  # nothing is drawn back
    sideways: np.ndarray | float = 0.0
    amplitude: np.ndarray | float = 0.0
    frequency: np.ndarray | float = 0.0
    cling_until: float = 7.4
    flat: float = 0.8
    clump: float = 0.45
    width: float = 0.022


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) at length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-9)


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


def comb_scalp(
    rest: np.ndarray,
    hair: Hair,
    look: Look,
    male: bool,
    owner: np.ndarray,
    rng: np.random.Generator,
) -> Combing:
    """Combs hairs with roots `rest` (N, 3) on the whole scalp of the rest head.

    Hairs of one lock (`owner`, (N,)) share deviations from the comb, which `rng` draws. Men's short
    hair is cut close at the sides, women's covers the ears.
    """
    if hair.style == "buzzed":
        return _buzzed(rest, rng)
    if hair.style == "short" and male:
        return _short(rest, hair, look, owner, rng)
    if hair.style == "afro":
        return _afro(rest, hair, look, owner, rng)
    if hair.style in ("bun", "ponytail", "updo"):
        return _tied(rest, hair, look, owner, rng)
    return _hanging(rest, hair, look, male, owner, rng)


def _skull_normals(rest: np.ndarray) -> np.ndarray:
    return unit(rest - SKULL_CENTER)


def _per_side(rest: np.ndarray, values: tuple[float, float]) -> np.ndarray:
    share = np.clip(rest[:, 0] / 0.1, -1, 1) * 0.5 + 0.5
    return values[0] * (1 - share) + values[1] * share


def _jitter(owner: np.ndarray, lock: float, strand: float, rng: np.random.Generator) -> np.ndarray:
    shared = rng.normal(0, lock, (owner.max() + 1, 3))
    return shared[owner] + rng.normal(0, strand, (len(owner), 3))


def _waves(
    hair: Hair, look: Look, owner: np.ndarray, size: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Amplitude (N,), frequency (N,) and flatness of waves and curls, as fields of `Combing`."""
    curl = np.clip((hair.wave - 0.45) / 0.4, 0, 1)
    amplitude = size * (0.004 + 0.28 * min(hair.wave, 0.5)) * (1 - 0.35 * curl)
    frequency = look.frequency * (1 + 1.2 * curl)
    locks = rng.normal(0, 0.03 + 0.1 * curl, owner.max() + 1)
    own = 1 + locks[owner] + rng.normal(0, 0.015 + 0.1 * curl, len(owner))
    strength = rng.uniform(0.6, 1.2, len(owner))
    return {
        "amplitude": amplitude * strength,
        "frequency": frequency * own,
        "flat": float(0.45 - 0.3 * curl),
    }


def _buzzed(rest: np.ndarray, rng: np.random.Generator) -> Combing:
    count = len(rest)
    forward = np.array([0.0, 0.0, 0.9]) * (rest[:, 1:2] > 7.7) + np.array([0, -0.6, -0.1])
    directions = unit(_skull_normals(rest) * 0.6 + forward + rng.normal(0, 0.25, (count, 3)))
    return Combing(
        directions=directions,
        lengths=rng.uniform(0.025, 0.055, count),
        lifts=rng.uniform(0.005, 0.025, count),
        cling=0.4,
        clump=0.0,
        width=0.010,
    )


def _short(
    rest: np.ndarray, hair: Hair, look: Look, owner: np.ndarray, rng: np.random.Generator
) -> Combing:
    x, y, z = rest.T
    count = len(rest)
    part = PARTING * hair.parting
    side = np.tanh((x - part) / 0.04)
    # 0 at the sides and the neck, 1 on top; a soft border, as scissors over a comb leave it.
    top = np.clip((y - 7.78 - 0.1 * (z < 0)) / 0.3, 0, 1)
    top = top * top * (3 - 2 * top)
    ahead = np.clip((z - 0.3) / 0.8, 0, 1)
    one = np.ones(count)
    combed = {
        "side": np.stack([side, 0.2 * one, 0.25 - 0.2 * ahead], 1),
        "forward": np.stack([0.4 * x, 0 * one, one], 1),
        "back": np.stack([0.25 * x, 0.5 * ahead, -1.0 * one], 1),
        "up": np.stack([0.35 * look.sweep * one, 0.9 * ahead, 0.5 - 1.2 * ahead], 1),
        "tousled": np.stack([0.5 * look.sweep * one, 0.3 * one, 0.6 * one], 1),
    }[hair.cut]
    rough = {"tousled": 0.55, "up": 0.22}.get(hair.cut, 0.14) + 0.35 * hair.wave
    combed = combed + _jitter(owner, rough, 0.07, rng)
    down = np.stack([0 * one, -one, np.where(z > 0.55, -0.25, -0.1)], 1)
    down = down + rng.normal(0, 0.08, (count, 3))
    curly = np.clip((hair.wave - 0.5) / 0.3, 0, 1)
    standing = _skull_normals(rest) + _jitter(owner, 0.3, 0.1, rng)
    directions = unit(down) * (1 - top)[:, None] + unit(combed) * top[:, None]
    directions = unit(directions) * (1 - 0.75 * curly) + unit(standing) * 0.75 * curly
    lowest = np.clip((y - 6.7) / 0.7, 0, 1)
    sides = (0.02 + 0.24 * hair.sides) * (0.45 + 0.55 * lowest)
    long_top = look.top_length * (0.75 + 0.5 * hair.volume) * (1 + 0.2 * curly)
    sides = sides + 0.5 * curly * (look.top_length - sides) * 0.5
    lengths = (sides * (1 - top) + long_top * top) * rng.uniform(0.8, 1.12, count)
    height = 0.05 + 0.16 * hair.volume + (0.08 * ahead if hair.cut == "up" else 0)
    lifts = (0.02 * (1 - top) + height * top) * rng.random(count) ** 0.6
    lifts = lifts + 0.2 * curly * lengths * rng.random(count)
    waves = _waves(hair, look, owner, 0.55, rng)
    edge = 9.0 if hair.cut == "forward" or hair.bangs > 0.12 else 0.95
    if hair.cut == "forward":
        lengths *= 1 - 0.55 * ahead * top
    return Combing(
        directions=unit(directions),
        lengths=lengths,
        lifts=lifts + 0.006,
        cling=0.9 - 0.55 * curly,
        weight=0.9 * (1 - curly),
        face_edge=edge,
        amplitude=waves["amplitude"] * (0.35 + 0.65 * top),
        frequency=waves["frequency"] * 1.25,
        cling_until=6.5,
        flat=waves["flat"],
        clump=0.3 + 0.25 * (hair.cut == "tousled"),
    )


def _hanging(
    rest: np.ndarray,
    hair: Hair,
    look: Look,
    male: bool,
    owner: np.ndarray,
    rng: np.random.Generator,
) -> Combing:
    x, y, z = rest.T
    count = len(rest)
    part = PARTING * hair.parting
    # The parting ends before the crown, where hair falls straight back.
    side = np.tanh((x - part) / (0.03 + 0.6 * np.clip((0.95 - z) / 0.6, 0, 1)))
    behind = np.clip((0.35 - z) / 0.5, 0, 1)
    ahead = np.clip((z - 0.75) / 0.4, 0, 1)
    aside = side * (1 - behind) + 0.25 * x * behind
    upward = 0.2 - 0.9 * behind - 1.3 * np.clip((8.15 - y) / 0.5, 0, 1)
    combed = np.stack([aside, upward, -0.3 - 0.45 * ahead - 0.1 * behind], axis=1)
    # Along the skull, whatever the comb's direction, and a little off it.
    normals = _skull_normals(rest)
    combed = combed - normals * np.sum(combed * normals, axis=1, keepdims=True)
    curly = np.clip((hair.wave - 0.5) / 0.4, 0, 1)
    directions = unit(combed + _jitter(owner, 0.1, 0.05, rng))
    directions = unit(directions + (0.1 * hair.volume + 0.5 * curly) * normals)
    # Along the skull a hair from the crown needs more than the height it falls.
    drop = np.maximum(y - look.end, 0.15)
    detour = 0.55 * np.clip((y - 7.6) / 0.8, 0, 1) * (1 - np.abs(x) / 0.9)
    lengths = (drop + detour) * rng.uniform(0.86, 1.06, count)
    layer = rng.random(count) ** 0.7
    lifts = (0.04 + 0.32 * hair.volume + 0.14 * min(hair.wave, 0.6)) * layer
    lifts = lifts * (0.3 + 0.7 * np.tanh(np.abs(x - part) / 0.2))  # flat next to the parting
    waves = _waves(hair, look, owner, 1.0, rng)
    return Combing(
        directions=directions,
        lengths=lengths,
        lifts=lifts + 0.01,
        cling=0.9 - 0.5 * curly,
        weight=6.0 - 2.5 * curly,
        face_edge=_per_side(rest, look.face_edge) + rng.normal(0, 0.05, count),
        sideways=np.where(z > 0.1, _per_side(rest, look.shoulders) * (0.4 if male else 1.0), -0.5),
        cling_until=6.8 if hair.style == "short" else 7.9,
        **waves,
        clump=0.5,
    )


def _afro(
    rest: np.ndarray, hair: Hair, look: Look, owner: np.ndarray, rng: np.random.Generator
) -> Combing:
    """Curls that stand off the head in all directions."""
    count = len(rest)
    reach = (0.25 + 0.75 * hair.volume) * (0.75 + 0.25 * np.clip((rest[:, 1] - 7.0) / 1.2, 0, 1))
    lengths = reach * rng.uniform(0.55, 1.05, count)
    waves = _waves(replace(hair, wave=1.0), look, owner, 1.5, rng)
    return Combing(
        directions=unit(_skull_normals(rest) + _jitter(owner, 0.25, 0.5, rng)),
        lengths=lengths,
        lifts=0.8 * lengths,
        weight=0.15,
        amplitude=waves["amplitude"],
        frequency=waves["frequency"] * 0.8,
        cling_until=6.0,
        flat=0.0,
        clump=0.1,
        width=0.026,
    )


def comb_loose(
    rest: np.ndarray, hair: Hair, look: Look, owner: np.ndarray, rng: np.random.Generator
) -> Combing:
    """Strands that the comb has missed: short ones stand off, long ones hang before the ears."""
    count = len(rest)
    temple = (np.abs(rest[:, 0]) > 0.42) & (rest[:, 2] > 0.55) & (rest[:, 1] < 8.05)
    long = temple & (hair.style not in ("short", "buzzed", "afro"))
    aside = np.sign(rest[:, :1]) * np.array([0.5, -0.5, 0.35])
    off = _skull_normals(rest) + rng.normal(0, 0.7, (count, 3))
    waves = _waves(hair, look, owner, 0.8, rng)
    return Combing(
        directions=unit(np.where(long[:, None], aside + rng.normal(0, 0.2, (count, 3)), off)),
        lengths=np.where(long, rng.uniform(0.5, 1.5, count), rng.uniform(0.08, 0.3, count)),
        lifts=np.where(long, 0.05, 0.03 + 0.12 * rng.random(count) * (0.3 + hair.volume)),
        cling=np.where(long, 0.2, 0.6),
        weight=np.where(long, 4.0, 0.8),
        amplitude=waves["amplitude"] + 0.005 + 0.015 * rng.random(count),
        frequency=waves["frequency"] * rng.uniform(0.3, 1.0, count),
        cling_until=7.5,
        flat=waves["flat"],
        clump=0.6,
        width=0.010,
    )


def _tied(
    rest: np.ndarray, hair: Hair, look: Look, owner: np.ndarray, rng: np.random.Generator
) -> Combing:
    count = len(rest)
    normals = _skull_normals(rest)
    knot = look.knot - SKULL_CENTER
    towards = look.knot - rest
    tangent = unit(towards - normals * np.sum(towards * normals, axis=1, keepdims=True))
    angle = np.arccos(np.clip(normals @ unit(knot), -1, 1))
    puff = (0.08 if hair.style == "updo" else 0.04) + 0.14 * hair.volume
    waves = _waves(hair, look, owner, 0.25, rng)
    return Combing(
        directions=unit(tangent + _jitter(owner, 0.03, 0.03, rng)),
        lengths=0.92 * angle + 0.06,
        lifts=puff * rng.random(count) ** 0.7 + 0.012,
        cling=0.97,
        cling_until=6.0,
        **waves,
        clump=0.15,
    )


def comb_tail(
    count: int, hair: Hair, look: Look, owner: np.ndarray, rng: np.random.Generator
) -> Combing:
    """The free end of a ponytail: `count` hairs from its knot."""
    waves = _waves(hair, look, owner, 1.0, rng)
    aim = np.array([0.55 * look.sweep, 0.35, -1.0])
    return Combing(
        directions=unit(aim + rng.normal(0, 0.3, (count, 3))),
        lengths=rng.uniform(0.85, 1.1, count) * (look.knot[1] - 6.1),
        lifts=np.full(count, 0.1),
        weight=4.0,
        **waves,
        clump=0.4,
    )


def comb_fringe(
    rest: np.ndarray,
    hair: Hair,
    look: Look,
    eye_height: float,
    owner: np.ndarray,
    rng: np.random.Generator,
) -> Combing:
    """Bangs: hairs from above the forehead that fall over it, shorter at the outer ends.

    `eye_height` is the eyes' y in the skull's frame: 7.28 on the rest head.
    """
    x, y, z = rest.T
    count = len(rest)
    sweep = look.sweep
    aside = np.tanh((x - look.fringe_parting) / 0.08) * max(abs(sweep) - 0.15, 0) * 0.8
    aim = np.stack([0.35 * x + aside, -0.1 + 0 * x, 1 + 0 * x], 1)
    directions = unit(aim + _jitter(owner, 0.09, 0.04, rng))
    # Ends over the brows in the middle, next to the eyes at the outer ends.
    end = eye_height + 0.24 - 0.1 * np.clip(np.abs(x) / 0.5, 0, 1) ** 2
    end = end + 0.12 * (1 - hair.bangs) + look.fringe_trim
    reach = (y - end) + 0.28 * np.clip((1.35 - z) / 0.5, 0, 1) + 0.05
    lengths = reach * (1 + 0.25 * abs(sweep)) * rng.uniform(0.82, 1.05, count)
    waves = _waves(hair, look, owner, 0.45, rng)
    return Combing(
        directions=directions,
        lengths=np.maximum(lengths, 0.12),
        lifts=(0.035 + 0.09 * hair.volume) * rng.random(count) ** 0.7 + 0.012,
        cling=0.9,
        weight=2.0,
        cling_until=6.5,
        **waves,
        clump=0.55,
    )
