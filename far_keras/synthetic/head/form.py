"""A simplified shape of head, neck and shoulders, for hair and hats to lie on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from far_keras.synthetic.head.mesh import MeshMaterial, load_head

__all__ = ["BODY_CELL", "BODY_X", "BODY_Z", "SKULL_CENTER", "HeadForm", "head_form"]


SKULL_CENTER = np.array([0.0, 7.6, 0.55])  # of the rest head
ROWS, COLUMNS = 48, 96
BODY_X, BODY_Z, BODY_CELL = -2.2, -0.8, 0.1  # decimetres: corner and cell of the shoulders' grid
BODY_SHAPE = (24, 45)


@dataclass(frozen=True)
class HeadForm:
    """A head as a distance from its centre per direction, on a cylinder above a height field.

    Heads of different shape are at different heights. `neck` and `shoulders` are therefore given
    in the skull's frame: the head's frame moved by -`shift`, in which the skull's middle is at
    `SKULL_CENTER` and thresholds such as the ears' height hold for everyone.

    Attributes:
        shift: (3,) from the rest head's skull to this one.
        radii: (48, 96) distance of the skin of head and neck, without ears; rows: angle from
            straight up, 0 .. pi; columns: angle around the vertical axis from the front, -pi .. pi.
        neck: (3,) half width, z of the middle, half depth.
        shoulders: (24, 45) height of the body's surface over a grid of z (rows) and x.
    """

    shift: np.ndarray
    radii: np.ndarray
    neck: np.ndarray
    shoulders: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """(3,) the skull's middle in the head's frame."""
        return SKULL_CENTER + self.shift

    def radius(self, directions: np.ndarray) -> np.ndarray:
        """Distance of the skin from `center` along unit vectors (..., 3)."""
        i = np.arccos(np.clip(directions[..., 1], -1, 1)) / np.pi * (ROWS - 1)
        j = (np.arctan2(directions[..., 0], directions[..., 2]) + np.pi) / (2 * np.pi)
        j = j * (COLUMNS - 1)
        i0 = np.minimum(i.astype(int), ROWS - 2)
        j0 = np.minimum(j.astype(int), COLUMNS - 2)
        fi, fj = i - i0, j - j0
        upper = self.radii[i0, j0] * (1 - fj) + self.radii[i0, j0 + 1] * fj
        lower = self.radii[i0 + 1, j0] * (1 - fj) + self.radii[i0 + 1, j0 + 1] * fj
        return upper * (1 - fi) + lower * fi


@lru_cache(maxsize=1)
def _vertex_sets() -> dict[str, np.ndarray]:
    """Vertices of the skull and neck, of the ears, of the neck, of the body, of the skull's top."""
    mesh = load_head()
    skin = mesh.vertices_of(MeshMaterial.SKIN)
    x, y, z = np.abs(mesh.vertices[skin, 0]), mesh.vertices[skin, 1], mesh.vertices[skin, 2]
    ear = (y > 6.78) & (y < 7.42) & (z > 0.3) & (z < 0.72) & (x > 0.66)
    # The mouth's and the eye sockets' insides.
    inside = (y < 7.9) & (z > 0.3) & (np.hypot(x / 0.72, (z - 0.55) / 0.95) < 0.75)
    return {
        "head": skin[(y > 6.3) & ~ear & ~inside],
        "ears": skin[ear],
        "neck": skin[(y > 6.05) & (y < 6.45) & (z < 0.75)],
        "body": skin[(y < 6.2) & (z < 1.35)],
        "top": skin[y > 7.6],
    }


def head_form(vertices: np.ndarray, ears: bool = False) -> HeadForm:
    """The form of a head with `vertices` (V, 3) in the head frame; `ears` adds their bulge."""
    sets = _vertex_sets()
    rest, top = load_head().vertices, sets["top"]
    shift = (vertices[top] - rest[top]).mean(0).astype(float)
    moved = vertices - shift
    radii = _radii(moved[sets["head"]] - SKULL_CENTER)
    if ears:
        both = np.concatenate([sets["head"], sets["ears"]])
        bulge = maximum_filter(_radii(moved[both] - SKULL_CENTER) - radii, (9, 9))
        # A gentle swelling, not an ear's outline.
        radii = radii + 0.55 * gaussian_filter(bulge, (6.0, 5.0), mode=["nearest", "wrap"])
    around = moved[sets["neck"]]
    front, back = 0.68, float(around[:, 2].min())
    half_width, half_depth = np.abs(around[:, 0]).max() + 0.03, (front - back) / 2 + 0.03
    neck = np.array([half_width, (front + back) / 2, half_depth])
    return HeadForm(shift, radii, neck, shoulders=_relief(moved[sets["body"]]))


def _radii(offsets: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(offsets, axis=1)
    polar = np.arccos(np.clip(offsets[:, 1] / distance, -1, 1))
    around = np.arctan2(offsets[:, 0], offsets[:, 2])
    row = np.rint(polar / np.pi * (ROWS - 1)).astype(np.int64)
    column = np.rint((around + np.pi) / (2 * np.pi) * (COLUMNS - 1)).astype(np.int64)
    farthest = _largest(row * COLUMNS + column, distance, 0.0, (ROWS, COLUMNS))
    farthest[:, 0] = farthest[:, -1] = np.maximum(farthest[:, 0], farthest[:, -1])
    smooth = _fill(farthest, farthest > 0, 1.2, 5.0, ["nearest", "wrap"])
    return np.maximum(farthest, smooth)


def _relief(points: np.ndarray) -> np.ndarray:
    row = np.rint((points[:, 2] - BODY_Z) / BODY_CELL).astype(np.int64)
    column = np.rint((points[:, 0] - BODY_X) / BODY_CELL).astype(np.int64)
    row, column = np.clip(row, 0, BODY_SHAPE[0] - 1), np.clip(column, 0, BODY_SHAPE[1] - 1)
    height = _largest(row * BODY_SHAPE[1] + column, points[:, 1], -9.0, BODY_SHAPE)
    known = height > -9
    covered = gaussian_filter(known.astype(float), 1.0, mode="constant") > 0.12
    filled = _fill(np.where(known, height, 0), known, 1.0, 2.0, ["nearest", "nearest"])
    return np.where(covered, np.maximum(filled, height), 3.0)


def _largest(
    cells: np.ndarray, values: np.ndarray, empty: float, shape: tuple[int, int]
) -> np.ndarray:
    """The largest of the values that fall into each cell of a flattened grid."""
    order = np.argsort(values)
    grid = np.full(shape[0] * shape[1], empty)
    grid[cells[order]] = values[order]
    return grid.reshape(shape)


def _fill(
    grid: np.ndarray, known: np.ndarray, narrow: float, wide: float, mode: list[str]
) -> np.ndarray:
    """Smooths the known cells; the others take the mean of the known ones around."""

    def smooth(sigma: float) -> tuple[np.ndarray, np.ndarray]:
        weight = gaussian_filter(known.astype(float), sigma, mode=mode)
        return gaussian_filter(grid * known, sigma, mode=mode) / np.maximum(weight, 1e-6), weight

    near, weight = smooth(narrow)
    return np.where(weight > 0.05, near, smooth(wide)[0])
