"""The kinds of light that photographs of people are taken in; shares and ranges are our choice.

Every kind is scaled to what a camera would expose for: `face_level` of a normal portrait is
`NORMAL_LEVEL`, that of a dim one lower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from far_keras.synthetic.parameters import RGB, Light
from far_keras.synthetic.people.palette import rgb

__all__ = ["LIGHT_SHARES", "NORMAL_LEVEL", "color_cast", "draw_light", "face_level"]

LIGHT_SHARES = {
    "soft": 0.28,  # a large lamp or a bright room, from the front
    "flash": 0.16,  # on the camera: hard, from the front, little else
    "window": 0.17,  # large, from a side
    "overcast": 0.08,  # from everywhere, more from above
    "sun": 0.10,  # hard, from above; blue sky around
    "several": 0.08,  # lamps on both sides and from behind: stages, red carpets
    "mixed": 0.05,  # lamp light and daylight on one face
    "backlit": 0.03,  # the light is behind
    "dim": 0.03,  # a dark room
    "coloured": 0.02,  # clubs and stages
}
NORMAL_LEVEL = 1.12
FACE_NORMALS = np.array(
    [[0, 0, 1], [0.6, 0, 0.8], [-0.6, 0, 0.8], [0, 0.5, 0.87], [0, -0.4, 0.92]], float
)
HUES = ((1.0, 0.25, 0.3), (0.35, 0.4, 1.0), (0.85, 0.3, 1.0), (0.25, 0.9, 0.5), (1.0, 0.55, 0.15))


def face_level(light: Light) -> float:
    """How much light a face receives, all colours and its parts averaged."""
    return float(_face_light(light).mean())


def color_cast(light: Light) -> float:
    """Ratio of the strongest to the weakest colour of the light on a face; 1 is white."""
    received = _face_light(light)
    return float(received.max() / max(received.min(), 1e-6))


def _face_light(light: Light) -> np.ndarray:
    away = -np.sign(light.key_direction[0] or 1.0)
    fill = light.fill_direction or (0.6 * away, 0.15, 0.7)
    total = 0.8 * np.array(light.ambient_color)
    for direction, color in ((light.key_direction, light.key_color), (fill, light.fill_color)):
        towards = np.array(direction) / np.linalg.norm(direction)
        total += np.maximum(FACE_NORMALS @ towards, 0).mean() * np.array(color)
    return total


def draw_light(rng: np.random.Generator, kind: str) -> Light:
    """A light of one of the kinds in `LIGHT_SHARES`."""
    light = _KINDS[kind](rng)
    level = NORMAL_LEVEL * rng.uniform(0.88, 1.12) / face_level(light)
    if kind == "dim":
        level *= rng.uniform(0.3, 0.6)
    if kind == "backlit":
        level *= rng.uniform(0.5, 1.0)
    return replace(
        light,
        key_color=_scaled(light.key_color, level),
        fill_color=_scaled(light.fill_color, level),
        ambient_color=_scaled(light.ambient_color, level),
        rim_color=_scaled(light.rim_color, level),
    )


def _scaled(color: RGB, factor: float) -> RGB:
    return rgb(factor * np.array(color))


def _side(rng: np.random.Generator) -> float:
    return float(rng.choice((-1.0, 1.0)))


def _unit(x: float, y: float, z: float) -> RGB:
    direction = np.array([x, y, z])
    return rgb(direction / np.linalg.norm(direction))


def _white(rng: np.random.Generator, warmth: float = 0.0, spread: float = 0.05) -> np.ndarray:
    """A nearly white colour; positive warmth is yellow, negative blue."""
    warm = warmth + float(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread))
    return np.array([1 + warm, 1.0, 1 - warm])


def _rim(rng: np.random.Generator, chance: float, color: np.ndarray) -> np.ndarray:
    return color * (rng.uniform(0.2, 0.9) if rng.random() < chance else 0.0)


def _soft(rng: np.random.Generator) -> Light:
    key = _white(rng)
    return Light(
        key_direction=_unit(rng.normal(0, 0.6), rng.uniform(0.1, 0.8), rng.uniform(0.6, 1.0)),
        key_color=rgb(key),
        softness=rng.uniform(0.2, 0.9),
        fill_color=rgb(key * rng.uniform(0.1, 0.45)),
        ambient_color=rgb(_white(rng) * rng.uniform(0.25, 0.55)),
        rim_color=rgb(_rim(rng, 0.35, key)),
    )


def _flash(rng: np.random.Generator) -> Light:
    room = _white(rng, 0.12, 0.08)
    return Light(
        key_direction=_unit(rng.normal(0, 0.12), rng.uniform(0.05, 0.45), 1.0),
        key_color=rgb(_white(rng, 0, 0.02)),
        softness=rng.uniform(0.0, 0.3),
        fill_color=rgb(room * rng.uniform(0.0, 0.15)),
        ambient_color=rgb(room * rng.uniform(0.18, 0.38)),
        rim_color=rgb(_rim(rng, 0.25, room)),
    )


def _window(rng: np.random.Generator) -> Light:
    side = _side(rng)
    day, room = _white(rng, -0.05), _white(rng, 0.08)
    return Light(
        key_direction=_unit(
            side * rng.uniform(0.6, 1.0), rng.uniform(0.05, 0.5), rng.uniform(0.25, 0.8)
        ),
        key_color=rgb(day),
        softness=rng.uniform(0.75, 1.0),
        fill_color=rgb(room * rng.uniform(0.05, 0.25)),
        ambient_color=rgb(room * rng.uniform(0.14, 0.36)),
    )


def _overcast(rng: np.random.Generator) -> Light:
    sky = _white(rng, 0.0)
    return Light(
        key_direction=_unit(rng.normal(0, 0.4), rng.uniform(0.7, 1.2), rng.uniform(0.4, 0.9)),
        key_color=rgb(sky * rng.uniform(0.5, 0.9)),
        softness=1.0,
        fill_color=rgb(sky * rng.uniform(0.05, 0.2)),
        ambient_color=rgb(sky * rng.uniform(0.55, 0.85)),
    )


def _sun(rng: np.random.Generator) -> Light:
    sun, sky, ground = _white(rng, 0.08), _white(rng, -0.12), _white(rng, 0.06)
    return Light(
        key_direction=_unit(rng.normal(0, 0.75), rng.uniform(0.4, 1.1), rng.uniform(0.35, 0.9)),
        key_color=rgb(sun),
        softness=rng.uniform(0.0, 0.08),
        fill_direction=_unit(rng.normal(0, 0.4), -0.6, 0.7),
        fill_color=rgb(ground * rng.uniform(0.1, 0.4)),
        ambient_color=rgb(sky * rng.uniform(0.2, 0.45)),
    )


def _several(rng: np.random.Generator) -> Light:
    side = _side(rng)
    first, second = _white(rng, 0, 0.07), _white(rng, 0, 0.07)
    return Light(
        key_direction=_unit(side * rng.uniform(0.4, 1.0), rng.uniform(0.2, 0.8), 0.7),
        key_color=rgb(first),
        softness=rng.uniform(0.05, 0.5),
        fill_direction=_unit(-side * rng.uniform(0.5, 1.2), rng.uniform(0.1, 0.8), 0.6),
        fill_color=rgb(second * rng.uniform(0.4, 0.9)),
        ambient_color=rgb(_white(rng) * rng.uniform(0.18, 0.38)),
        rim_color=rgb(second * rng.uniform(0.3, 1.2)),
    )


def _mixed(rng: np.random.Generator) -> Light:
    side = _side(rng)
    lamp, day = _white(rng, 0.25, 0.05), _white(rng, -0.2, 0.06)
    key, fill = (lamp, day) if rng.random() < 0.5 else (day, lamp)
    return Light(
        key_direction=_unit(side * rng.uniform(0.3, 0.9), rng.uniform(0.1, 0.6), 0.7),
        key_color=rgb(key),
        softness=rng.uniform(0.1, 0.8),
        fill_direction=_unit(-side * rng.uniform(0.6, 1.2), rng.uniform(0.0, 0.4), 0.5),
        fill_color=rgb(fill * rng.uniform(0.35, 0.8)),
        ambient_color=rgb((lamp + day) * rng.uniform(0.12, 0.22)),
    )


def _backlit(rng: np.random.Generator) -> Light:
    light = _white(rng, 0.05, 0.08)
    return Light(
        key_direction=_unit(rng.normal(0, 0.4), rng.uniform(0.2, 0.7), 0.8),
        key_color=rgb(light * rng.uniform(0.2, 0.5)),
        softness=1.0,
        fill_color=rgb(light * rng.uniform(0.05, 0.2)),
        ambient_color=rgb(light * rng.uniform(0.5, 0.8)),
        rim_direction=_unit(rng.normal(0, 0.6), rng.uniform(0.4, 0.9), -0.45),
        rim_color=rgb(light * rng.uniform(2.0, 5.0)),
    )


def _dim(rng: np.random.Generator) -> Light:
    lamp = _white(rng, 0.2, 0.06)
    return Light(
        key_direction=_unit(rng.normal(0, 0.7), rng.uniform(0.2, 1.0), rng.uniform(0.4, 0.8)),
        key_color=rgb(lamp),
        softness=rng.uniform(0.1, 0.7),
        fill_color=rgb(lamp * rng.uniform(0.0, 0.2)),
        ambient_color=rgb(lamp * rng.uniform(0.2, 0.45)),
    )


def _coloured(rng: np.random.Generator) -> Light:
    side = _side(rng)
    first, second = (np.array(HUES[index]) for index in rng.choice(len(HUES), 2, replace=False))
    key = first if rng.random() < 0.5 else _white(rng)
    return Light(
        key_direction=_unit(side * rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.8), 0.7),
        key_color=rgb(key),
        softness=rng.uniform(0.1, 0.6),
        fill_direction=_unit(-side * rng.uniform(0.5, 1.2), rng.uniform(0.0, 0.5), 0.5),
        fill_color=rgb(second * rng.uniform(0.4, 0.9)),
        ambient_color=rgb((first + second) * rng.uniform(0.1, 0.2)),
        rim_color=rgb(second * rng.uniform(0.3, 1.5)),
    )


_KINDS: dict[str, Callable[[np.random.Generator], Light]] = {
    "soft": _soft,
    "flash": _flash,
    "window": _window,
    "overcast": _overcast,
    "sun": _sun,
    "several": _several,
    "mixed": _mixed,
    "backlit": _backlit,
    "dim": _dim,
    "coloured": _coloured,
}
