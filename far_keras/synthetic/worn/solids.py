"""Small solids in the head's frame: tubes, spheres and sheets, with light on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.stage.scene import Scene

__all__ = [
    *("Solid", "SurfaceMaterial", "directions", "draw_solid", "draw_surface", "grid_triangles"),
    *("join", "sheet", "sphere", "tube", "unit_sphere"),
]


@dataclass(frozen=True)
class Solid:
    """A triangle mesh: points (N, 3), unit normals (N, 3), triangles (T, 3)."""

    points: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray


@dataclass(frozen=True)
class SurfaceMaterial:
    """What a solid is made of.

    Attributes:
        color: (3,) or (N, 3) linear RGB.
        gloss: Strength of the highlight.
        sharpness: Exponent of the highlight: 10 satin .. 80 polished.
        metal: 0 .. 1: metal reflects its surroundings in its own colour.
        wrap: How far light reaches around, 0 hard .. 0.5 soft cloth.
    """

    color: np.ndarray
    gloss: float = 0.1
    sharpness: float = 30.0
    metal: float = 0.0
    wrap: float = 0.1


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def grid_triangles(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Two triangles for every cell of a grid of points; `closed` joins last and first column."""
    i, j = np.meshgrid(
        np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij"
    )
    a, b = i * columns + j, i * columns + (j + 1) % columns
    c, d = a + columns, b + columns
    return np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    ).astype(np.int32)


def sheet(points: np.ndarray, closed: bool = False) -> Solid:
    """A surface through a grid of points (R, C, 3); `closed`: columns run around."""
    before, after = (
        (np.roll(points, 1, 1), np.roll(points, -1, 1))
        if closed
        else (points[:, np.r_[0, : points.shape[1] - 1]], points[:, np.r_[1 : points.shape[1], -1]])
    )
    along = points[np.r_[1 : points.shape[0], -1]] - points[np.r_[0, : points.shape[0] - 1]]
    normals = _unit(np.cross(along, after - before))
    return Solid(
        points.reshape(-1, 3),
        normals.reshape(-1, 3),
        grid_triangles(points.shape[0], points.shape[1], closed),
    )


def tube(
    course: np.ndarray,
    radius: float | np.ndarray,
    *,
    closed: bool = False,
    sides: int = 7,
    flat: float = 1.0,
) -> Solid:
    """A tube along a polyline.

    Args:
        course: (K, 3) points.
        radius: Decimetres, a number or (K,).
        closed: The last point joins the first.
        sides: Corners of the cross-section.
        flat: Depth (z-like axis) of the cross-section relative to its height.
    """
    if closed:
        along = _unit(np.roll(course, -1, 0) - np.roll(course, 1, 0))
    else:
        along = _unit(np.gradient(course, axis=0))
    helper = np.where(np.abs(along[:, 2:]) > 0.9, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    across = _unit(np.cross(helper, along))
    third = np.cross(along, across)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    normals = (
        np.cos(angle)[None, :, None] * across[:, None]
        + np.sin(angle)[None, :, None] * third[:, None]
    )
    offset = (
        np.cos(angle)[None, :, None] * across[:, None]
        + flat * np.sin(angle)[None, :, None] * third[:, None]
    )
    size = np.broadcast_to(np.asarray(radius, float), course.shape[:1])[:, None, None]
    points = course[:, None] + size * offset
    if closed:
        points = np.concatenate([points, points[:1]])
        normals = np.concatenate([normals, normals[:1]])
    return Solid(
        points.reshape(-1, 3),
        normals.reshape(-1, 3),
        grid_triangles(points.shape[0], sides, closed=True),
    )


def sphere(
    center: np.ndarray, radius: float, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Solid:
    """A ball of 7 x 10 faces around `center`; `stretch` scales its axes."""
    normals = unit_sphere(8, 10)
    points = center + radius * normals * np.array(stretch)
    return Solid(points.reshape(-1, 3), normals.reshape(-1, 3), grid_triangles(8, 10, True))


def unit_sphere(rows: int, columns: int) -> np.ndarray:
    """Points (rows, columns, 3) of the unit sphere, from the upper pole to the lower one."""
    polar = np.linspace(0, np.pi, rows)[:, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    return directions(polar, around)


def directions(polar: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) at angles from straight up and around the vertical axis, radians."""
    return np.stack(
        [
            np.sin(polar) * np.sin(around),
            np.cos(polar) + 0 * around,
            np.sin(polar) * np.cos(around),
        ],
        -1,
    )


def join(solids: Sequence[Solid]) -> Solid:
    """Several solids as one, so that they are drawn in one pass."""
    first = np.cumsum([0, *(len(solid.points) for solid in solids[:-1])])
    return Solid(
        np.concatenate([solid.points for solid in solids]),
        np.concatenate([solid.normals for solid in solids]),
        np.concatenate([s.triangles + n for s, n in zip(solids, first, strict=True)]),
    )


def draw_solid(
    scene: Scene,
    solid: Solid,
    material: SurfaceMaterial,
    region: Region,
    *,
    alpha: float | np.ndarray = 1.0,
    bias: float = 0.0,
    two_sided: bool = False,
) -> np.ndarray:
    """Lights and draws a solid.

    Args:
        scene: Where to draw.
        solid: In the head's frame.
        material: What it is made of.
        region: What to write where it is opaque.
        alpha: Opacity, a number or (N,).
        bias: Decimetres by which it is drawn nearer than it is.
        two_sided: Light the side that faces the camera, for sheets.

    Returns:
        (h, w) bool: where it shows.
    """
    normals = scene.to_camera(solid.normals.astype(np.float32), solid.points)
    if two_sided:
        normals = normals * np.where(normals[:, 2:] < 0, -1, 1)
    light = scene.light
    color = np.asarray(material.color, np.float32)
    lit = color * light.irradiance(normals, material.wrap) * (1 - 0.6 * material.metal)
    shine = light.highlight(normals, material.sharpness)
    if material.metal > 0:
        # A bright sky above, a dark floor below, as polished metal mirrors them.
        mirrored = np.clip(0.5 + 1.2 * normals[:, 1:2] + 0.5 * normals[:, 2:], 0.05, 1.6)
        lit = lit + material.metal * color * mirrored * light.ambient * 1.3
        shine = shine * (1 - material.metal + material.metal * color * 2.5)
    colors = lit + material.gloss * shine
    return scene.framebuffer.draw_triangles(
        scene.project(solid.points.astype(np.float32)),
        solid.triangles,
        colors,
        region,
        alpha=alpha,
        bias=bias,
    )


def draw_surface(
    scene: Scene,
    points: np.ndarray,
    color: np.ndarray,
    region: Region,
    *,
    gloss: float,
    sharpness: float,
    wrap: float,
    closed: bool = False,
    bias: float = 0.0,
) -> np.ndarray:
    """Draws a sheet (R, C, 3) of a color that broadcasts to it, lit on both sides; see `sheet`."""
    colors = np.broadcast_to(color, points.shape).reshape(-1, 3)
    material = SurfaceMaterial(colors, gloss, sharpness, wrap=wrap)
    return draw_solid(scene, sheet(points, closed), material, region, bias=bias, two_sided=True)
