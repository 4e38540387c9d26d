"""Where cloth lies: the surface of neck, chest and shoulders, addressed by height and direction.

Garments are drawn as grids of points. Their shape is given on the rest head, where every person's
collar has the same coordinates; `Drape` says where those places are on this person's body.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from far_keras.synthetic.face.anatomy import is_neck
from far_keras.synthetic.head.mesh import SurfaceSamples, surface_samples
from far_keras.synthetic.stage.scene import Head

__all__ = ["AXIS_Z", "Drape", "drape_of"]

AXIS_Z = 0.25  # depth of the neck's axis on the rest head
TOP, STEP = 6.5, 0.025  # height of the tables' first row, and between rows
ROWS, AROUND, ACROSS = 56, 96, 80
HALF_WIDTH = 1.0  # of the table of the front


def _nearest_cells(
    row: np.ndarray, column: np.ndarray, order: np.ndarray, columns: int, wrap: bool
) -> np.ndarray:
    """For each cell of a table, the number of the sample with the largest `order` in or near it."""
    table = np.full((ROWS, columns), -1)
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
    row = np.clip(((TOP - y) / STEP).astype(int), 0, ROWS - 1)
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
        ring: (ROWS, AROUND, 3) positions by height and direction around the neck.
        front: (ROWS, ACROSS, 3) positions by height and x.
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
    ring = ring.reshape(ROWS, AROUND, 3)
    front = front.reshape(ROWS, ACROSS, 3)
    return Drape(
        gaussian_filter(ring, (1.2, 1.2, 0), mode=("nearest", "wrap", "nearest")),
        gaussian_filter(front, (1.2, 1.5, 0), mode="nearest"),
    )
