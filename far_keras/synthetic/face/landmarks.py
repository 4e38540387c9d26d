"""Named points of the head that accessories are fitted to, on a person's own shape."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from far_keras.synthetic.head.mesh import Material, load_head
from far_keras.synthetic.stage.scene import Scene

__all__ = ["point_on_head"]

Array = np.ndarray[Any, np.dtype[Any]]

# On the rest head's skin; x is mirrored for the image's left side.
PLACES = {
    "nose bridge": (0.0, 7.27, 1.51),
    "ear root": (0.76, 7.31, 0.62),
    "ear lobe": (0.735, 6.86, 0.58),
}


@lru_cache(maxsize=16)
def _vertex(place: str, side: int) -> int:
    mesh = load_head()
    skin = mesh.vertices_of(Material.SKIN)
    x, y, z = PLACES[place]
    target = np.array([x * side, y, z])
    return int(skin[np.argmin(np.linalg.norm(mesh.vertices[skin] - target, axis=1))])


def point_on_head(scene: Scene, place: str, side: int = 1) -> Array:
    """(3,) where a place of `PLACES` is in the head's frame; `side` -1 is the image's left."""
    return scene.head.vertices[_vertex(place, side)].astype(float)
