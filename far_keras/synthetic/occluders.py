"""Occluders: hands, microphones, other people's heads, face masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from far_keras.faces.region_map import Region
from far_keras.synthetic.people.appearance import skin_tone
from far_keras.synthetic.stage.scene import Scene, cast_shadow
from far_keras.synthetic.worn.solids import (
    Solid,
    SurfaceMaterial,
    directions,
    draw_solid,
    draw_surface,
    join,
    sheet,
    tube,
    unit_sphere,
)

__all__ = ["draw_occluder"]

MASK_ROWS, MASK_COLUMNS = 36, 73
AXIS_Z = 0.35  # depth of the upright axis that the mask is bent around
LAST_ANGLE = np.radians(72)  # of its side edges, from straight ahead
# Heights of its edges before the nose and at the sides: below the nose (0), high on it (1).
TOP = {"middle": (6.80, 7.16), "side": (6.72, 6.98)}
BOTTOM = {"middle": (6.08, 6.12), "side": (6.44, 6.52)}
EAR = np.array([0.80, 7.02, 0.22])
MEDICAL = ((0.33, 0.56, 0.66), (0.72, 0.76, 0.77), (0.42, 0.62, 0.52))
CLOTH = ((0.015, 0.015, 0.018), (0.03, 0.05, 0.15), (0.30, 0.03, 0.04), (0.16, 0.16, 0.17))


def _draw_face_mask(scene: Scene, rng: np.random.Generator, height: float) -> None:
    """A medical or cloth mask; `height`: 0 worn below the nose .. 1 high on its bridge."""
    medical = rng.random() < 0.6
    colors = MEDICAL if medical else CLOTH
    color = np.array(colors[int(rng.integers(len(colors)))]) * rng.uniform(0.85, 1.1)
    angle = np.linspace(-LAST_ANGLE, LAST_ANGLE, MASK_COLUMNS)[None]
    t = np.linspace(0, 1, MASK_ROWS)[:, None]  # from the upper edge down
    sideward = (1 - np.cos(angle)) / (1 - np.cos(LAST_ANGLE))
    top, bottom = (
        (1 - sideward) * np.interp(height, (0, 1), edge["middle"])
        + sideward * np.interp(height, (0, 1), edge["side"])
        for edge in (TOP, BOTTOM)
    )
    y = top + (bottom - top) * t
    radius = _reach(scene.head.vertices, angle[0], y)
    # It stands off at the middle, lies on the cheeks, and turns in below the chin.
    off = 0.035 + 0.05 * np.cos(angle) ** 2 * np.sin(np.pi * t) ** 0.5
    pleats = 0.5 + 0.5 * np.cos(2 * np.pi * 4 * t) if medical else np.zeros_like(t)
    inner = np.sin(np.pi * np.clip((t - 0.12) / 0.76, 0, 1))
    radius = radius + off + 0.018 * pleats * inner - 0.22 * np.clip((t - 0.86) / 0.14, 0, 1) ** 2
    points = np.stack([radius * np.sin(angle), y + 0 * angle, AXIS_Z + radius * np.cos(angle)], -1)
    shade = 1 - 0.16 * pleats * inner + 0.03 * rng.normal(size=radius.shape)
    hem = np.minimum(t, 1 - t) < 0.05
    shade = shade * np.where(hem, 0.9, 1.0)
    cloth = np.clip(color * shade[..., None], 0, 1)
    shown = draw_surface(
        scene, points, cloth, Region.OCCLUDER, gloss=0.01, sharpness=8, wrap=0.3, bias=0.03
    )
    loops = SurfaceMaterial(np.clip(color * 1.1, 0, 0.85), 0.01, 8, wrap=0.3)
    shown = shown | draw_solid(scene, _loops(points), loops, Region.OCCLUDER, two_sided=True)
    cast_shadow(scene, shown, reach=0.06, strength=0.3)


def _reach(vertices: np.ndarray, angles: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Distance (R, C) from the axis to a cloth drawn over the face at angles (C,), heights."""
    x, y, z = vertices.T
    front = (y > 5.9) & (y < 7.4) & (z > AXIS_Z) & (np.abs(x) < 0.95)
    cells_y = ((y[front] - 5.9) / 0.05).astype(int)
    around = np.arctan2(x[front], z[front] - AXIS_Z)
    cells_x = np.clip(((around + np.pi / 2) / np.pi * 60).astype(int), 0, 59)
    table = np.zeros((31, 60))
    np.maximum.at(table, (cells_y, cells_x), np.hypot(x[front], z[front] - AXIS_Z))
    # Cloth bridges hollows; gaps between vertices are filled from their neighbours.
    table = gaussian_filter(maximum_filter(table, size=(5, 5)), 1.2, mode="nearest")
    row = np.clip(np.rint((heights - 5.9) / 0.05).astype(int), 0, 30)
    column = np.clip(np.rint((angles + np.pi / 2) / np.pi * 60).astype(int), 0, 59)
    return gaussian_filter(table[row, column[None]], 1.0, mode="nearest")


def _loops(points: np.ndarray) -> Solid:
    """Bands from the side edges behind the ears."""
    bands = []
    for side, column in ((-1.0, 0), (1.0, -1)):
        for row in (1, -3):
            course = np.linspace(0, 1, 8)[:, None] * (EAR * (side, 1, 1) - points[row, column])
            bands.append(tube(points[row, column] + course, np.full(8, 0.012), sides=6))
    return join(bands)


HAIRS = ((0.012, 0.010, 0.009), (0.05, 0.027, 0.014), (0.11, 0.055, 0.025), (0.36, 0.22, 0.10))
STRANDS = 1400


def draw_occluder(scene: Scene) -> None:
    """Draws the shot's occluder, if it has one, with the shadow that it casts."""
    occluder = scene.shot.occluder
    if occluder is None:
        return
    rng = scene.rng("occluder")
    if occluder.kind == "mask":
        _draw_face_mask(scene, rng, occluder.nearness)
        return
    draw = {"hand": _draw_hand, "microphone": _draw_microphone, "head": _draw_other_head}
    draw[occluder.kind](scene, rng, occluder.side, occluder.nearness)


def _ball(center: np.ndarray, radii: np.ndarray) -> Solid:
    """An ellipsoid of 22 x 28 faces."""
    normals = unit_sphere(22, 28)
    solid = sheet(center + normals * radii, closed=True)
    outward = (normals / radii).reshape(-1, 3)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    return Solid(solid.points, outward, solid.triangles)


def _finger(points: Sequence[np.ndarray], radius: float) -> Solid:
    """A finger along its joints, rounded at the tip."""
    joints = np.array(points)
    at = np.linspace(0, len(joints) - 1, 14)
    course = np.stack([np.interp(at, np.arange(len(joints)), joints[:, k]) for k in range(3)], -1)
    along = np.linspace(0, 1, len(course))
    taper = radius * (1 - 0.22 * along) * np.sqrt(np.clip((1.04 - along) / 0.12, 0.05, 1))
    return tube(course, taper, sides=12)


def _draw_hand(scene: Scene, rng: np.random.Generator, side: float, nearness: float) -> None:
    """A hand at the cheek or chin of the person, or held before the mouth."""
    own = rng.random() < 0.8
    melanin = scene.person.melanin if own else float(rng.uniform(0.05, 0.9))
    skin = skin_tone(melanin, scene.person.skin_redness + 0.2) * rng.uniform(0.9, 1.05)
    # Knuckles from next to the jaw (0) to before the chin and mouth (1); the fingers point to the
    # other side the more the hand covers.
    size = 0.85 if not scene.person.male else 1.0
    knuckles = np.array([side * (0.92 - 0.55 * nearness), 6.30 + 0.12 * nearness, 1.45])
    knuckles[2] += 0.35 * nearness
    lean = np.radians(rng.uniform(10, 30) + 35 * nearness)
    up = np.array([-side * np.sin(lean), np.cos(lean), -0.12])
    across = np.array([side * np.cos(lean), np.sin(lean), -0.25])
    parts = []
    curl = rng.uniform(0.0, 0.5)
    for index, length in enumerate((0.72, 0.80, 0.75, 0.60)):
        root = knuckles + size * (index - 1.5) * 0.185 * across
        spread = up + 0.06 * (index - 1.5) * across
        joints = [root - 0.12 * up, root]
        for share, bend in ((0.45, 0.3), (0.75, 0.75), (1.0, 1.2)):
            turned = spread * share - np.array([0, 0, 0.25 * curl * bend * share])
            joints.append(root + size * length * turned)
        parts.append(_finger(joints, 0.097 * size))
    wrist = knuckles - 0.95 * size * up + np.array([0, 0, -0.1])
    thumb = wrist + 0.3 * up - 0.42 * size * across + np.array([0, 0, 0.05])
    parts.append(_finger([wrist, thumb, thumb + 0.42 * size * (up - 0.25 * across)], 0.10 * size))
    palm = np.linspace(0, 1, 9)[:, None] * (knuckles - wrist) + wrist
    widths = size * np.interp(np.linspace(0, 1, 9), [0, 0.5, 0.9, 1], [0.24, 0.36, 0.38, 0.30])
    helper = across / np.linalg.norm(across)
    ring = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    depth = np.cross(up, helper)
    outline = np.cos(ring)[None, :, None] * helper * widths[:, None, None]
    outline = outline + 0.42 * np.sin(ring)[None, :, None] * depth * widths[:, None, None]
    parts.append(sheet(palm[:, None] + outline, closed=True))
    elbow = np.array([side * 1.5, 3.6, 1.0])
    arm = np.linspace(0, 1, 8)[:, None] * (elbow - wrist) + wrist
    parts.append(tube(arm, np.linspace(0.235, 0.40, 8), sides=16))
    hand = join(parts)
    # Grooves and knuckles: redder and darker where fingers meet.
    mottled = 1 + 0.05 * rng.normal(size=(len(hand.points), 1))
    material = SurfaceMaterial(skin * mottled, gloss=0.05, sharpness=18, wrap=0.25)
    _draw_before(scene, hand, material, reach=0.25)
    if rng.random() < 0.4:
        _draw_sleeve(scene, rng, wrist, elbow)


def _draw_sleeve(
    scene: Scene, rng: np.random.Generator, wrist: np.ndarray, elbow: np.ndarray
) -> None:
    start = wrist + rng.uniform(0.05, 0.3) * (elbow - wrist)
    course = np.linspace(0, 1, 8)[:, None] * (elbow - start) + start
    color = np.array(scene.shot.accessories.clothing_color)
    sleeve = tube(course, np.linspace(0.33, 0.5, 8), sides=16)
    _draw_before(scene, sleeve, SurfaceMaterial(color, gloss=0.02, wrap=0.3), reach=0.1)


def _draw_microphone(scene: Scene, rng: np.random.Generator, side: float, nearness: float) -> None:
    """A microphone on its handle, or one with a foam cover, before the chin."""
    head = np.array([side * (0.85 - 0.65 * nearness), 5.95 + 0.28 * nearness, 2.15])
    foot = head + np.array([side * rng.uniform(0.2, 0.7), -1.6, rng.uniform(0.0, 0.6)])
    foam = rng.random() < 0.4
    radius = 0.36 if foam else 0.27
    color = np.array((0.03, 0.03, 0.035))
    if foam and rng.random() < 0.4:
        color = np.array(((0.5, 0.03, 0.03), (0.03, 0.08, 0.4), (0.6, 0.4, 0.02))[rng.integers(3)])
    handle = tube(
        np.linspace(0, 1, 9)[:, None] * (foot - head) + head, np.linspace(0.19, 0.13, 9), sides=14
    )
    black = SurfaceMaterial(np.full(3, 0.02), gloss=0.25, sharpness=40)
    _draw_before(scene, handle, black, reach=0.15)
    ball = _ball(head, np.full(3, radius))
    pattern = rng.uniform(0.5, 1.6, (len(ball.points), 1))
    if foam:
        material = SurfaceMaterial(color * (0.85 + 0.1 * pattern), gloss=0.0, wrap=0.4)
    else:  # wire
        material = SurfaceMaterial(np.array([0.35, 0.35, 0.36]) * pattern, gloss=0.5, sharpness=30)
    _draw_before(scene, ball, material, reach=0.2)


def _draw_other_head(scene: Scene, rng: np.random.Generator, side: float, nearness: float) -> None:
    """Hair and some skin of someone next to the person, mostly outside the image."""
    away = 2.35 - 0.75 * nearness
    depth = rng.uniform(-1.2, 1.6)
    center = np.array([side * away, 7.1 + rng.uniform(-0.8, 0.4), depth])
    skin = skin_tone(float(rng.uniform(0.05, 0.9))) * rng.uniform(0.75, 1.05)
    hair = np.array(HAIRS[int(rng.integers(len(HAIRS)))]) * rng.uniform(0.8, 1.3)
    long = rng.random() < 0.6
    neck = np.linspace(0, 1, 6)[:, None] * np.array([0.0, -1.5, -0.1]) + center
    body = tube(neck, np.array([0.5, 0.5, 0.52, 0.6, 0.9, 1.3]), sides=18)
    face = _ball(center + np.array([0, -0.1, 0.2]), np.array([0.72, 0.98, 0.85]))
    _draw_before(scene, join([body, face]), SurfaceMaterial(skin, 0.06, 16, wrap=0.25), reach=0.1)
    shoulder = _ball(center + np.array([side * 0.4, -2.6, -0.1]), np.array([1.9, 1.15, 0.9]))
    cloth = SurfaceMaterial(rng.uniform(0.01, 0.5, 3), gloss=0.02, wrap=0.3)
    _draw_before(scene, shoulder, cloth, reach=0.1)
    # They look away: a strip of cheek shows at most.
    middle = center + np.array([0.12 * rng.uniform(-1, 1), 0.1, 0.15])
    radii = np.array([0.92, 1.05, 1.0])
    _draw_before(scene, _ball(middle, radii), SurfaceMaterial(0.6 * hair, wrap=0.35), reach=0.1)
    _draw_hair(scene, rng, middle, radii, hair, 1.9 if long else 0.45)


def _draw_hair(
    scene: Scene,
    rng: np.random.Generator,
    middle: np.ndarray,
    radii: np.ndarray,
    color: np.ndarray,
    length: float,
) -> None:
    """Strands that fall from the crown over an ellipsoid, and on downwards."""
    around = rng.uniform(0, 2 * np.pi, STRANDS)
    start = rng.uniform(0.0, 1.3, STRANDS)
    steps = np.linspace(0, 1, 9)[None]
    polar = start[:, None] + steps * rng.uniform(0.5, 1.4, (STRANDS, 1))
    fall = np.maximum(polar - np.pi / 2, 0)
    angle = np.minimum(polar, np.pi / 2)
    direction = directions(angle, around[:, None])
    wave = 0.03 * np.sin(9 * steps + rng.uniform(0, 6, (STRANDS, 1)))
    points = middle + direction * (radii * rng.uniform(1.0, 1.06, (STRANDS, 1, 1)))
    points[..., 1] -= length * fall
    points[..., 0] += wave
    normals = scene.to_camera(direction.astype(np.float32), points)
    light = scene.light.irradiance(normals, 0.35) + 0.25 * scene.light.highlight(normals, 12)
    colors = color * rng.uniform(0.5, 1.7, (STRANDS, 1, 1)) * light
    order = np.argsort(points[:, :, 2].mean(1))
    scene.framebuffer.draw_strands(
        scene.project(points[order].astype(np.float32)),
        colors[order],
        0.04 * scene.pixels_per_unit,
        Region.OCCLUDER,
        alpha=0.85,
        bias=0.02,
    )


def _draw_before(scene: Scene, solid: Solid, material: SurfaceMaterial, reach: float) -> None:
    shown = draw_solid(scene, solid, material, Region.OCCLUDER, two_sided=True)
    cast_shadow(scene, shown, reach=reach, strength=0.4)
