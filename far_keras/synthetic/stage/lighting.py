"""The light of an image: a key, a fill from the other side, ambient light, a rim from behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from far_keras.synthetic.parameters import RGB, Light

__all__ = ["Lighting", "lighting_of"]

FILL_DIRECTION = (0.5, 0.15, 0.7)  # with a key from the other side
RIM_DIRECTION = (0.75, 0.35, -0.56)


@dataclass(frozen=True, eq=False)
class Lighting:
    """Lights in the camera's frame. Directions are unit vectors towards the light, colours linear.

    Attributes:
        key, fill, rim: (2, 3) float32 each: direction, colour.
        ambient: (3,) float32 colour; the sky above is brighter than the ground below.
        softness: how large the key is, 0 a point .. 1 a window.
    """

    key: np.ndarray
    fill: np.ndarray
    rim: np.ndarray
    ambient: np.ndarray
    softness: float

    @property
    def reach(self) -> float:
        """How far a large key reaches around what it lights, as `wrap` of `irradiance`."""
        return 0.25 * self.softness

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
        lights = ((self.key, lit, self.reach), (self.fill, 1.0, 0.0), (self.rim, 1.0, 0.0))
        for (direction, color), share, reach in lights:
            around = wrap + reach
            facing = np.maximum((normals @ direction + around) / (1 + around), 0) * share
            total = total + facing[..., None] * color
        return total.astype(np.float32)

    def highlight(self, normals: np.ndarray, sharpness: float) -> np.ndarray:
        """Blinn-Phong reflection (..., 3) of key and fill, for a viewer on the +z axis.

        A large key is mirrored as a large patch.
        """
        total = np.zeros((*normals.shape[:-1], 3), np.float32)
        for (direction, color), large in ((self.key, self.softness), (self.fill, 0.0)):
            half = direction + np.array([0, 0, 1], np.float32)
            half /= np.linalg.norm(half)
            shine = np.maximum(normals @ half, 0) ** (sharpness * (1 - 0.6 * large))
            total += shine[..., None] * color
        return total


def lighting_of(light: Light) -> Lighting:
    """The lights that a shot's parameters ask for."""
    away = -np.sign(light.key_direction[0] or 1.0)
    strength = max(abs(light.key_direction[0]), FILL_DIRECTION[0])
    fill = light.fill_direction or (away * strength, *FILL_DIRECTION[1:])
    rim = light.rim_direction or (away * RIM_DIRECTION[0], *RIM_DIRECTION[1:])
    return Lighting(
        key=_source(light.key_direction, light.key_color),
        fill=_source(fill, light.fill_color),
        rim=_source(rim, light.rim_color),
        ambient=np.array(light.ambient_color, np.float32),
        softness=light.softness,
    )


def _source(direction: RGB, color: RGB) -> np.ndarray:
    towards = np.array(direction, np.float32)
    return np.stack([towards / np.linalg.norm(towards), np.array(color, np.float32)])
