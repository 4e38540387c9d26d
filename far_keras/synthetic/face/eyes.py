"""Eyeballs, lashes, teeth and tongue."""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.head.mesh import Material
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.fragments import Fragments
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.stage.shading import Surface

__all__ = ["draw_lashes", "paint_eyes", "paint_mouth"]

EYEBALL = 0.138  # radius, decimetres
IRIS, PUPIL = 0.066, 0.026
SCLERA = np.array([0.66, 0.60, 0.57], np.float32)
# Albedo of yellow and of white teeth; light that enamel lets through brightens both.
TEETH = np.array([[0.66, 0.57, 0.42], [0.90, 0.88, 0.84]], np.float32)
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
    surface = Surface.matt(fragments)
    centers = np.stack([mesh.vertices[eye].mean(0) for eye in mesh.eye_vertices])
    right = fragments.rest[:, :1] > 0
    offset = fragments.rest - np.where(right, centers[1], centers[0])
    gaze = np.radians(scene.shot.expression.gaze)
    across = offset[:, 0] - EYEBALL * np.sin(gaze[0])
    upward = offset[:, 1] - EYEBALL * np.sin(gaze[1])
    radius = np.hypot(across, upward)
    front = offset[:, 2] > 0

    # Sclera: veins towards the corners, the lid's shadow above.
    corner = _fade(0.09, 0.15, np.abs(offset[:, 0]))[:, None]
    albedo = SCLERA * (1 - corner * np.array([0.18, 0.42, 0.42]))
    # Iris: fibres run outward, the rim is dark.
    angle = np.arctan2(upward, across).astype(np.float32)
    fibres = sample_noise(noise_texture(0.5, 5), angle * 1.6, (radius * 2).astype(np.float32))
    iris = np.array(scene.person.iris_color) * (1 + 0.22 * fibres)[:, None]
    iris = iris * (0.75 + 0.7 * _fade(0.045, PUPIL, radius))[:, None]
    rim = _fade(0.052, 0.064, radius)[:, None]
    iris = iris * (1 - 0.72 * rim)
    inside = (front * _fade(IRIS + 0.004, IRIS - 0.004, radius))[:, None]
    albedo = albedo + inside * (iris - albedo)
    pupil = (front * _fade(PUPIL + 0.003, PUPIL - 0.003, radius))[:, None]
    albedo = albedo * (1 - pupil) + 0.004 * pupil
    lid_shadow = 1 - 0.5 * _fade(0.015, 0.075, offset[:, 1])
    surface.albedo = (albedo * lid_shadow[:, None]).astype(np.float32)

    # The cornea bulges over the iris and mirrors the light.
    bulge = np.where(radius < 1.2 * IRIS, 1.5, 1.0)[:, None].astype(np.float32)
    direction = offset / EYEBALL
    direction = direction * np.array([1, 1, 0], np.float32) * bulge + direction * [0, 0, 1]
    normal = direction.astype(np.float32) @ scene.head.pose.rotation.T
    surface.normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    surface.normal = surface.normal.astype(np.float32)
    surface.gloss += np.where(radius < 1.2 * IRIS, 0.9, 0.25).astype(np.float32)
    surface.sharpness = np.full(len(fragments), 90, np.float32)
    surface.scatter += 0.35
    return surface


def paint_mouth(scene: Scene, fragments: Fragments) -> Surface:
    """Teeth, gums and tongue; all darken towards the throat."""
    surface = Surface.matt(fragments)
    x, y, z = np.abs(fragments.rest[:, 0]), fragments.rest[:, 1], fragments.rest[:, 2]
    teeth = fragments.of(Material.TEETH)[:, None]
    depth = np.where(teeth[:, 0], _fade(0.95, 1.32, z), _fade(1.05, 1.46, z))[:, None]
    side = 1 - 0.3 * _fade(0.16, 0.30, x)[:, None]
    gap = np.abs(x[:, None] - TOOTH_EDGES).min(1)
    # Gums reach lower between teeth.
    scallop = 0.022 * np.clip(1 - gap / 0.025, 0, 1)
    gums = np.maximum(
        _fade(GUM_LINES[0] - scallop - 0.008, GUM_LINES[0] - scallop, y),
        _fade(GUM_LINES[1] + scallop + 0.008, GUM_LINES[1] + scallop, y),
    )[:, None]
    enamel = TEETH[0] + (TEETH[1] - TEETH[0]) * scene.person.skin.teeth
    between = 1 - 0.25 * np.exp(-((gap / 0.006) ** 2))
    between -= 0.3 * np.exp(-(((y - UPPER_EDGE) / 0.006) ** 2))
    enamel = enamel * between[:, None]
    enamel = enamel + gums * (GUMS - enamel)
    surface.albedo = (np.where(teeth, enamel, TONGUE) * depth * side).astype(np.float32)
    surface.gloss += np.where(teeth[:, 0], 0.12, 0.05).astype(np.float32) * depth[:, 0]
    surface.sharpness += 30
    surface.scatter += 0.5
    return surface


def draw_lashes(scene: Scene) -> None:
    """Lashes: dense at the lid, thin at their tips; make-up darkens them."""
    person, makeup, mesh = scene.person, scene.shot.makeup, scene.head.mesh
    triangles = mesh.triangles[mesh.material == Material.LASH]
    used = np.unique(triangles)
    # The strips' outer edge lies farther from the eyeball than the edge on the lid.
    centers = np.stack([mesh.vertices[eye].mean(0) for eye in mesh.eye_vertices])
    rest = mesh.vertices[used]
    own = centers[(rest[:, 0] > 0).astype(int)]
    distance = np.linalg.norm(rest - own, axis=1)
    tip = _fade(0.165, 0.225, distance)
    upper = rest[:, 1] > own[:, 1] + 0.0
    base = 1.0 - 0.45 * person.face.masculinity
    painted = max(makeup.eyeliner, makeup.lashes)
    strength = np.where(upper, base + 0.5 * painted, 0.4 * base + 0.35 * painted)
    tip = tip * (1 - 0.5 * makeup.lashes)
    alpha = np.zeros(len(mesh.vertices), np.float32)
    alpha[used] = np.clip(strength * (1 - 0.85 * tip), 0, 1)
    color = 0.25 * np.array(person.hair.brow_color, np.float32) * (1 - painted) + 0.004
    scene.framebuffer.draw_triangles(
        scene.camera.project(scene.head.posed_vertices),
        triangles,
        np.broadcast_to(color, mesh.vertices.shape),
        Region.EYE,
        alpha=alpha,
    )
