"""From a person and a shot to an image and its region map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from far_keras.synthetic.face.anatomy import head_regions
from far_keras.synthetic.face.eyes import draw_lashes, paint_eyes, paint_mouth
from far_keras.synthetic.face.skin import paint_skin
from far_keras.synthetic.hair.facial_hair import draw_beard, draw_brows
from far_keras.synthetic.hair.hair import draw_hair
from far_keras.synthetic.head.mesh import MeshMaterial
from far_keras.synthetic.occluders import draw_occluder
from far_keras.synthetic.parameters import Person, Shot
from far_keras.synthetic.stage.background import draw_background
from far_keras.synthetic.stage.film import add_border, develop
from far_keras.synthetic.stage.lighting import Surface, ambient_occlusion, shade
from far_keras.synthetic.stage.scene import Fragments, Scene, build_scene, head_fragments
from far_keras.synthetic.worn.clothing import draw_clothing, paint_clothing
from far_keras.synthetic.worn.glasses import draw_glasses
from far_keras.synthetic.worn.hats import draw_hat
from far_keras.synthetic.worn.jewellery import draw_earrings, draw_necklace

__all__ = ["SIZE", "Rendering", "render"]

SIZE = (218, 178)  # height, width of CelebA's aligned images


@dataclass(frozen=True, eq=False)
class Rendering:
    """A rendered image.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        regions: (H, W) uint8 `Region` ids: what each pixel shows.
    """

    image: np.ndarray
    regions: np.ndarray


def _paint(scene: Scene, fragments: Fragments) -> tuple[Surface, np.ndarray]:
    """Materials and regions of everything that the head mesh shows."""
    surface, regions = Surface.matt(fragments.normal), head_regions(fragments)
    for chosen, painted in (
        (MeshMaterial.SKIN, lambda part: paint_skin(scene, part)),
        (MeshMaterial.EYE, lambda part: paint_eyes(scene, part)),
        (MeshMaterial.TEETH, lambda part: paint_mouth(scene, part)),
        (MeshMaterial.TONGUE, lambda part: paint_mouth(scene, part)),
    ):
        here = np.flatnonzero(fragments.material == chosen)
        if len(here):
            part = painted(fragments[here])
            for name in surface.__dataclass_fields__:
                getattr(surface, name)[here] = getattr(part, name)
    paint_clothing(scene, fragments, surface, regions)
    return surface, regions


def draw_head(scene: Scene) -> None:
    """Draws skin, eyes, mouth and the cloth that lies on the body."""
    fragments = head_fragments(scene)
    surface, regions = _paint(scene, fragments)
    openness = ambient_occlusion(scene.framebuffer.depth)[fragments.row, fragments.column]
    lit = scene.shadows.lit_share(fragments.posed)
    # Lips are thin and let light through to the teeth right behind them.
    teeth = fragments.of(MeshMaterial.TEETH)
    openness = np.where(teeth, 0.75 + 0.25 * openness, openness)
    lit = np.where(teeth, 0.8 + 0.2 * lit, lit).astype(np.float32)
    color = shade(surface, lit, np.ascontiguousarray(openness), scene.light)
    scene.framebuffer.color[fragments.row, fragments.column] = color
    scene.framebuffer.region[fragments.row, fragments.column] = regions
    draw_lashes(scene)


def render(person: Person, shot: Shot, size: tuple[int, int] = SIZE) -> Rendering:
    """Renders one image, the same bytes for the same arguments.

    Args:
        person: Who is in the image.
        shot: How they look, and what is around them.
        size: Height and width in pixels, in CelebA's proportions.

    Example:
        >>> identity = Population(seed=0).identity(3)
        >>> render(identity.person, identity.shots[0]).image.shape
        (218, 178, 3)
    """
    scene = build_scene(person, shot, size)
    draw_background(scene)
    draw_head(scene)
    for draw in (
        draw_clothing,
        draw_brows,
        draw_beard,
        draw_hat,
        draw_hair,
        draw_glasses,
        draw_earrings,
        draw_necklace,
        draw_occluder,
    ):
        draw(scene)
    color, regions = scene.framebuffer.resolve()
    image = develop(color, shot, scene.rng("film"))
    add_border(image, regions, shot)
    return Rendering(image, regions)
