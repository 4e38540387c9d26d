"""Beards and eyebrows: short hairs that follow the skin."""

from __future__ import annotations

from typing import Literal

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.hair.strands import choose, face_samples, strand_colors
from far_keras.synthetic.head.mesh import SurfaceSamples
from far_keras.synthetic.parameters import RGB, Beard, Hair
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Scene

__all__ = ["INNER", "OUTER", "beard_region", "brow_line", "draw_beard", "draw_brows"]

WHITE = np.array([0.55, 0.54, 0.52], np.float32)


def draw_short_hairs(
    scene: Scene,
    roots: SurfaceSamples,
    directions: np.ndarray,
    lengths: np.ndarray,
    color: RGB,
    region: Region,
    rng: np.random.Generator,
    *,
    width: float,
    alpha: np.ndarray,
    rise: float,
    gravity: float = 0.0,
    steps: int = 4,
    grey: float = 0.0,
) -> None:
    """Draws N hairs that lie along the skin.

    Args:
        directions: (N, 3) in the head frame; only their part along the skin counts.
        lengths, width: Decimetres: (N,), and one at the root.
        alpha: (N,) opacity.
        rise: How steeply the hairs leave the skin, 0 flat .. 1 at 45 degrees.
        gravity: How far the tips sink, per length.
        grey: Share of hairs that are white.
    """
    start = scene.head.surface(roots)
    normals = scene.head.surface_normals(roots)
    along = directions - normals * np.sum(directions * normals, axis=1, keepdims=True)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    upward = np.float64(rise) * normals  # in double precision
    course = along + upward
    course /= np.linalg.norm(course, axis=1, keepdims=True)
    t = np.linspace(0, 1, steps)[None, :, None]
    reach = lengths[:, None, None]
    points = start[:, None] + reach * t * course[:, None] + 0.003 * normals[:, None]
    points = points + reach * gravity * t**2 * np.array([0.0, -1.0, 0.0])
    # Rising hairs bend back towards the skin.
    points = points - reach * 0.5 * t**2 * upward[:, None]
    owner = rng.integers(0, max(8, len(roots) // 12), len(roots))
    albedo = strand_colors(np.array(color), owner, rng).astype(np.float32)
    if grey:
        albedo[rng.random(len(roots)) < grey] = WHITE
    facing = scene.to_camera(normals, start)
    lit = albedo * scene.light.irradiance(facing, 0.35)
    shine = 0.02 * scene.light.highlight(facing, 6.0)
    shade = (0.65 + 0.35 * t).astype(np.float32)
    colors = (lit + shine)[:, None] * shade
    thickness = width * scene.pixels_per_unit * rng.uniform(0.75, 1.2, (len(roots), 1))
    scene.framebuffer.draw_strands(
        scene.project(points),
        colors,
        thickness * np.linspace(1, 0.5, steps),
        region,
        alpha=alpha[:, None],
        bias=0.02,
    )


INNER, OUTER = 0.125, 0.60  # |x| on the rest head
FADE = (0.7, 1.0, 1.0, 0.6)  # of a hair's opacity from the inner end to the tail


def brow_line(x: np.ndarray, hair: Hair, male: bool) -> np.ndarray:
    """Height (y) of the brows' middle on the rest head at |x| (...), decimetres.

    The inner end is no lower than the outer one: a relaxed face, whatever the arch.
    """
    peak = 0.024 + 0.046 * hair.brow_arch
    knots = (INNER, 0.22, 0.34, 0.43, 0.51, OUTER)
    line = np.interp(
        x, knots, (0.012, 0.016, 0.024 + 0.4 * (peak - 0.024), peak, 0.65 * peak, -0.012)
    )
    line += 0.05 * hair.brow_angle * (x - 0.3) / 0.3
    return (7.495 if male else 7.52) + line


def brow_density(rest: np.ndarray, hair: Hair, male: bool) -> np.ndarray:
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
    return across * inner * outer * (rest[:, 2] > 0.9)


def draw_brows(scene: Scene) -> None:
    """Draws both brows; region BROW."""
    hair, male = scene.person.hair, scene.person.male
    samples = face_samples()
    near = np.abs(samples.rest[:, 1] - 7.5) < 0.16
    density = np.zeros(len(samples))
    density[near] = brow_density(samples.rest[near], hair, male)
    rng = scene.person_rng("brows")
    full = 0.6 + 0.4 * hair.brow_thickness + 0.4 * hair.brow_fill
    roots = samples[choose(density, int(np.count_nonzero(density) * full), rng)]
    if len(roots) == 0:
        return
    x, side = np.abs(roots.rest[:, 0]), np.sign(roots.rest[:, 0])
    above = roots.rest[:, 1] - brow_line(x, hair, male)
    # Upright at the inner end, along the arch in the middle, falling outside.
    upward = np.interp(x, (INNER, 0.2, 0.34, 0.46, OUTER), (1.6, 0.75, 0.3, -0.25, -0.5))
    directions = np.stack([side, upward - 9.0 * above, 0.0 * x], axis=1)
    directions += rng.normal(0, 0.16, directions.shape)
    opacity = (0.75 if male else 0.42) + 0.3 * hair.brow_fill
    lengths = np.interp(x, (INNER, 0.25, OUTER), (0.75, 1.0, 0.8))
    lengths = (0.055 + 0.030 * hair.brow_thickness) * lengths * rng.uniform(0.75, 1.15, len(roots))
    draw_short_hairs(
        scene,
        roots,
        directions,
        lengths,
        hair.brow_color,
        Region.BROW,
        rng,
        width=0.0075,
        alpha=opacity * np.interp(x, (INNER, 0.2, 0.4, OUTER), FADE),
        rise=0.12,
    )


Kind = Literal["mustache", "goatee", "cheeks", "sideburns"]

MOST_HAIRS = 6000
LEAST = 0.2  # strength below which nothing is drawn
WIDTH = 0.0125  # decimetres


def _soft(values: np.ndarray, edge: float) -> np.ndarray:
    """0 below 0, 1 above `edge`, a smooth step between."""
    t = np.clip(values / edge, 0, 1)
    return t * t * (3 - 2 * t)


def beard_region(rest: np.ndarray, kind: Kind, beard: Beard | None = None) -> np.ndarray:
    """How densely one kind of facial hair grows at points (N, 3) of the rest head's skin.

    Returns (N,) float64 in [0, 1]. "cheeks" are cheeks, jaw and upper neck: with mustache and
    goatee, a full beard. Without `beard`, mustache and goatee have their natural shapes. Lips and
    ears are not left out.
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
        return inside * (z > 1.1)
    if kind == "goatee":
        chin = _soft(0.32 - x, 0.17) * _soft(6.545 - 0.1 * x - y, 0.09) * _soft(y - 6.06, 0.14)
        patch = _soft(0.07 - x, 0.03) * _soft(6.585 - y, 0.03) * (y > 6.4)
        ring = _soft(x - 0.23, 0.07) * _soft(0.385 - x, 0.1)
        ring = ring * _soft(6.66 - y, 0.1) * _soft(y - 6.24, 0.12)
        if beard.goatee_style == "chin":
            ring = 0 * ring
        elif beard.goatee_style == "anchor":
            along_jaw = _soft(0.46 - x, 0.1) * _soft(6.36 - y, 0.05) * _soft(y - 6.1, 0.08)
            chin, ring = np.maximum(0.6 * chin * _soft(0.2 - x, 0.1), along_jaw), 0 * ring
        return np.maximum(np.maximum(chin, patch), ring) * (z > 0.95)
    if kind == "cheeks":
        top = np.interp(z, (0.5, 0.68, 0.85, 1.05, 1.2, 1.4), (7.2, 7.1, 6.82, 6.66, 6.56, 6.5))
        low = np.interp(z, (0.4, 0.8, 1.1, 1.3), (6.5, 6.24, 6.1, 6.04))
        return _soft(top + 0.03 - y, 0.22) * _soft(y - low + 0.04, 0.2) * _soft(z - 0.6, 0.12)
    # Narrow before the ear, from the temple's hair down to the lobe, thinner towards the cheek.
    front = np.interp(y, (6.8, 7.0, 7.3), (0.79, 0.85, 0.92))
    before_ear = _soft(front - z, 0.13) * _soft(z - 0.62, 0.05) * _soft(x - 0.5, 0.05)
    return before_ear * _soft(7.38 - y, 0.1) * _soft(y - 6.84, 0.22)


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
    amounts = {kind: amount for kind, amount in amounts.items() if amount >= LEAST}
    if not amounts:
        return
    samples = face_samples()
    rng = scene.person_rng("beard")
    length = max(beard.length, 0.05)
    grown = {kind: beard_region(samples.rest, kind, beard) for kind in amounts}
    density = np.zeros(len(samples))
    for kind, amount in amounts.items():  # weak growth is sparse as well as short
        density = np.maximum(density, grown[kind] * min(1, 0.3 + amount))
    if beard.patchy:
        x, y, z = samples.rest.T
        islands = sample_noise(noise_texture(1.3, 9), 0.5 * (x + 0.4 * z), 0.5 * y + 0.3 * z)
        density *= np.clip(1 - 1.3 * beard.patchy * np.clip(islands + 0.5, 0, 1), 0, 1)
    chosen = choose(density, MOST_HAIRS, rng)
    if len(chosen) == 0:
        return
    roots = samples[chosen]
    strength, edge = np.zeros(len(roots)), np.zeros(len(roots))
    for kind, amount in amounts.items():
        strength = np.maximum(strength, amount * (grown[kind][chosen] > 0.02))
        edge = np.maximum(edge, grown[kind][chosen])
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


def _directions(roots: SurfaceSamples, rng: np.random.Generator) -> np.ndarray:
    """Outwards over the lip, down on cheeks and chin, a little forward under the jaw."""
    x, y = roots.rest[:, 0], roots.rest[:, 1]
    lip = (np.abs(x) < 0.37) & (y > 6.64)
    sideways = np.where(lip, np.sign(x) * 0.9, 0.25 * x)
    down = np.where(lip, -0.8, -1.0)
    directions = np.stack([sideways, down, 0.15 + 0.0 * x], axis=1)
    return directions + rng.normal(0, 0.22, directions.shape)


def _lengths(roots: SurfaceSamples, length: float, full: bool) -> np.ndarray:
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
    return np.where(sideburn, np.minimum(lengths, 0.075), lengths)
