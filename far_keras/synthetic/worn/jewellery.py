"""Earrings at the lobes and necklaces around the neck."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from far_keras.faces.region_map import Region
from far_keras.synthetic.face.anatomy import point_on_head
from far_keras.synthetic.head.mesh import MeshMaterial, load_head
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.worn.clothing import drape_of, draw_cloth
from far_keras.synthetic.worn.solids import Solid, SurfaceMaterial, draw_solid, join, sphere, tube

__all__ = ["draw_earrings", "draw_necklace"]


def draw_earrings(scene: Scene) -> None:
    """Draws an earring on both lobes; region EARRING where hair and head leave it visible."""
    worn = scene.shot.accessories
    kind = worn.earrings
    if kind is None:
        return
    rng = scene.rng("earrings")
    metal = SurfaceMaterial(np.array(worn.jewellery_color), gloss=0.9, sharpness=35, metal=0.9)
    pearl = SurfaceMaterial(np.array([0.78, 0.74, 0.68]), gloss=0.6, sharpness=35)
    size, stone = worn.earring_size, rng.random() < 0.45
    material = pearl if kind == "stud" and rng.random() < 0.35 else metal
    thick = rng.uniform(0.7, 1.6)
    solids = []
    for side in (-1, 1):
        lobe = point_on_head(scene, "ear lobe", side)
        solids += _earring(kind, lobe + np.array([0.02 * side, 0.0, 0.02]), side, size, thick)
    draw_solid(scene, join(solids), material, Region.EARRING, bias=0.02)
    if kind != "hoop" and stone:
        gem = SurfaceMaterial(rng.uniform(0.02, 0.9, 3) ** 2, gloss=1.2, sharpness=60)
        hanging = 0.0 if kind == "stud" else _length(kind, size)
        gems = []
        for side in (-1, 1):
            lobe = point_on_head(scene, "ear lobe", side)
            at = lobe + np.array([0.035 * side, -hanging, 0.05])
            gems.append(sphere(at, 0.026 + 0.025 * size))
        draw_solid(scene, join(gems), gem, Region.EARRING, bias=0.03)


def _length(kind: str, size: float) -> float:
    """Decimetres that an earring hangs below the lobe."""
    least, more = {"long": (0.28, 0.32), "chandelier": (0.14, 0.14)}.get(kind, (0.11, 0.17))
    return least + more * size


def _earring(kind: str, at: np.ndarray, side: int, size: float, thick: float) -> list[Solid]:
    if kind == "stud":
        return [sphere(at, 0.026 + 0.03 * size)]
    if kind == "hoop":
        radius = 0.06 + 0.21 * size
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        # Hoops hang turned half towards the front.
        turned = np.array([0.75 * side, 0.0, 0.65])
        ring = np.stack([np.zeros(28), np.cos(angle) - 1, np.zeros(28)], 1)
        ring += np.sin(angle)[:, None] * turned
        return [tube(at + radius * ring, 0.013 * thick, closed=True, sides=6)]
    length = _length(kind, size)
    link = at + np.linspace(0, 1, 5)[:, None] * np.array([0.0, -length, 0.0])
    end = at - np.array([0, length, 0])
    solids = [sphere(at, 0.024), tube(link, 0.009 * thick, sides=5)]
    if kind == "long":
        return [*solids, sphere(end, 0.022 + 0.015 * thick, (0.7, 2.0, 0.7))]
    if kind == "chandelier":
        for spread in np.linspace(-1, 1, 5):
            tip = at + np.array([0.09 * spread * side, -length * (1 - 0.25 * spread**2), 0.05])
            solids += [
                tube(at + np.linspace(0, 1, 4)[:, None] * (tip - at), 0.007, sides=5),
                sphere(tip, 0.026),
            ]
        return solids
    return [*solids, sphere(end, 0.04 + 0.015 * size, (0.85, 1.35, 0.85))]


AXIS_Z = 0.3  # of the neck
ANGLES, HEIGHTS = 48, np.arange(5.2, 6.6, 0.07)
# Between which heights (y on the rest head) a necklace hangs, by what is worn with it.
LOWEST = {
    "crew": (5.87, 5.95), "vneck": (5.66, 5.92), "shirt": (5.82, 5.93), "suit": (5.82, 5.93),
    "turtleneck": (5.6, 5.75), "hoodie": (5.87, 5.95),
}  # fmt: skip
BARE_NECK = (5.58, 5.95)


def draw_necklace(scene: Scene) -> None:
    """Draws a necklace around the base of the neck; region NECKLACE."""
    worn = scene.shot.accessories
    kind = worn.necklace
    if kind is None:
        return
    rng = scene.rng("necklace")
    color = np.array(worn.jewellery_color)
    metal = SurfaceMaterial(color, gloss=0.8, sharpness=30, metal=0.9)
    low = float(rng.uniform(*LOWEST.get(worn.clothing, BARE_NECK)))
    if kind == "choker":
        _draw_choker(scene, color, rng)
    elif kind in ("beads", "statement"):
        _draw_beads(scene, kind, low, color, rng)
    elif kind == "cord":
        leather = SurfaceMaterial(np.array([0.02, 0.013, 0.01]) * rng.uniform(0.5, 3), gloss=0.1)
        course = _course(scene, low, 120)
        cord = tube(course, rng.uniform(0.009, 0.016), sides=5)
        draw_solid(scene, cord, leather, Region.NECKLACE, bias=0.03)
        draw_solid(scene, _pendant(course, rng), metal, Region.NECKLACE, bias=0.04)
    else:
        heights = [low]
        if kind == "layered":
            heights = [low + gap for gap in np.linspace(0, 0.24, int(rng.integers(2, 4)))]
        solids = [_chain(_course(scene, min(height, 6.02), 160), rng) for height in heights]
        if kind == "pendant" or (kind == "layered" and rng.random() < 0.6):
            solids.append(_pendant(_course(scene, low, 160), rng))
        draw_solid(scene, join(solids), metal, Region.NECKLACE, bias=0.03)


def _chain(course: np.ndarray, rng: np.random.Generator) -> Solid:
    """Links: thick and thin in turns."""
    wide = rng.choice((0.0085, 0.014, 0.022), p=(0.4, 0.4, 0.2)) * rng.uniform(0.85, 1.15)
    links = 1 + 0.35 * np.sin(np.arange(len(course)) * 1.9)
    return tube(course, wide * links, sides=6)


def _pendant(course: np.ndarray, rng: np.random.Generator) -> Solid:
    """A drop, a disc, a bar or a cross at the lowest point."""
    front = course[np.argmax(course[:, 2] - 4 * np.abs(course[:, 0]))]
    size = rng.uniform(0.035, 0.08)
    at = front - np.array([0, 1.2 * size, -0.01])
    kind = rng.choice(("drop", "disc", "bar", "cross"))
    if kind == "bar":
        return sphere(at, size, (0.3, 1.6, 0.3))
    if kind == "cross":
        beam = at + np.array([0, 0.4 * size, 0])
        return join([sphere(at, size, (0.28, 1.5, 0.25)), sphere(beam, size, (0.95, 0.28, 0.25))])
    return sphere(at, size, (1.0, 1.0, 0.25) if kind == "disc" else (0.8, 1.15, 0.45))


def _draw_beads(
    scene: Scene, kind: str, low: float, color: np.ndarray, rng: np.random.Generator
) -> None:
    course = _course(scene, low, 56)
    radius = rng.uniform(0.026, 0.055)
    pearl = rng.random()
    if pearl < 0.35:
        bead_color = np.array([0.78, 0.74, 0.68])
    else:
        bead_color = color if pearl < 0.55 else rng.uniform(0.05, 0.95, 3) ** 1.5
    material = SurfaceMaterial(bead_color, gloss=0.5, sharpness=35)
    beads = [sphere(point, radius) for point in _spaced(course, 1.9 * radius)]
    if kind == "statement":
        # Rows of stones that hang below the first, largest in the middle.
        points = _spaced(_course(scene, low, 80), 0.12)
        for row in (1, 2):
            sizes = 0.055 * np.exp(-((points[:, 0] / 0.45) ** 2)) * (1 - 0.2 * row)
            hanging = points - np.array([0.0, 0.085 * row, -0.02])
            beads += [
                sphere(at, size, (1, 1.25, 0.6))
                for at, size in zip(hanging, sizes, strict=True)
                if size > 0.02 and at[2] > 0.5
            ]
    draw_solid(scene, join(beads), material, Region.NECKLACE, bias=0.03)


def _draw_choker(scene: Scene, color: np.ndarray, rng: np.random.Generator) -> None:
    """A band of ribbon, lace or metal close to the throat."""
    height = rng.choice((0.035, 0.07, 0.13), p=(0.4, 0.4, 0.2)) * rng.uniform(0.8, 1.2)
    top = rng.uniform(6.0, 6.08) + 0.3 * height
    angle = np.linspace(-np.pi, np.pi, 96)[None]
    t = np.linspace(0, 1, 5)[:, None]
    edge = np.interp(np.abs(angle) / np.pi, (0, 0.5, 1), (top, top + 0.12, top + 0.22))
    points = drape_of(scene.head).around(angle + 0 * t, edge - height * t, 0.025 + 0 * angle * t)
    ribbon = np.array([0.012, 0.011, 0.012]) if rng.random() < 0.6 else color * 0.8
    lace = 1 + 0.8 * (np.sin(angle * 60) * np.sin(t * 9) > 0.4) * (rng.random() < 0.3)
    band = ribbon * lace[..., None]
    draw_cloth(scene, points, band, Region.NECKLACE, sheen=0.08, bias=0.03)


def _spaced(course: np.ndarray, gap: float) -> np.ndarray:
    """Points along a polyline (K, 3) at equal distances."""
    step = np.linalg.norm(np.diff(course, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(step)])
    wanted = np.arange(0, along[-1], gap)
    return np.stack([np.interp(wanted, along, course[:, axis]) for axis in range(3)], 1)


def _course(scene: Scene, low: float, count: int) -> np.ndarray:
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
def _neck() -> tuple[np.ndarray, cKDTree]:
    """Vertices of the neck and the upper chest, and where they are on the rest head."""
    mesh = load_head()
    skin = mesh.vertices_of(MeshMaterial.SKIN)
    x, y, z = np.abs(mesh.vertices[skin, 0]), mesh.vertices[skin, 1], mesh.vertices[skin, 2]
    below_jaw = (y > 5.1) & (y < 6.6) & (x < 1.1) & (z < 1.0 + 0.3 * (5.9 - y))
    chosen = skin[below_jaw & ((y < 6.15) | (z < 0.8))]
    return chosen, cKDTree(mesh.vertices[chosen])


@lru_cache(maxsize=1)
def _girth() -> np.ndarray:
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
