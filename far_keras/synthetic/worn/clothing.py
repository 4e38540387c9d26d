"""Clothes: cloth that lies on the body, painted there, and what stands off it (see `collars`)."""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.head.mesh import Material
from far_keras.synthetic.parameters import Garment
from far_keras.synthetic.regions import Region
from far_keras.synthetic.stage.fragments import Fragments
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Scene
from far_keras.synthetic.stage.shading import Surface
from far_keras.synthetic.worn.collars import (
    draw_collar,
    draw_hood_roll,
    draw_lapels,
    draw_rib,
    draw_turtleneck,
)
from far_keras.synthetic.worn.drape import AXIS_Z, drape_of
from far_keras.synthetic.worn.neckties import draw_necktie

__all__ = ["draw_clothing", "neckline", "paint_clothing", "shirt_color"]

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
    low = np.flatnonzero((rest[:, 1] < 6.35) & (fragments.material == Material.SKIN))
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
