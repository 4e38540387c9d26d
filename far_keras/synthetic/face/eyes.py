"""Eyeballs, lashes, teeth and tongue."""

from __future__ import annotations

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.head.mesh import MeshMaterial
from far_keras.synthetic.head.morphs import lid_rims
from far_keras.synthetic.stage.lighting import Surface
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Fragments, Scene

__all__ = ["draw_lashes", "paint_eyes", "paint_mouth"]

EYEBALL = 0.138  # radius, decimetres
IRIS, PUPIL = 0.060, 0.023
SCLERA = np.array([0.41, 0.37, 0.35], np.float32)
TEAR_DUCT = np.array([0.50, 0.22, 0.19], np.float32)
LASHES = 46  # per lid
# Albedo of yellow and of white teeth; light that enamel lets through brightens both.
TEETH = np.array([[0.58, 0.49, 0.36], [0.78, 0.75, 0.70]], np.float32)
GUMS = np.array([0.50, 0.20, 0.19], np.float32)
GUM_LINES = (6.76, 6.49)  # height on the rest head above, below which the jaws show gums
UPPER_EDGE = 6.597  # of the upper teeth
TOOTH_EDGES = np.array([0.0, 0.088, 0.152, 0.215, 0.265])  # |x| of the gaps between teeth
TONGUE = np.array([0.38, 0.13, 0.12], np.float32)


def _fade(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`."""
    return np.clip((values - low) / (high - low), 0, 1)


def paint_eyes(scene: Scene, fragments: Fragments) -> Surface:
    """Sclera, iris and pupil of the fragments that are eyeball; the gaze turns them."""
    mesh = scene.head.mesh
    surface = Surface.matt(fragments.normal)
    centers = np.stack([mesh.vertices[eye].mean(0) for eye in mesh.eye_vertices])
    right = fragments.rest[:, :1] > 0
    offset = fragments.rest - np.where(right, centers[1], centers[0])
    gaze = np.radians(scene.shot.expression.gaze)
    across = offset[:, 0] - EYEBALL * np.sin(gaze[0])
    upward = offset[:, 1] - EYEBALL * np.sin(gaze[1])
    radius = np.hypot(across, upward)
    front = offset[:, 2] > 0

    above, nose = _below_lid(scene, fragments)
    # Sclera: veins towards the corners, the tear duct's flesh at the inner one.
    corner = _fade(0.07, 0.13, np.abs(offset[:, 0]))[:, None]
    albedo = SCLERA * (1 - corner * np.array([0.15, 0.34, 0.34]))
    albedo = albedo + _fade(0.040, 0.012, nose)[:, None] * (TEAR_DUCT - albedo)
    # Iris: fibres run outward, the rim is dark.
    angle = np.arctan2(upward, across).astype(np.float32)
    fibres = sample_noise(noise_texture(0.5, 5), angle * 1.6, (radius * 2).astype(np.float32))
    iris = np.array(scene.person.iris_color) * (1 + 0.3 * fibres)[:, None]
    iris = iris * (0.75 + 0.7 * _fade(0.040, PUPIL, radius))[:, None]
    rim = _fade(0.045, 0.058, radius)[:, None]
    iris = iris * (1 - 0.75 * rim)
    inside = (front * _fade(IRIS + 0.006, IRIS - 0.004, radius))[:, None]
    albedo = albedo + inside * (iris - albedo)
    pupil = (front * _fade(PUPIL + 0.003, PUPIL - 0.003, radius))[:, None]
    albedo = albedo * (1 - pupil) + 0.004 * pupil
    # The upper lid and its lashes shade the eyeball; a film of tears lies on the lower lid.
    shadow = 1 - 0.5 * np.exp(-np.square(np.maximum(above, 0) / 0.022))
    surface.albedo = (albedo * shadow[:, None]).astype(np.float32)

    # The cornea bulges over the iris and mirrors the light.
    bulge = np.where(radius < 1.2 * IRIS, 1.5, 1.0)[:, None].astype(np.float32)
    direction = offset / EYEBALL
    direction = direction * np.array([1, 1, 0], np.float32) * bulge + direction * [0, 0, 1]
    normal = direction.astype(np.float32) @ scene.head.pose.rotation.T
    surface.normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    surface.normal = surface.normal.astype(np.float32)
    surface.gloss += (np.where(radius < 1.2 * IRIS, 1.4, 0.25) * shadow).astype(np.float32)
    surface.sharpness = np.where(radius < 1.2 * IRIS, 240, 60).astype(np.float32)
    surface.scatter += 0.35
    return surface


def paint_mouth(scene: Scene, fragments: Fragments) -> Surface:
    """Teeth, gums and tongue; all darken towards the throat."""
    surface = Surface.matt(fragments.normal)
    x, y, z = np.abs(fragments.rest[:, 0]), fragments.rest[:, 1], fragments.rest[:, 2]
    teeth = fragments.of(MeshMaterial.TEETH)[:, None]
    depth = np.where(teeth[:, 0], _fade(0.95, 1.32, z), _fade(1.05, 1.46, z))[:, None]
    side = 1 - 0.2 * _fade(0.16, 0.30, x)[:, None]
    gap = np.abs(x[:, None] - TOOTH_EDGES).min(1)
    # Gums reach lower between teeth.
    scallop = 0.022 * np.clip(1 - gap / 0.025, 0, 1)
    gums = np.maximum(
        _fade(GUM_LINES[0] - scallop - 0.008, GUM_LINES[0] - scallop, y),
        _fade(GUM_LINES[1] + scallop + 0.008, GUM_LINES[1] + scallop, y),
    )[:, None]
    enamel = TEETH[0] + (TEETH[1] - TEETH[0]) * scene.person.skin.teeth
    between = 1 - 0.12 * np.exp(-((gap / 0.006) ** 2))
    between -= 0.3 * np.exp(-(((y - UPPER_EDGE) / 0.006) ** 2))
    enamel = enamel * between[:, None]
    enamel = enamel + gums * (GUMS - enamel)
    # The mesh's few triangles round the teeth's edges off; a row of teeth is an upright arch.
    arch = np.stack([2.5 * fragments.rest[:, 0], 0 * z - 0.05, z - 0.95], axis=1)
    arch = arch @ scene.head.pose.rotation.T
    arch /= np.linalg.norm(arch, axis=1, keepdims=True)
    surface.normal = np.where(teeth, arch, surface.normal).astype(np.float32)
    # Between closed lips it is dark.
    expression = scene.shot.expression
    open_ = min(1.0, 0.05 + 5 * expression.grin + 8 * expression.jaw_open)
    surface.albedo = (np.where(teeth, enamel, TONGUE) * depth * side * open_).astype(np.float32)
    surface.gloss += np.where(teeth[:, 0], 0.12, 0.05).astype(np.float32) * depth[:, 0] * open_
    surface.sharpness += 30
    surface.scatter += 0.5
    return surface


def _below_lid(scene: Scene, fragments: Fragments) -> tuple[np.ndarray, np.ndarray]:
    """How far eyeball fragments (F,) lie below the upper lid's edge, and from the inner corner."""
    head, rims = scene.head, lid_rims()
    below, nose = np.empty(len(fragments)), np.empty(len(fragments))
    right = fragments.rest[:, 0] > 0
    for eye, here in enumerate((~right, right)):
        side = (-1, 1)[eye]
        center = head.mesh.vertices[head.mesh.eye_vertices[eye]].mean(0)
        edge = head.vertices[rims[eye, 0]] - head.eye_centers[eye]
        at = fragments.rest[here] - center
        below[here] = np.interp(side * at[:, 0], side * edge[:, 0], edge[:, 1]) - at[:, 1]
        nose[here] = np.hypot(side * (at[:, 0] - edge[0, 0]), at[:, 1] - edge[0, 1])
    return below, nose


def draw_lashes(scene: Scene) -> None:
    """Draws lashes as hairs along the lids' edges; make-up darkens, thickens and lengthens them."""
    person, makeup, head = scene.person, scene.shot.makeup, scene.head
    rng = scene.person_rng("lashes")
    painted = max(makeup.eyeliner, makeup.lashes)
    color = 0.3 * np.array(person.hair.brow_color, np.float32) * (1 - painted) + 0.004
    width = (0.007 + 0.004 * painted) * scene.pixels_per_unit
    base = 1.0 - 0.75 * person.face.masculinity
    t = np.linspace(0, 1, 4)[None, :, None]
    for eye, (upper, lower) in enumerate(lid_rims()):
        for rim, upward, length, alpha in (
            (upper, 1.0, 0.052 + 0.035 * base + 0.04 * makeup.lashes, base + 0.4 * painted),
            (lower, -1.0, 0.022 + 0.014 * makeup.lashes, 0.25 * base + 0.25 * painted),
        ):
            knots = head.vertices[rim]
            place = rng.uniform(0.8, len(rim) - 1, LASHES)
            low = np.minimum(place.astype(int), len(rim) - 2)
            part = (place - low)[:, None]
            roots = knots[low] * (1 - part) + knots[low + 1] * part
            out = roots - head.eye_centers[eye]
            out /= np.linalg.norm(out, axis=1, keepdims=True)
            out = out * (1.2, 0, 1) + (0.0, 0.25 * upward, 0.0)
            out += rng.normal(0, 0.12, out.shape)
            long = length * rng.uniform(0.6, 1.1, (LASHES, 1, 1)) * (0.6 + 0.4 * part[:, None])
            curl = long * t**2 * np.array([0.0, 0.4 * upward, 0.0])
            points = roots[:, None] + long * t * out[:, None] + curl
            scene.framebuffer.draw_strands(
                scene.project(points),
                color,
                width * np.linspace(1, 0.3, 4),
                Region.EYE,
                alpha=np.clip(alpha, 0, 1) * np.linspace(1, 0.5, 4),
                bias=0.02,
            )
