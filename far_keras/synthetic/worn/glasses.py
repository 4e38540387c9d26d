"""Eyeglasses and sunglasses: rims, bridge, temples to the ears, and lenses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.face.anatomy import point_on_head
from far_keras.synthetic.head.form import HeadForm, head_form
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.worn.solids import Solid, SurfaceMaterial, draw_solid, join, tube

__all__ = ["draw_glasses"]

# Linear colours of lenses; a pair has one of them.
LENS_TINTS = {
    "clear": ((1.0, 1.0, 1.0),),
    "tinted": ((0.12, 0.06, 0.02), (0.03, 0.04, 0.06), (0.14, 0.05, 0.05)),
    "dark": ((0.008, 0.008, 0.01), (0.014, 0.009, 0.006), (0.016, 0.016, 0.02)),
    "mirrored": ((0.5, 0.3, 0.1), (0.1, 0.25, 0.5), (0.4, 0.4, 0.42)),
}


@dataclass(frozen=True)
class _Frame:
    """The shape of one pair: half sizes of a lens, squareness, droop, rim radius in decimetres."""

    half_width: float
    half_height: float
    exponent: float
    droop: float
    rim: float
    metal: bool
    lift: float = 0.0  # of the upper outer corner
    brow: float = 1.0  # how much thicker the rim is above


def draw_glasses(scene: Scene) -> None:
    """Draws what is worn before the eyes; region GLASSES on frames and dark lenses.

    Clear lenses reflect a little and leave the region below as it is.
    """
    kind = scene.shot.accessories.glasses
    if kind is None:
        return
    rng = scene.rng("glasses")
    worn = scene.shot.accessories
    frame = _choose_frame(kind, worn.glasses_size, worn.sunglasses, rng)
    form = head_form(scene.head.vertices)
    eyes = scene.head.eye_centers.astype(float)
    depth = _depth(scene, eyes)
    rims, temples = [], []
    outlines = []
    for eye, side in zip(eyes, (-1, 1), strict=True):
        outline = _outline(frame, eye, side, depth, 44)
        outlines.append(outline)
        above = np.clip((outline[:, 1] - outline[:, 1].mean()) / frame.half_height + 0.3, 0, 1)
        radius = frame.rim * (1 + (frame.brow - 1) * above)
        rims.append(tube(outline, radius, closed=True, sides=6, flat=0.8))
        temples.append(_temple(scene, frame, outline, side, form))
    rims.append(_bridge(frame, outlines, eyes))
    color = np.array(scene.shot.accessories.glasses_color)
    if frame.metal:
        material = SurfaceMaterial(color + 0.02, gloss=0.5, sharpness=40, metal=0.7)
    else:
        material = SurfaceMaterial(color, gloss=0.25, sharpness=45)
    tints = LENS_TINTS[worn.lenses]
    tint = np.array(tints[int(rng.integers(len(tints)))])
    for outline, eye in zip(outlines, eyes, strict=True):
        _draw_lens(scene, outline, eye, worn.lenses, tint, rng)
    draw_solid(scene, join(rims + temples), material, Region.GLASSES, bias=0.004)


def _choose_frame(kind: str, size: float, dark: bool, rng: np.random.Generator) -> _Frame:
    metal = kind in ("aviator", "rimless") or (not dark and rng.random() < 0.4)
    rim = rng.uniform(0.009, 0.013) if metal else rng.uniform(0.014, 0.034)
    scale = 0.88 + (0.34 if dark else 0.26) * size
    width, height, exponent, droop = {
        "round": (0.235, 0.215, 2.0, 0.0),
        "oval": (0.255, 0.17, 2.2, 0.0),
        "rectangular": (0.265, 0.155, 3.6, 0.0),
        "square": (0.265, 0.205, 3.4, 0.01),
        "cat-eye": (0.27, 0.175, 2.5, 0.0),
        "aviator": (0.275, 0.225, 2.4, 0.06),
        "browline": (0.262, 0.18, 2.8, 0.0),
        "rimless": (0.26, 0.16, 2.9, 0.0),
    }[kind]
    return _Frame(
        width * scale,
        height * scale,
        exponent,
        droop,
        0.005 if kind == "rimless" else float(rim),
        metal,
        lift=0.09 if kind == "cat-eye" else 0.0,
        brow={"browline": 2.2, "cat-eye": 1.5}.get(kind, 1.0),
    )


def _depth(scene: Scene, eyes: np.ndarray) -> float:
    """z of the lenses' plane: on the bridge of the nose, clear of the lashes."""
    bridge = point_on_head(scene, "nose bridge")
    return float(max(bridge[2] + 0.02, eyes[:, 2].mean() + 0.26))


def _outline(frame: _Frame, eye: np.ndarray, side: int, depth: float, count: int) -> np.ndarray:
    """(count, 3) the rim of one lens; it curves back towards the temple and tilts in below."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    x = np.sign(cos) * np.abs(cos) ** (2 / frame.exponent) * frame.half_width
    y = np.sign(sin) * np.abs(sin) ** (2 / frame.exponent) * frame.half_height
    # The lower outer part hangs, as an aviator's does; the inner one gives way to the nose.
    y = y - frame.droop * (0.5 - 0.5 * sin)
    corner = np.clip(cos, 0, 1) * np.clip(sin + 0.2, 0, 1)
    x, y = x * (1 + 0.8 * frame.lift * corner), y + 1.6 * frame.lift * corner
    x = np.where((x < 0) & (y < 0), x * (1 + 1.2 * y), x)
    x = side * (max(abs(eye[0]) * 1.04, frame.half_width + 0.045) + x)
    y = eye[1] - 0.02 + y
    z = depth - 0.3 * np.maximum(np.abs(x) - 0.12, 0) ** 1.7 + 0.12 * (y - eye[1])
    return np.stack([x, y, z], -1)


def _bridge(frame: _Frame, outlines: list[np.ndarray], eyes: np.ndarray) -> Solid:
    inner = [
        outline[np.argmin(np.abs(outline[:, 0]) + 0.9 * np.abs(outline[:, 1] - eyes[0, 1] - 0.06))]
        for outline in outlines
    ]
    t = np.linspace(0, 1, 9)[:, None]
    course = inner[0] * (1 - t) + inner[1] * t
    course += np.sin(np.pi * t) * np.array([0.0, 0.022, 0.02])
    return tube(course, max(frame.rim * 0.9, 0.01), sides=6)


def _temple(scene: Scene, frame: _Frame, outline: np.ndarray, side: int, form: HeadForm) -> Solid:
    """From the rim's outer edge along the head over the ear."""
    start = outline[np.argmax(side * outline[:, 0] + 0.8 * outline[:, 1])]
    ear = point_on_head(scene, "ear root", side) + np.array([0.035 * side, 0.03, 0.0])
    behind = ear + np.array([-0.01 * side, -0.12, -0.2])
    t = np.linspace(0, 1, 14)[:, None]
    bowed = start * (1 - t) + ear * t + 4 * t * (1 - t) * np.array([0.03 * side, 0.0, 0.0])
    course = np.concatenate([bowed, ear + (behind - ear) * np.linspace(0.3, 1, 4)[:, None]])
    offset = course - form.center
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    clear = form.radius(offset / distance)[:, None] + 0.02
    # Outside the skin, but free of it where it starts before the eyes.
    fitted = form.center + offset / distance * np.maximum(distance, clear)
    return tube(fitted, max(0.75 * frame.rim, 0.011), sides=6)


def _draw_lens(
    scene: Scene,
    outline: np.ndarray,
    eye: np.ndarray,
    lenses: str,
    tint: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """A slightly domed fan of triangles with the sky's reflection."""
    middle = outline.mean(0)
    rings = np.array([0.0, 0.45, 0.8, 1.0])[:, None, None]
    points = middle + rings * (outline - middle)[None]
    points[..., 2] += 0.03 * (1 - rings[..., 0] ** 2)
    count = outline.shape[0]
    ring, corner = np.divmod(np.arange(3 * count), count)
    a, b = ring * count + corner, ring * count + (corner + 1) % count
    triangles = np.stack([a, b, a + count, b, b + count, a + count], 1).reshape(-1, 3)
    flat = points.reshape(-1, 3)
    relative = flat - eye
    normals = np.array([0.0, 0.0, 1.0]) + relative * np.array([0.8, 0.9, 0.0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = scene.light
    facing = scene.to_camera(normals.astype(np.float32), flat)
    glare = light.highlight(facing, 160.0)
    height = np.clip(0.5 + relative[:, 1:2] / 0.4, 0, 1)
    # A window's slanted reflection.
    slant = np.clip(1 - np.abs(relative[:, :1] + 0.8 * relative[:, 1:2] - 0.08) / 0.09, 0, 1)
    if lenses in ("dark", "mirrored"):
        sky = light.ambient * (0.01 + 0.05 * height**2 + 0.04 * slant)
        colors = (tint if lenses == "dark" else 0.0) + sky + 0.25 * glare
        if lenses == "mirrored":
            colors = colors + light.ambient * tint * (0.25 + 1.2 * height**2 + slant)
        alpha = 0.97 - 0.06 * (1 - height[:, 0])
    elif lenses == "tinted":
        colors = tint * light.ambient + glare
        alpha = 0.42 * (0.5 + 0.5 * height[:, 0])
    else:
        colors = light.ambient * 1.2 + glare
        alpha = 0.015 + 0.08 * slant[:, 0] * rng.random() + 0.3 * np.clip(glare.mean(1), 0, 1)
        alpha = np.minimum(alpha, 0.45)
    scene.framebuffer.draw_triangles(
        scene.project(flat.astype(np.float32)),
        triangles.astype(np.int32),
        colors,
        Region.GLASSES,
        alpha=alpha,
    )
