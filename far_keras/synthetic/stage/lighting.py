"""The light of a picture: a key, a fill from the other side, ambient light, a rim from behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from far_keras.synthetic.parameters import Light

__all__ = ["Lighting", "lighting_of"]

RIM_DIRECTION = np.array([0.75, 0.35, -0.56], np.float32)


@dataclass(frozen=True, eq=False)
class Lighting:
    """Lights in the camera's frame. Directions are unit vectors towards the light, colours linear.

    Attributes:
        key, fill, rim: (2, 3) float32 each: direction, colour.
        ambient: (3,) float32 colour; the sky above is brighter than the ground below.
    """

    key: np.ndarray
    fill: np.ndarray
    rim: np.ndarray
    ambient: np.ndarray

    def irradiance(
        self, normals: np.ndarray, wrap: float = 0.0, lit: np.ndarray | float = 1.0
    ) -> np.ndarray:
        """Light that a matt surface receives.

        Args:
            normals: (..., 3) unit vectors in the camera's frame.
            wrap: 0 for a hard surface; 0.5 for one that lets light through, as hair and skin do.
            lit: (...) share of the key light that is not blocked.

        Returns:
            (..., 3) float32; a surface of albedo a shows a * irradiance.
        """
        total = self.ambient * (0.78 + 0.22 * normals[..., 1:2])
        for (direction, color), share in ((self.key, lit), (self.fill, 1.0), (self.rim, 1.0)):
            facing = np.maximum((normals @ direction + wrap) / (1 + wrap), 0) * share
            total = total + facing[..., None] * color
        return total.astype(np.float32)

    def highlight(self, normals: np.ndarray, sharpness: float) -> np.ndarray:
        """Blinn-Phong reflection (..., 3) of key and fill, for a viewer on the +z axis."""
        total = np.zeros((*normals.shape[:-1], 3), np.float32)
        for direction, color in (self.key, self.fill):
            half = direction + np.array([0, 0, 1], np.float32)
            half /= np.linalg.norm(half)
            total += (np.maximum(normals @ half, 0) ** sharpness)[..., None] * color
        return total


def lighting_of(light: Light) -> Lighting:
    """The lights that a shot's parameters ask for."""
    key = np.array(light.key_direction, np.float32)
    key /= np.linalg.norm(key)
    fill = np.array([-np.sign(key[0] or 1.0) * max(abs(key[0]), 0.5), 0.15, 0.7], np.float32)
    fill /= np.linalg.norm(fill)
    rim = RIM_DIRECTION * np.array([-np.sign(key[0] or 1.0), 1, 1], np.float32)
    rim_color = light.rim * np.array(light.key_color, np.float32)
    return Lighting(
        key=np.stack([key, np.array(light.key_color, np.float32)]),
        fill=np.stack([fill, np.array(light.fill_color, np.float32)]),
        rim=np.stack([rim, rim_color]),
        ambient=np.array(light.ambient_color, np.float32),
    )
