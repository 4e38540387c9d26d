"""Clothes: cloth on the body, collars, lapels and neckties."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from far_keras.faces.region_map import Region
from far_keras.synthetic.face.anatomy import is_neck
from far_keras.synthetic.head.mesh import (
    MeshMaterial,
    SurfaceSamples,
    surface_samples,
    vertex_normals,
)
from far_keras.synthetic.parameters import Garment
from far_keras.synthetic.stage.lighting import Surface
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Fragments, Head, Scene
from far_keras.synthetic.worn.solids import grid_triangles

__all__ = ["drape_of", "draw_cloth", "draw_clothing", "neckline", "paint_clothing"]

AXIS_Z = 0.25  # depth of the neck's axis on the rest head
TOP, STEP = 6.5, 0.025  # height of the tables' first row, and between rows
TABLE_ROWS, AROUND, ACROSS = 56, 96, 80
HALF_WIDTH = 1.0  # of the table of the front


def _nearest_cells(
    row: np.ndarray, column: np.ndarray, order: np.ndarray, columns: int, wrap: bool
) -> np.ndarray:
    """For each cell of a table, the number of the sample with the largest `order` in or near it."""
    table = np.full((TABLE_ROWS, columns), -1)
    ranked = np.argsort(order)
    table[row[ranked], column[ranked]] = ranked
    if wrap:
        table = np.concatenate([table] * 3, 1)
    nearest = distance_transform_edt(table < 0, return_distances=False, return_indices=True)
    filled = table[tuple(nearest)]
    return filled[:, columns : 2 * columns] if wrap else filled


@lru_cache(maxsize=1)
def _tables() -> tuple[SurfaceSamples, SurfaceSamples]:
    """Surface samples at the cells of the tables around the neck and of the front."""
    samples = surface_samples(200_000, 4.9)
    low = samples[is_neck(samples.rest) & (samples.rest[:, 1] < TOP) & ~samples.ear]
    x, y, z = low.rest.T
    row = np.clip(((TOP - y) / STEP).astype(int), 0, TABLE_ROWS - 1)
    angle = np.arctan2(x, z - AXIS_Z)
    around = ((angle + np.pi) / (2 * np.pi) * AROUND).astype(int) % AROUND
    near = np.hypot(x, z - AXIS_Z) < 1.3
    radius = np.where(near, np.hypot(x, z - AXIS_Z), 0)
    across = np.clip(((x + HALF_WIDTH) / (2 * HALF_WIDTH) * ACROSS).astype(int), 0, ACROSS - 1)
    # The chin's underside is in front of the neck, but no cloth hangs from it.
    depth = np.where((np.abs(x) < HALF_WIDTH) & (y < 6.12), z, -9)
    return (
        low[_nearest_cells(row, around, radius, AROUND, True).ravel()],
        low[_nearest_cells(row, across, depth, ACROSS, False).ravel()],
    )


@dataclass(frozen=True, eq=False)
class Drape:
    """The surface of one person's neck and chest in the head frame.

    Attributes:
        ring: (TABLE_ROWS, AROUND, 3) positions by height and direction around the neck.
        front: (TABLE_ROWS, ACROSS, 3) positions by height and x.
    """

    ring: np.ndarray
    front: np.ndarray

    @staticmethod
    def _lookup(table: np.ndarray, row: np.ndarray, column: np.ndarray, mode: str) -> np.ndarray:
        shape = np.broadcast_shapes(row.shape, column.shape)
        at = [np.broadcast_to(row, shape), np.broadcast_to(column, shape)]
        parts = [map_coordinates(table[..., k], at, order=1, mode=mode) for k in range(3)]
        return np.stack(parts, -1)

    def around(self, angle: np.ndarray, y: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
        """Points (..., 3) around the neck.

        Args:
            angle: radians around the neck's axis, 0 in front, positive to the image's right.
            y: heights on the rest head.
            offset: decimetres away from the skin, outward from the axis.
        """
        column = (np.asarray(angle) + np.pi) / (2 * np.pi) * AROUND - 0.5
        padded = np.concatenate([self.ring[:, -4:], self.ring, self.ring[:, :4]], 1)
        points = self._lookup(padded, (TOP - y) / STEP - 0.5, column % AROUND + 4, "nearest")
        outward = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], -1)
        return points + outward * np.asarray(offset)[..., None]

    def ahead(self, x: np.ndarray, y: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
        """Points (..., 3) on neck and chest seen from the front, `offset` decimetres nearer."""
        column = (np.asarray(x) + HALF_WIDTH) / (2 * HALF_WIDTH) * ACROSS - 0.5
        points = self._lookup(self.front, (TOP - y) / STEP - 0.5, column, "nearest")
        return points + np.array([0, 0, 1]) * np.asarray(offset)[..., None]


def drape_of(head: Head) -> Drape:
    """Looks up the surface of a head's neck and chest."""
    ring, front = (head.surface(samples) for samples in _tables())
    ring = ring.reshape(TABLE_ROWS, AROUND, 3)
    front = front.reshape(TABLE_ROWS, ACROSS, 3)
    return Drape(
        gaussian_filter(ring, (1.2, 1.2, 0), mode=("nearest", "wrap", "nearest")),
        gaussian_filter(front, (1.2, 1.5, 0), mode="nearest"),
    )


def draw_cloth(
    scene: Scene,
    points: np.ndarray,
    colors: np.ndarray,
    region: Region,
    *,
    sheen: float = 0.0,
    bias: float = 0.02,
) -> None:
    """Draws a sheet of cloth.

    Args:
        points: (R, C, 3) in the head frame.
        colors: linear albedo, broadcast to (R, C, 3).
        region: what it is.
        sheen: strength of the highlight: silk 0.15, cotton 0.
        bias: decimetres by which it is drawn nearer, so that it does not sink into the body.
    """
    rows, columns = points.shape[:2]
    posed = scene.head.pose.apply(points.reshape(-1, 3).astype(np.float32))
    triangles = grid_triangles(rows, columns, closed=False)
    normals = vertex_normals(posed, triangles)
    normals *= np.where(normals[:, 2:] < 0, -1, 1)  # both sides of cloth face the viewer
    albedo = np.broadcast_to(colors, points.shape).reshape(-1, 3)
    lit = scene.shadows.lit_share(posed)
    light = scene.light.irradiance(normals, 0.1, lit)
    shine = sheen * scene.light.highlight(normals, 12) * lit[:, None]
    scene.framebuffer.draw_triangles(
        scene.camera.project(posed), triangles, albedo * light + shine, region, bias=bias
    )


def _heights(angle: np.ndarray, front: float, side: float, back: float) -> np.ndarray:
    """Heights by direction around the neck (radians, 0 in front), smooth in between."""
    t = np.abs(angle) / np.pi
    return np.interp(t, (0, 0.5, 1), (front, side, back))


def _around_back(gap: float, count: int) -> np.ndarray:
    """(1, count) angles around the neck's back, from `gap` radians beside the front."""
    angle = np.linspace(gap, 2 * np.pi - gap, count)[None]
    return (angle + np.pi) % (2 * np.pi) - np.pi


def draw_rib(
    scene: Scene, drape: Drape, color: np.ndarray, shape: Literal["crew", "vneck"]
) -> None:
    """The thicker edge of a T-shirt or sweater."""
    t = np.linspace(0, 1, 5)[:, None]
    bulge = 0.035 * np.sin(np.pi * np.clip(t, 0.05, 0.95))
    tint = color * (0.82 + 0.1 * t[..., None])
    if shape == "crew":
        angle = np.linspace(-np.pi, np.pi, 96)[None]
        edge = _heights(angle, 5.80, 5.95, 6.08)
        points = drape.around(angle + 0 * t, edge + 0.015 - 0.075 * t, bulge + 0 * angle)
        draw_cloth(scene, points, tint, Region.CLOTHING)
        return
    down = np.linspace(0, 1, 24)[None]
    for side in (-1, 1):
        x = side * (0.26 * (1 - down) + 0.045 * t)
        y = 5.48 + 1.5 * 0.26 * (1 - down) - 0.03 * t
        draw_cloth(scene, drape.ahead(x, y, bulge + 0 * down), tint, Region.CLOTHING)


def draw_turtleneck(scene: Scene, drape: Drape, color: np.ndarray) -> None:
    """A rolled collar around the neck, knitted in vertical ribs."""
    angle = np.linspace(-np.pi, np.pi, 160)[None]
    t = np.linspace(0, 1, 14)[:, None]  # from the top edge down
    top = _heights(angle, 6.06, 6.18, 6.30)
    roll = 0.035 + 0.06 * np.sin(np.pi * np.clip(t * 1.15, 0, 1)) ** 0.8
    ribs = 0.5 + 0.5 * np.cos(angle * 44)
    points = drape.around(angle + 0 * t, top - 0.30 * t, roll + 0.008 * ribs)
    shades = color * (0.86 + 0.16 * ribs)[..., None]
    draw_cloth(scene, points, shades, Region.CLOTHING)


def draw_hood_roll(scene: Scene, drape: Drape, color: np.ndarray) -> None:
    """The hood of a sweater that lies around the neck, and its two strings."""
    gap = 0.16
    angle = _around_back(gap, 90)
    turn = np.abs(angle) / np.pi
    t = np.linspace(0, 1, 12)[:, None]
    thick = np.interp(turn, (0, 0.3, 1), (0.07, 0.15, 0.30))
    top = np.interp(turn, (0, 0.3, 1), (5.86, 6.08, 6.32)) + 0 * t
    roll = 0.03 + thick * np.sin(np.pi * np.clip(t * 1.1, 0, 1))
    points = drape.around(angle + 0 * t, top - (0.2 + thick) * t, roll)
    shades = color * (0.75 + 0.3 * np.sin(np.pi * t))[..., None]
    draw_cloth(scene, points, shades, Region.CLOTHING, bias=0.03)
    down = np.linspace(0, 1, 16)[:, None]
    across = np.array([[-0.02, 0.0, 0.02]])
    for side in (-1, 1):
        string = drape.ahead(side * (0.16 + 0.02 * down) + across, 5.84 - 0.6 * down, 0.09)
        draw_cloth(scene, string, np.array([0.75, 0.75, 0.73]), Region.CLOTHING, bias=0.05)


def draw_collar(
    scene: Scene, drape: Drape, color: np.ndarray, *, open_collar: bool, under_jacket: bool
) -> None:
    """A shirt's collar: a band around the neck and a flap that folds down to two wings.

    The wings of an open collar lie apart; lapels of a jacket press them flat.
    """
    gap = 0.34 if open_collar else 0.06  # radians from the middle to the collar's front edge
    angle = _around_back(gap, 100)
    turn = np.abs(angle) / np.pi  # 0 in front, 1 at the back
    opened = 0.10 if open_collar else 0.0
    top = np.interp(turn, (0, 0.2, 0.5, 1), (6.04 - 1.6 * opened, 6.08 - 0.6 * opened, 6.17, 6.32))
    t = np.linspace(0, 1, 6)[:, None]
    band = drape.around(angle + 0 * t, top - 0.16 * t, 0.035 + 0 * angle * t)
    draw_cloth(scene, band, color * 0.72, Region.CLOTHING)
    # The flap is longest at the wings' tips, a little behind the front edge.
    tip = np.interp(turn, (0, 0.10, 0.16, 0.3, 0.5, 1), (0.24, 0.38, 0.33, 0.21, 0.2, 0.2))
    lean = (0.03 + 0.015 * t if under_jacket else 0.045 + 0.06 * t) + 0 * angle
    swing = np.sign(angle) * np.interp(turn, (0, 0.25, 0.5), (0.35, 0.1, 0.0)) * t
    flap = drape.around(angle + swing, top + 0.01 - tip * t, lean)
    edge = 1 - 0.25 * np.clip(1 - np.abs(t - 0.93) / 0.07, 0, 1)  # the seam
    draw_cloth(scene, flap, color * edge[..., None], Region.CLOTHING)


def draw_lapels(scene: Scene, drape: Drape, color: np.ndarray) -> None:
    """A jacket's collar at the neck and its lapels down to the frame's edge."""
    t = np.linspace(0, 1, 40)[:, None]  # down the opening
    s = np.linspace(0, 1, 12)[None]  # from the opening outward
    for side in (-1, 1):
        inner = np.interp(t, (0, 1), (0.34, 0.02))
        y = np.interp(t, (0, 1), (6.02, 5.20))
        # The notch between collar and lapel.
        width = np.interp(t, (0, 0.22, 0.30, 0.36, 0.44, 1), (0.12, 0.17, 0.19, 0.10, 0.25, 0.16))
        x = side * (inner + width * s)
        lift = 0.14 + 0.03 * np.sin(np.pi * s) + 0 * t
        points = drape.ahead(x, y - 0.10 * s * np.clip(1 - 2 * t, 0, 1), lift)
        edge = np.clip(1 - (1 - s) / 0.16, 0, 1) + 0 * t  # the shadow under the lapel's edge
        tint = color * (1.25 - 0.85 * edge)[..., None]
        draw_cloth(scene, points, tint, Region.CLOTHING, bias=0.03)
    angle = _around_back(0.42 * np.pi, 50)
    t = np.linspace(0, 1, 6)[:, None]
    top = _heights(angle, 5.95, 6.05, 6.20)
    collar = drape.around(angle + 0 * t, top - 0.18 * t, 0.13 + 0.06 * t + 0 * angle)
    draw_cloth(scene, collar, color * 1.05, Region.CLOTHING, bias=0.03)


KNOT_TOP, KNOT_BOTTOM = 6.04, 5.85  # heights on the rest head
KNOT_HALF_WIDTHS = (0.105, 0.065)  # decimetres at its top and bottom
BLADE_HALF_WIDTHS = (0.06, 0.19)  # below the knot and at the frame's edge
BLADE_END = 5.0
SILK_PATTERNS = ("plain", "stripes", "dots", "checks")


def _silk_pattern(
    kind: str, across: np.ndarray, down: np.ndarray, color: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Colours (R, C, 3) at distances across and down the silk, in decimetres."""
    if kind == "stripes":
        amount = (np.mod(across + 0.9 * down, 0.14) < 0.045).astype(float)
    elif kind == "dots":
        u, v = np.mod(across, 0.07) - 0.035, np.mod(down, 0.07) - 0.035
        amount = (np.hypot(u, v) < 0.016).astype(float)
    elif kind == "checks":
        amount = 0.5 * ((np.mod(across, 0.09) < 0.03) * 1.0 + (np.mod(down, 0.09) < 0.03))
    else:
        amount = np.zeros_like(across)
    return color + amount[..., None] * (second - color)


def draw_necktie(scene: Scene, drape: Drape) -> None:
    """Draws knot and blade as `Region.NECKTIE`."""
    rng = scene.rng("necktie")
    kind = str(rng.choice(SILK_PATTERNS))
    color = np.array(scene.shot.accessories.necktie_color)
    second = np.clip(color * rng.uniform(0.3, 0.6) if color.mean() > 0.3 else color + 0.35, 0, 1)
    s = np.linspace(-1, 1, 25)[None]

    t = np.linspace(0, 1, 50)[:, None]
    half = np.interp(t, (0, 1), BLADE_HALF_WIDTHS)
    y = KNOT_BOTTOM + 0.02 - t * (KNOT_BOTTOM - BLADE_END)
    # The dimple under the knot, and the rounded edges.
    dimple = 0.03 * np.exp(-((s / 0.3) ** 2)) * np.exp(-t / 0.12)
    lift = 0.085 + 0.02 * (1 - s**2) - dimple
    blade = drape.ahead(0 * s + 0 * t, y + 0 * s, lift)
    blade[..., 0] += half * s
    silk = _silk_pattern(kind, half * s, (KNOT_BOTTOM - BLADE_END) * t + 0 * s, color, second)
    draw_cloth(scene, blade, silk, Region.NECKTIE, sheen=0.06, bias=0.04)

    t = np.linspace(0, 1, 14)[:, None]
    half = np.interp(t, (0, 1), KNOT_HALF_WIDTHS)
    y = KNOT_TOP - t * (KNOT_TOP - KNOT_BOTTOM)
    bulge = 0.10 + 0.06 * (1 - s**2) * np.sin(np.pi * (0.15 + 0.7 * t))
    knot = drape.ahead(0 * s + 0 * t, y + 0 * s, bulge)
    knot[..., 0] += half * s
    wrap = _silk_pattern(kind, 0.5 * t + 0 * s, half * s + 0.25 * t, color, second)
    shade = 1 - 0.35 * np.clip(np.abs(s) - 0.8, 0, 1) / 0.2 * np.ones_like(t)
    draw_cloth(scene, knot, wrap * shade[..., None], Region.NECKTIE, sheen=0.06, bias=0.06)


# Height of a neckline on the rest head in front, at the side and at the back of the neck.
NECKLINES: dict[str, tuple[float, float, float]] = {
    "crew": (5.80, 5.95, 6.08),
    "vneck": (5.82, 5.94, 6.08),
    "shirt": (5.90, 6.02, 6.12),
    "suit": (5.90, 6.02, 6.12),
    "turtleneck": (6.02, 6.14, 6.26),
    "hoodie": (5.80, 5.95, 6.08),
    "scoop": (5.40, 5.95, 6.02),
    "boat": (5.74, 5.95, 6.02),
    "straps": (5.30, 5.30, 5.40),
    "strapless": (5.12, 5.12, 5.20),
}
SHOULDER = {"scoop": 0.82, "boat": 1.1}  # |x| at which a wide neckline reaches the shoulder's top
STRAP = 0.62  # |x| of a strap's middle
V_POINT, V_SLOPE = 5.48, 1.5  # where a V-neck ends, and how steep its sides are
OPEN_POINT = 5.66  # where a shirt without a tie is buttoned


def neckline(garment: Garment, rest: np.ndarray, open_collar: bool = False) -> np.ndarray:
    """The height (F,) on the rest head below which there is cloth, at rest points (F, 3)."""
    angle = np.arctan2(np.abs(rest[:, 0]), rest[:, 2] - AXIS_Z)
    edge = np.interp(angle, (0, np.pi / 2, np.pi), NECKLINES[garment])
    across, front = np.abs(rest[:, 0]), rest[:, 2] > AXIS_Z
    if garment == "vneck":
        edge = np.where(front, np.minimum(edge, V_POINT + V_SLOPE * across), edge)
    elif garment in SHOULDER:
        wide = SHOULDER[garment]
        low = NECKLINES[garment][0]
        rise = low + (6.1 - low) * np.clip(across / wide, 0, 1) ** 4
        edge = np.where(across < wide, np.where(front, rise, 5.0), 9)
    elif garment == "straps":
        width = 0.035 + 0.02 * np.clip(6.0 - rest[:, 1], 0, 1)
        edge = np.where(np.abs(across - STRAP) < width, 9, edge)
    elif garment in ("shirt", "suit") and open_collar:
        edge = np.where(front, np.minimum(edge, OPEN_POINT + 2.2 * across), edge)
    return edge


def shirt_color(scene: Scene) -> np.ndarray:
    """Linear colour (3,) of the shirt: the clothing's own, or under a suit white or a pastel."""
    worn = scene.shot.accessories
    if worn.clothing == "shirt":
        return np.array(worn.clothing_color)
    pastel = scene.rng("shirt").uniform(0.5, 0.8) * np.array([1.0, 1.0, 1.0])
    return pastel + scene.rng("shirt tint").uniform(-0.06, 0.06, 3)


def suit_color(scene: Scene) -> np.ndarray:
    """Linear colour (3,) of a jacket: the clothing's, darker and greyer, as suits are."""
    color = np.array(scene.shot.accessories.clothing_color)
    return 0.32 * (0.6 * color + 0.4 * color.mean())


def _pattern(kind: str, rest: np.ndarray, shift: float) -> np.ndarray:
    """How much (F,) of a pattern's second colour cloth has at rest points (F, 3)."""
    size = 0.12 + 0.2 * shift
    u, v = rest[:, 0] / size, (rest[:, 1] + 0.5 * rest[:, 2]) / size
    if kind == "stripes":
        return (np.mod(v if shift < 0.6 else u, 1) < 0.4).astype(float)
    if kind == "checks":
        return 0.5 * ((np.mod(u, 1) < 0.45) + 1.0 * (np.mod(v, 1) < 0.45))
    if kind == "dots":
        x, y = np.mod(u, 1) - 0.5, np.mod(v + 0.5 * np.mod(np.floor(u), 2), 1) - 0.5
        return (np.hypot(x, y) < 0.25).astype(float)
    if kind == "floral":
        blots = sample_noise(noise_texture(1.0, 11), 0.25 * u + shift, 0.25 * v)
        return np.clip((blots - 0.5) / 0.3, 0, 1)
    return np.zeros(len(rest))


def _is_jacket(rest: np.ndarray) -> np.ndarray:
    """(F,) bool: covered by a jacket rather than by the shirt in its opening."""
    return (np.abs(rest[:, 0]) > 0.5 * (rest[:, 1] - 5.25)) | (rest[:, 2] < AXIS_Z)


def paint_clothing(
    scene: Scene, fragments: Fragments, surface: Surface, regions: np.ndarray
) -> None:
    """Turns the fragments below the neckline into cloth, in place."""
    worn, rest = scene.shot.accessories, fragments.rest
    low = np.flatnonzero((rest[:, 1] < 6.35) & (fragments.material == MeshMaterial.SKIN))
    edge = neckline(worn.clothing, rest[low], open_collar=not worn.necktie)
    here = low[(rest[low, 1] < edge)]
    if not len(here):
        return
    rest = rest[here]
    shift = (scene.shot.seed % 911) / 911
    weave = sample_noise(noise_texture(0.2, 7), rest[:, 0] * 1.2, rest[:, 1] * 1.2)
    u, v = 0.22 * rest[:, 0] + shift, 0.16 * rest[:, 1] + 0.1 * rest[:, 2]
    folds = sample_noise(noise_texture(1.9, 8), u, v)
    slope = sample_noise(noise_texture(1.9, 8), u + 0.01, v) - folds
    color = np.broadcast_to(shirt_color(scene), (len(here), 3)).copy()
    if worn.clothing == "suit":
        color[_is_jacket(rest)] = suit_color(scene)
    elif worn.clothing != "shirt":
        color[:] = worn.clothing_color
    if worn.clothing != "suit":
        amount = _pattern(worn.pattern, rest, shift)[:, None]
        color += amount * (np.array(worn.pattern_color) - color)
    surface.albedo[here] = color * (1 + 0.05 * weave + 0.03 * folds)[:, None]
    normal = surface.normal[here]
    normal[:, 0] -= 1.6 * slope
    normal[:, 1] -= 0.8 * slope
    surface.normal[here] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    surface.gloss[here] = 0.012
    surface.sharpness[here] = 8
    surface.scatter[here] = 0
    regions[here] = Region.CLOTHING


def draw_clothing(scene: Scene) -> None:
    """Draws collars, lapels, ribs and the necktie over the painted cloth."""
    worn, drape = scene.shot.accessories, drape_of(scene.head)
    color = np.array(worn.clothing_color)
    if worn.clothing in ("straps", "strapless", "scoop", "boat"):
        return
    if worn.clothing == "turtleneck":
        draw_turtleneck(scene, drape, color)
    elif worn.clothing == "hoodie":
        draw_hood_roll(scene, drape, color)
    elif worn.clothing in ("crew", "vneck"):
        draw_rib(scene, drape, color, worn.clothing)
    else:
        draw_collar(
            scene,
            drape,
            shirt_color(scene),
            open_collar=not worn.necktie,
            under_jacket=worn.clothing == "suit",
        )
        if worn.necktie:
            draw_necktie(scene, drape)
        if worn.clothing == "suit":
            draw_lapels(scene, drape, suit_color(scene))
