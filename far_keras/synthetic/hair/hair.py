"""Head hair: thousands of hairs, grown by the style, lit, and drawn from back to front."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.face.anatomy import scalp_density
from far_keras.synthetic.hair.strands import (
    choose,
    clump,
    grow,
    nearest_guide,
    press,
    project_hairs,
    scalp_samples,
    shade_hairs,
    strand_colors,
    wave,
)
from far_keras.synthetic.hair.styles import (
    PARTING,
    Combing,
    Look,
    comb_fringe,
    comb_loose,
    comb_scalp,
    comb_tail,
    draw_look,
    unit,
)
from far_keras.synthetic.head.form import SKULL_CENTER, HeadForm, head_form
from far_keras.synthetic.parameters import Hair
from far_keras.synthetic.stage.scene import Scene, cast_shadow
from far_keras.synthetic.worn.hats import UNDER_HAT, hat_rim

__all__ = ["draw_hair", "grow_hair"]


_STRANDS = {  # hairs on the scalp, points per hair
    "buzzed": (9000, 4),
    "short": (5500, 12),
    "medium": (4200, 20),
    "long": (4200, 26),
    "bun": (4500, 14),
    "ponytail": (4500, 14),
    "updo": (4500, 14),
    "afro": (6000, 12),
}
_LOCKS = 170

Strands = tuple[np.ndarray, Combing, np.ndarray]  # points (N, K, 3), combing, lock of each (N,)


def draw_hair(scene: Scene) -> None:
    """Draws the person's head hair; region HAIR. A bald person gets none."""
    grown = grow_hair(scene)
    if not grown:
        return
    skull = head_form(scene.head.vertices)
    rim = hat_rim(scene)
    rng = scene.rng("hair color")
    light = scene.light
    rotation, ambient = scene.head.pose.rotation.astype(float), light.ambient.astype(float)
    key, fill, back = (source.astype(float) for source in (light.key, light.fill, light.rim))
    lights = (rotation, key, fill, back, ambient)
    shown = []
    for points, combing, owner in map(_without_throat, grown):
        colors, tips = _strand_colors(scene.person.hair, combing.lengths, owner, rng)
        if rim is not None:
            points = points.copy()
            press(points, skull.center, skull.radii, rim.normal, rim.offset, UNDER_HAT)
        depth = combing.lifts / max(float(combing.lifts.max()), 1e-6)
        root_shade = 0.5 if points.shape[1] > 12 else 0.65
        shaded = shade_hairs(points, colors, tips, depth, root_shade, skull.center, *lights)
        along = np.linspace(0, 1, points.shape[1], dtype=np.float32)
        # Thin and faint where they leave the skin: a hairline is soft.
        taper = np.interp(along, (0, 0.12, 1), (0.45, 1, 0.45)).astype(np.float32)
        thickness = rng.uniform(0.8, 1.25, (len(points), 1)).astype(np.float32)
        widths = combing.width * scene.pixels_per_unit * thickness * taper
        shown.append((project_hairs(scene, points), shaded, widths))
    for points, colors, widths in shown:
        order = np.argsort(-points[:, points.shape[1] // 2, 2])
        hairs = (points[order], colors[order], widths[order])
        bias = 0.03 if rim is None else 0.015
        scene.framebuffer.draw_strands(*hairs, Region.HAIR, alpha=0.85, bias=bias)
    cast_shadow(scene, scene.framebuffer.region == Region.HAIR, reach=0.22, strength=0.5)


def _without_throat(grown: Strands) -> Strands:
    """Leaves out hairs that fell through the head and come out below the chin."""
    points, combing, owner = grown
    below = (points[..., 1] < 6.9) & (np.abs(points[..., 0]) < 0.28) & (points[..., 2] > 0.45)
    free = np.flatnonzero(~below.any(1))
    if len(free) == len(points) or not len(free):
        return grown
    chosen = {name: getattr(combing, name)[free] for name in ("lengths", "lifts")}
    return points[free], replace(combing, **chosen), owner[free]


def _strand_colors(
    hair: Hair, lengths: np.ndarray, owner: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3) of the hairs' roots and tips; streaks have the tips' colour throughout."""
    roots = strand_colors(np.array(hair.color), owner, rng)
    if hair.tips is None:
        return roots, roots
    tips = strand_colors(np.array(hair.tips), owner, rng)
    streaked = rng.random(owner.max() + 1) < hair.streaks
    if hair.streaks:
        tips = np.where(streaked[owner][:, None], tips, roots)
        # Foils leave the first centimetres between the two colours.
        return np.where(streaked[owner][:, None], 0.5 * (roots + tips), roots), tips
    # Short hairs, as of a fringe, have grown since.
    return roots, roots + np.clip(lengths / 1.2, 0, 1)[:, None] * (tips - roots)


def grow_hair(scene: Scene) -> list[Strands]:
    """The hairs of the head, in the head frame."""
    person = scene.person
    hair = person.hair
    if hair.style == "bald" or scene.shot.accessories.hat == "headscarf":
        return []
    rng = scene.person_rng("hair")
    look = draw_look(hair, person.male, rng)
    over_ears = hair.style == "long" or (hair.style == "medium" and not person.male)
    skull = head_form(scene.head.vertices, over_ears)
    samples = scalp_samples()
    density = scalp_density(samples.rest, hair, person.male)
    grown = []
    count, steps = _STRANDS[hair.style]
    chosen = samples[choose(density, count, rng)]
    # Hairs that the camera cannot see are not grown; of those that hang behind the head, some are.
    facing = scene.head.pose.rotation[2] @ chosen.rest_normal.T
    keep = 0.5 if hair.style in ("medium", "long") else 0.0
    chosen = chosen[(facing > -0.4) | (rng.random(len(chosen)) < keep)]
    parting = PARTING * hair.parting if hair.style in ("short", "medium", "long") else None
    locks = _locks(chosen.rest, _LOCKS, parting)
    combing = comb_scalp(chosen.rest.astype(float), hair, look, person.male, locks, rng)
    grown.append(_grow(skull, scene.head.surface(chosen), combing, locks, steps, rng))
    if hair.style in ("bun", "updo"):
        grown.append(_bun(look, skull, hair.volume, rng))
    if hair.style == "ponytail":
        roots = _knot(look, skull) + rng.normal(0, 0.03, (900, 3))
        locks = nearest_guide(roots, 40)
        combing = comb_tail(len(roots), hair, look, locks, rng)
        grown.append(_grow(skull, roots, combing, locks, 20, rng))
    if hair.loose > 0.05:
        lost = samples[choose(density, int(110 * hair.loose), rng)]
        if len(lost) > 1:
            locks = nearest_guide(lost.rest.astype(float), min(60, len(lost)))
            combing = comb_loose(lost.rest.astype(float), hair, look, locks, rng)
            grown.append(_grow(skull, scene.head.surface(lost), combing, locks, 14, rng))
    if hair.bangs > 0.12 and hair.style not in ("buzzed", "afro"):
        x, y, z = np.abs(samples.rest[:, 0]), samples.rest[:, 1], samples.rest[:, 2]
        front = (z > 0.68) & (y > 7.8) & (x < 0.58)
        full = 0.45 + 0.55 * hair.bangs
        chosen = samples[choose(density * front * full, 1500, rng)]
        if len(chosen) > 1:
            locks = _locks(chosen.rest, 60, look.fringe_parting)
            eye_height = float(scene.head.eye_centers[:, 1].mean() - skull.shift[1])
            rest = chosen.rest.astype(float)
            combing = comb_fringe(rest, hair, look, eye_height, locks, rng)
            roots = scene.head.surface(chosen)
            grown.append(_grow(skull, roots, combing, locks, 14, rng))
    return grown


def _locks(rest: np.ndarray, count: int, parting: float | None) -> np.ndarray:
    """(N,) the lock of each root (N, 3); no lock has hairs on both sides of a parting."""
    keys = rest.astype(float)
    if parting is not None:
        keys[:, 0] += np.where(keys[:, 0] < parting, -3.0, 3.0)
    return nearest_guide(keys, min(count, len(keys)))


def _grow(
    skull: HeadForm,
    roots: np.ndarray,
    combing: Combing,
    locks: np.ndarray,
    steps: int,
    rng: np.random.Generator,
) -> Strands:
    def each(values: np.ndarray | float) -> np.ndarray:
        return np.full(len(roots), values, float)

    cling, weight = each(combing.cling), each(combing.weight)
    face_edge, sideways = each(combing.face_edge), each(combing.sideways)
    points = grow(
        np.asarray(roots - skull.shift, float),
        *(combing.directions, combing.lengths, combing.lifts),
        *(cling, weight, face_edge, sideways),
        *(SKULL_CENTER, skull.radii, skull.neck, skull.shoulders),
        steps,
        combing.cling_until,
    )
    clump(points, locks, combing.clump, 0.15)
    # Crests of neighbouring locks are at one height; curls wind as they like.
    disorder = 0.4 + 1.6 * max(0.0, 0.45 - combing.flat) / 0.3
    shared = rng.normal(0, disorder, locks.max() + 1)[locks]
    height = roots[:, 1] - skull.shift[1]
    phase = 1.5 * roots[:, 0] - combing.frequency * height + shared
    phase = phase + rng.normal(0, 0.25, len(locks))
    amplitude, frequency = each(combing.amplitude), each(combing.frequency)
    wave(points, SKULL_CENTER, amplitude, frequency, phase, combing.flat)
    return points + skull.shift, combing, locks


def _knot(look: Look, skull: HeadForm) -> np.ndarray:
    """Where the hair is tied, on this person's head."""
    direction = unit(look.knot - SKULL_CENTER)
    return skull.center + direction * (skull.radius(direction) + 0.06)


def _bun(look: Look, skull: HeadForm, volume: float, rng: np.random.Generator) -> Strands:
    """Hairs wound around a ball on the knot."""
    count, steps = 1300, 14
    axis = unit(_knot(look, skull) - skull.center)
    radius = 0.2 + 0.14 * volume
    middle = _knot(look, skull) + axis * radius * 0.6
    first = unit(np.cross(axis, np.array([0.3, 0.2, 1.0])))
    second = np.cross(axis, first)
    tilt = rng.normal(0, 0.35, (count, 1, 1))
    start = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    angle = start + np.linspace(0, 2.2, steps)[None, :, None]
    height = rng.uniform(-0.85, 0.95, (count, 1, 1)) + tilt * np.sin(angle) * 0.5
    ring = np.sqrt(np.clip(1 - height**2, 0.02, 1))
    shell = radius * rng.uniform(0.88, 1.0, (count, 1, 1))
    points = middle + shell * (
        ring * (np.cos(angle) * first + np.sin(angle) * second) + 0.75 * height * axis
    )
    lifts = shell[:, 0, 0] - 0.8 * radius
    combing = Combing(np.zeros((count, 3)), lengths=np.zeros(count), lifts=lifts)
    return points, combing, nearest_guide(points[:, 0].copy(), 30)
