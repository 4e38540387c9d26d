"""Hats, hoods and headscarves over flattened hair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.head.form import HeadForm, head_form
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Scene, cast_shadow
from far_keras.synthetic.worn.clothing import drape_of
from far_keras.synthetic.worn.solids import (
    SurfaceMaterial,
    directions,
    draw_solid,
    draw_surface,
    sphere,
)

__all__ = ["COVERS", "UNDER_HAT", "Rim", "draw_hat", "hat_rim"]

COVERS = ("hood", "headscarf")
HOOD_NORMAL = np.array([0.0, 0.33, -0.944])  # of the plane behind which hair lies under the cloth
COVER_ROWS, COVER_COLUMNS = 22, 84
# The face's opening: angle from straight ahead (degrees) by direction around it, from straight
# up (0) to straight down (180), seen from the skull's middle.
AROUND = (0, 40, 75, 110, 140, 165, 180)
OPENING = {"hood": (41, 52, 76, 92, 88, 78, 75), "headscarf": (25, 36, 57, 63, 63, 63, 64)}
FARTHEST = 170.0
UNDER_HAT = 0.045  # decimetres that hair keeps under a hat
CLEARANCE = 0.085  # of the hat's cloth over the skin
ROWS, COLUMNS = 26, 72

# Finishes of `draw_surface`.
WOVEN: dict[str, Any] = {"gloss": 0.015, "sharpness": 8, "wrap": 0.25}
KNITTED: dict[str, Any] = {"gloss": 0.01, "sharpness": 8, "wrap": 0.25}
CANVAS: dict[str, Any] = {"gloss": 0.015, "sharpness": 10, "wrap": 0.15}
BOARD: dict[str, Any] = {"gloss": 0.02, "sharpness": 12, "wrap": 0.1}
FELT: dict[str, Any] = {"gloss": 0.02, "sharpness": 10, "wrap": 0.15}


def _draw_cover(
    scene: Scene, form: HeadForm, hood: bool, color: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws a hood, which stands off the head, or a headscarf; (h, w) bool where it shows."""
    turn = np.linspace(-np.pi, np.pi, COVER_COLUMNS, endpoint=False)[None]  # 0 is up
    t = np.linspace(0, 1, COVER_ROWS)[:, None]
    kind = "hood" if hood else "headscarf"
    edge = np.interp(np.degrees(np.abs(turn)), AROUND, OPENING[kind])
    angle = np.radians(edge + (FARTHEST - edge) * t)
    towards = np.stack(
        [np.sin(angle) * np.sin(turn), np.sin(angle) * np.cos(turn), np.cos(angle) + 0 * turn], -1
    )
    seed = rng.uniform(0, 50)
    folds = sample_noise(
        noise_texture(1.7, 6),
        (0.35 * turn + 0 * t + seed).ravel().astype(np.float32),
        (0.12 * t + 0 * turn).ravel().astype(np.float32),
    ).reshape(COVER_ROWS, COVER_COLUMNS)
    below = np.clip(-np.cos(turn), 0, 1)
    off = 0.12 + 0.25 * np.clip(t * 3, 0, 1) if hood else 0.07 + 0.05 * np.clip(t * 6, 0, 1)
    radius = form.radius(towards)
    # Cloth bridges the hollow under the jaw, and falls wide over the neck.
    radius = np.maximum(radius, (0.62 + 0.65 * below) * np.clip(0.6 + t, 0, 1))
    radius = radius + off + 0.025 * folds + (0.35 if hood else 0.25) * below * t
    points = form.center + towards * radius[..., None]
    shade = 1 + 0.10 * folds - 0.35 * np.exp(-((t / 0.06) ** 2)) * (0.5 if hood else 1.0)
    cloth = np.clip(color * shade[..., None], 0, 1)
    shown = draw_surface(scene, points, cloth, Region.HAT, **WOVEN, closed=True)
    return shown if hood else shown | _draw_scarf_end(scene, color, rng)


def _draw_scarf_end(scene: Scene, color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The end of a headscarf, wound around the neck."""
    angle = np.linspace(-np.pi, np.pi, 96)[None]
    t = np.linspace(0, 1, 16)[:, None]  # from the chin down
    folds = np.sin(9 * t + 1.5 * np.sin(angle + rng.uniform(0, 6)) + rng.uniform(0, 6))
    off = 0.05 + 0.24 * t**0.7 + 0.03 * folds
    points = drape_of(scene.head).around(angle + 0 * t, 6.42 - 0.75 * t + 0.06 * np.cos(angle), off)
    cloth = np.clip(color * (0.85 + 0.12 * folds)[..., None], 0, 1)
    return draw_surface(scene, points, cloth, Region.HAT, **WOVEN, bias=0.02)


@dataclass(frozen=True)
class Rim:
    """The plane of a hat's lower edge: points with `normal` . p > `offset` are under the hat."""

    normal: np.ndarray
    offset: float


def hat_rim(scene: Scene) -> Rim | None:
    """Where the hat of a shot ends, in the head's frame; None without a hat."""
    kind = scene.shot.accessories.hat
    if kind is None:
        return None
    rng = scene.rng("hat rim")
    eyes = float(scene.head.eye_centers[:, 1].mean())
    shift = head_form(scene.head.vertices).shift
    if kind in COVERS:
        # Behind the frame that the cloth leaves around the face.
        through = np.array([0.0, eyes + 0.72, 1.15 + shift[2]])
        return Rim(HOOD_NORMAL, float(HOOD_NORMAL @ through))
    front = eyes + rng.uniform(-0.04, 0.08)
    front += {"cap": 0.62, "beanie": 0.5, "brimmed": 0.56, "bucket": 0.52}[kind]
    back = shift[1] + {"cap": 7.35, "beanie": 7.15, "brimmed": 7.45, "bucket": 7.35}[kind]
    tilt = rng.normal(0, 0.04)
    along = np.array([0.0, front - back, 1.9])
    normal = np.cross(along, np.array([1.0, tilt, 0.0]))
    normal /= np.linalg.norm(normal)
    through = np.array([0.0, front, 1.5 + shift[2]])
    return Rim(normal, float(normal @ through))


def draw_hat(scene: Scene) -> None:
    """Draws what is worn on the head, and its shadow on the face; region HAT."""
    kind = scene.shot.accessories.hat
    rim = hat_rim(scene)
    if kind is None or rim is None:
        return
    rng = scene.rng("hat")
    form = head_form(scene.head.vertices)
    color = np.array(scene.shot.accessories.hat_color)
    shown = np.zeros(scene.framebuffer.depth.shape, bool)
    if kind == "beanie":
        shown |= _draw_beanie(scene, form, rim, color, rng)
    elif kind == "cap":
        shown |= _draw_cap(scene, form, rim, color, rng)
    elif kind in COVERS:
        shown |= _draw_cover(scene, form, kind == "hood", color, rng)
    else:
        shown |= _draw_brimmed(scene, form, rim, color, rng, soft=kind == "bucket")
    cast_shadow(scene, shown, reach=0.3 if kind == "beanie" else 0.5, strength=0.45)


def _edge_angles(form: HeadForm, rim: Rim, around: np.ndarray) -> np.ndarray:
    """(C,) polar angle from straight up at which the crown meets the rim's plane."""
    polar = np.linspace(0.2, 2.4, 120)[:, None]
    towards = directions(polar, around[None])
    points = form.center + towards * (form.radius(towards) + CLEARANCE)[..., None]
    under = points @ rim.normal > rim.offset
    return np.asarray(polar[np.argmin(under, axis=0), 0])


def _crown(form: HeadForm, rim: Rim, extra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (ROWS, COLUMNS, 3) of a dome over the skull down to the rim; angles (COLUMNS,) around.

    `extra` (ROWS, COLUMNS) is its height above the skin beyond `CLEARANCE`.
    """
    around = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    edge = _edge_angles(form, rim, around)
    polar = np.linspace(0.0, 1.0, ROWS)[:, None] * edge[None]
    towards = directions(polar, np.broadcast_to(around, polar.shape))
    radius = form.radius(towards)
    # Cloth bridges hollows: never below a mean over its surroundings.
    for _ in range(4):
        ahead, behind = np.roll(radius, 1, 1), np.roll(radius, -1, 1)
        up, down = radius[np.r_[0, : ROWS - 1]], radius[np.r_[1:ROWS, ROWS - 1]]
        radius = np.maximum(radius, (ahead + behind + up + down) / 4)
    points = form.center + towards * (radius + CLEARANCE + extra)[..., None]
    return points, around


def _cloth(points: np.ndarray, color: np.ndarray, grain: float, seed: float) -> np.ndarray:
    """(R, C, 3) a cloth's colour with blotches and grain at points (R, C, 3)."""
    x, y, z = points.astype(np.float32).reshape(-1, 3).T
    u, v = 0.3 * (x + 0.3 * z) + np.float32(seed), 0.3 * (y + z)
    blotches = sample_noise(noise_texture(2.0, 1), u, v)
    fine = sample_noise(noise_texture(0.0, 2), 2 * u, 2 * v)
    cloth = color * (1 + 0.07 * blotches + grain * fine)[:, None]
    return cloth.astype(np.float32).reshape(points.shape)


def _draw_lines(
    scene: Scene, lines: np.ndarray, color: np.ndarray, width: float, alpha: float
) -> None:
    """Seams and ribs: lines (S, K, 3) on a hat's surface."""
    scene.framebuffer.draw_strands(
        scene.project(lines.astype(np.float32)),
        color,
        width * scene.pixels_per_unit,
        Region.HAT,
        alpha=alpha,
        bias=0.02,
    )


def _ambient(scene: Scene) -> np.ndarray:
    return np.asarray(scene.light.ambient + 0.5 * scene.light.key[1])


def _draw_beanie(
    scene: Scene, form: HeadForm, rim: Rim, color: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    t = np.linspace(0, 1, ROWS)[:, None]
    slouch = rng.uniform(0.02, 0.16)
    cuff = t > 0.72 if rng.random() < 0.75 else t > 2
    extra = 0.03 + slouch * (1 - t) ** 1.5 + 0.035 * cuff + np.zeros((1, COLUMNS))
    points, _ = _crown(form, rim, extra)
    cloth = _cloth(points, color, 0.12, rng.uniform(0, 50))
    shown = draw_surface(scene, points, cloth, Region.HAT, **KNITTED, closed=True)
    # Knitted ribs, and the fold of the cuff.
    ribs = points[4:, ::1].transpose(1, 0, 2)
    light = _ambient(scene)
    _draw_lines(scene, ribs, 0.35 * color * light, 0.014, 0.35)
    if cuff.any():
        row = int(np.argmax(cuff[:, 0]))
        fold = np.concatenate([points[row], points[row, :1]])[None]
        _draw_lines(scene, fold, 0.25 * color * light, 0.03, 0.5)
    if rng.random() < 0.3:
        top = points[0, 0] + np.array([0, 0.11, 0])
        ball = sphere(top, 0.17)
        fluff = 1 + 0.25 * rng.normal(size=(len(ball.points), 1))
        pompom = SurfaceMaterial(color * np.clip(fluff, 0.5, 1.5), 0.0, 8, wrap=0.4)
        shown |= draw_solid(scene, ball, pompom, Region.HAT)
    return shown


def _draw_cap(
    scene: Scene, form: HeadForm, rim: Rim, color: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    t = np.linspace(0, 1, ROWS)[:, None]
    around = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)[None]
    front = np.clip(np.cos(around), 0, 1)
    high = rng.uniform(0.06, 0.13)
    # A stiff front stands up over the forehead.
    extra = high * np.sin(np.pi * np.clip(1 - t, 0, 1) ** 0.8 * 0.5) ** 0.8
    extra = extra + 0.10 * front**2 * np.sin(np.pi * t) + 0.015
    points, angles = _crown(form, rim, extra * (1 - 0.5 * t**4))
    cloth = _cloth(points, color, 0.05, rng.uniform(0, 50))
    if rng.random() < 0.3:
        cloth[:, np.abs(angles) < 0.9] = np.clip(0.75 * np.clip(color * 3 + 0.25, 0, 0.85), 0, 1)
    shown = draw_surface(scene, points, cloth, Region.HAT, **CANVAS, closed=True)
    visor = _visor(points[-1], angles, rng)
    shown |= draw_surface(scene, visor, _cloth(visor, color * 0.9, 0.05, 3.0), Region.HAT, **BOARD)
    # The visor's edge has the thickness of its board.
    edge = visor[-1][None]
    light = _ambient(scene)
    _draw_lines(scene, edge, 0.5 * color * light, 0.03, 1.0)
    seams = points[:, :: COLUMNS // 6].transpose(1, 0, 2)
    _draw_lines(scene, seams, 0.35 * color * light, 0.014, 0.6)
    button = sphere(points[0, 0] + np.array([0, 0.005, 0]), 0.045, (1, 0.5, 1))
    shown |= draw_solid(scene, button, SurfaceMaterial(color, 0.02, 10), Region.HAT)
    return shown


def _visor(edge: np.ndarray, angles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(R, C, 3) a curved visor in front of the crown's lower edge (COLUMNS, 3)."""
    spread = 1.12
    wanted = np.linspace(-spread, spread, 33)
    base = np.stack([np.interp(wanted, angles, edge[:, axis]) for axis in range(3)], 1)
    length = rng.uniform(0.55, 0.7)
    droop = rng.uniform(0.2, 0.32)
    curve = rng.uniform(0.06, 0.16)
    reach = np.clip(np.cos(wanted / spread * np.pi / 2), 0, 1) ** 0.55
    t = np.linspace(0, 1, 9)[:, None]
    out = np.stack([0.12 * np.sin(wanted), 0 * wanted, length * reach], 1)
    points = base[None] + t[..., None] * out[None]
    points[..., 1] -= droop * t * reach + curve * t * (wanted / spread) ** 2 - 0.012
    return points


def _draw_brimmed(
    scene: Scene,
    form: HeadForm,
    rim: Rim,
    color: np.ndarray,
    rng: np.random.Generator,
    *,
    soft: bool,
) -> np.ndarray:
    """A hat with a stiff brim, or with `soft` a bucket hat of cloth."""
    t = np.linspace(0, 1, ROWS)[:, None]
    around = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)[None]
    high = rng.uniform(0.16, 0.26)
    # Steep walls, a flat top with a lengthwise dent.
    extra = high * np.clip((1 - t) / 0.45, 0, 1) ** 0.7 * (0.55 + 0.45 * np.clip(t / 0.4, 0, 1))
    dent = 0.0 if soft else 0.10 * np.exp(-((t - 0.0) ** 2) / 0.05) * np.abs(np.cos(around)) ** 0.5
    points, angles = _crown(form, rim, extra - dent + 0.02)
    straw = rng.random() < (0.0 if soft else 0.35)
    grain = 0.22 if straw else 0.05
    seed = rng.uniform(0, 50)
    cloth = _cloth(points, color, grain, seed)
    if not soft:
        band_color = color * 0.25 if color.mean() > 0.08 else color * 3 + 0.05
        cloth[t[:, 0] > 0.74] = np.clip(band_color, 0, 0.9)
    shown = draw_surface(scene, points, cloth, Region.HAT, **FELT, closed=True)
    brim = _brim(points[-1], angles, rng, soft)
    brim_cloth = _cloth(brim, color * 0.95, grain, seed)
    shown |= draw_surface(scene, brim, brim_cloth, Region.HAT, **FELT, closed=True)
    ring = np.concatenate([brim[-1], brim[-1, :1]])[None]
    _draw_lines(scene, ring, 0.45 * color * _ambient(scene), 0.022, 0.9)
    return shown


def _brim(edge: np.ndarray, angles: np.ndarray, rng: np.random.Generator, soft: bool) -> np.ndarray:
    """(R, COLUMNS, 3) a ring around the crown's lower edge that rises at the sides."""
    width = rng.uniform(0.26, 0.36) if soft else rng.uniform(0.34, 0.75)
    roll = rng.uniform(-0.2, -0.12) if soft else rng.uniform(-0.06, 0.14)
    droop = rng.uniform(0.16, 0.24) if soft else rng.uniform(0.02, 0.12)
    t = np.linspace(0, 1, 8)[:, None, None]
    out = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], 1)
    points = edge[None] + t * width * out[None]
    side = np.sin(angles)[None] ** 2
    points[..., 1] += t[..., 0] ** 1.5 * (roll * side - droop * (1 - side))
    return points
