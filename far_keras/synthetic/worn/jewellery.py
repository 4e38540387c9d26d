"""Earrings at the lobes and necklaces on the neck, of polished metal and beads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from far_keras.synthetic.face.landmarks import point_on_head
from far_keras.synthetic.head.mesh import Material as Part
from far_keras.synthetic.head.mesh import load_head
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.worn.solids import Material, Solid, draw_solid, join, sphere, tube

__all__ = ["draw_earrings", "draw_jewellery", "draw_necklace"]

Array = np.ndarray[Any, np.dtype[Any]]

AXIS_Z = 0.3  # of the neck
ANGLES, HEIGHTS = 48, np.arange(5.2, 6.6, 0.07)


def draw_jewellery(scene: Scene) -> None:
    """Draws earrings and necklace if they are worn."""
    draw_earrings(scene)
    draw_necklace(scene)


def draw_earrings(scene: Scene) -> None:
    """Draws an earring on both lobes; region EARRING where hair and head leave it visible."""
    kind = scene.shot.accessories.earrings
    if kind is None:
        return
    rng = scene.rng("earrings")
    color = np.array(scene.shot.accessories.jewellery_color)
    metal = Material(color, gloss=0.9, sharpness=35, metal=0.9)
    size, stone = rng.random(), rng.random() < 0.4
    solids = []
    for side in (-1, 1):
        lobe = point_on_head(scene, "ear lobe", side)
        solids += _earring(kind, lobe + np.array([0.02 * side, 0.0, 0.02]), side, size)
    draw_solid(scene, join(solids), metal, Region.EARRING, bias=0.02)
    if kind != "hoop" and stone:
        gem = Material(rng.uniform(0.02, 0.9, 3) ** 2, gloss=1.2, sharpness=60)
        hanging = 0.0 if kind == "stud" else 0.13 + 0.16 * size
        gems = [
            sphere(
                point_on_head(scene, "ear lobe", side) + np.array([0.035 * side, -hanging, 0.05]),
                0.03 + 0.012 * size,
            )
            for side in (-1, 1)
        ]
        draw_solid(scene, join(gems), gem, Region.EARRING, bias=0.03)


def _earring(kind: str, at: Array, side: int, size: float) -> list[Solid]:
    if kind == "stud":
        return [sphere(at, 0.034 + 0.014 * size)]
    if kind == "hoop":
        radius = 0.09 + 0.12 * size
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        # Hoops hang turned half towards the front.
        turned = np.array([0.75 * side, 0.0, 0.65])
        ring = np.stack([np.zeros(28), np.cos(angle) - 1, np.zeros(28)], 1)
        ring += np.sin(angle)[:, None] * turned
        return [tube(at + radius * ring, 0.012 + 0.006 * size, closed=True, sides=6)]
    length = 0.13 + 0.16 * size
    link = at + np.linspace(0, 1, 5)[:, None] * np.array([0.0, -length, 0.0])
    return [
        sphere(at, 0.024),
        tube(link, 0.009, sides=5),
        sphere(at - np.array([0, length, 0]), 0.04 + 0.015 * size, (0.85, 1.35, 0.85)),
    ]


def draw_necklace(scene: Scene) -> None:
    """Draws a necklace around the base of the neck; region NECKLACE."""
    kind = scene.shot.accessories.necklace
    if kind is None:
        return
    rng = scene.rng("necklace")
    color = np.array(scene.shot.accessories.jewellery_color)
    metal = Material(color, gloss=0.8, sharpness=30, metal=0.9)
    low = {
        "crew": rng.uniform(5.87, 5.95),
        "vneck": rng.uniform(5.68, 5.9),
        "shirt": rng.uniform(5.82, 5.93),
        "suit": rng.uniform(5.82, 5.93),
        "turtleneck": rng.uniform(5.6, 5.75),
    }[scene.shot.accessories.clothing]
    if kind == "beads":
        course = _course(scene, low, 56)
        radius = rng.uniform(0.032, 0.048)
        bead_color = color if rng.random() < 0.3 else rng.uniform(0.05, 0.95, 3) ** 1.5
        pearl = Material(bead_color, gloss=0.5, sharpness=35)
        beads = [sphere(point, radius) for point in _spaced(course, 1.9 * radius)]
        draw_solid(scene, join(beads), pearl, Region.NECKLACE, bias=0.03)
        return
    course = _course(scene, low, 160)
    # Links: thick and thin in turns.
    thickness = rng.uniform(0.012, 0.018) * (1 + 0.35 * np.sin(np.arange(len(course)) * 1.9))
    solids = [tube(course, thickness, sides=6)]
    if kind == "pendant":
        front = course[np.argmax(course[:, 2] - 4 * np.abs(course[:, 0]))]
        size = rng.uniform(0.045, 0.07)
        solids.append(sphere(front - np.array([0, 1.2 * size, -0.01]), size, (0.8, 1.15, 0.45)))
    draw_solid(scene, join(solids), metal, Region.NECKLACE, bias=0.03)


def _spaced(course: Array, gap: float) -> Array:
    """Points along a polyline (K, 3) at equal distances."""
    step = np.linalg.norm(np.diff(course, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(step)])
    wanted = np.arange(0, along[-1], gap)
    return np.stack([np.interp(wanted, along, course[:, axis]) for axis in range(3)], 1)


def _course(scene: Scene, low: float, count: int) -> Array:
    """(count, 3) a line around the front of the neck; `low` is its height (y) on the rest head."""
    angle = np.linspace(-0.75 * np.pi, 0.75 * np.pi, count)  # 0 is the front
    high = 6.2
    height = low + (high - low) * np.sin(np.abs(angle) / 2) ** 1.6
    girth = _girth()
    i = (angle + np.pi) / (2 * np.pi) * ANGLES
    j = np.clip((height - HEIGHTS[0]) / (HEIGHTS[1] - HEIGHTS[0]), 0, len(HEIGHTS) - 1.001)
    i0, j0 = i.astype(int) % ANGLES, j.astype(int)
    fi, fj = i - i.astype(int), j - j0
    i1 = (i0 + 1) % ANGLES
    radius = (girth[i0, j0] * (1 - fj) + girth[i0, j0 + 1] * fj) * (1 - fi)
    radius += (girth[i1, j0] * (1 - fj) + girth[i1, j0 + 1] * fj) * fi
    radius += 0.012
    rest = np.stack([radius * np.sin(angle), height, AXIS_Z + radius * np.cos(angle)], 1)
    # Onto this person's neck: moved as the skin around it is.
    vertices, tree = _neck()
    distance, near = tree.query(rest, k=6)
    weight = 1 / (distance + 0.02) ** 2
    weight /= weight.sum(1, keepdims=True)
    moved = scene.head.vertices[vertices] - scene.head.mesh.vertices[vertices]
    return np.asarray(rest + np.einsum("nk,nkc->nc", weight, moved[near]))


@lru_cache(maxsize=1)
def _neck() -> tuple[Array, cKDTree]:
    """Vertices of the neck and the upper chest, and where they are on the rest head."""
    mesh = load_head()
    skin = mesh.vertices_of(Part.SKIN)
    x, y, z = np.abs(mesh.vertices[skin, 0]), mesh.vertices[skin, 1], mesh.vertices[skin, 2]
    below_jaw = (y > 5.1) & (y < 6.6) & (x < 1.1) & (z < 1.0 + 0.3 * (5.9 - y))
    chosen = skin[below_jaw & ((y < 6.15) | (z < 0.8))]
    return chosen, cKDTree(mesh.vertices[chosen])


@lru_cache(maxsize=1)
def _girth() -> Array:
    """(ANGLES, heights) distance of the rest head's neck and chest from the neck's axis."""
    points = load_head().vertices[_neck()[0]].astype(float)
    x, y, z = points[:, 0], points[:, 1], points[:, 2] - AXIS_Z
    distance = np.hypot(x, z)
    i = np.rint((np.arctan2(x, z) + np.pi) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    j = np.clip(np.rint((y - HEIGHTS[0]) / 0.07).astype(int), 0, len(HEIGHTS) - 1)
    total = np.zeros((ANGLES, len(HEIGHTS)))
    weight = np.zeros_like(total)
    np.add.at(total, (i, j), distance)
    np.add.at(weight, (i, j), 1.0)
    mode = ["wrap", "nearest"]
    narrow = gaussian_filter(weight, (1.0, 0.7), mode=mode)
    wide = gaussian_filter(weight, (4.0, 2.0), mode=mode)
    near = gaussian_filter(total, (1.0, 0.7), mode=mode) / np.maximum(narrow, 1e-6)
    far = gaussian_filter(total, (4.0, 2.0), mode=mode) / np.maximum(wide, 1e-6)
    return np.where(narrow > 0.02, near, far)
