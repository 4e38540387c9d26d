"""Light, camera, background, occluder and border of a shot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from far_keras.synthetic.parameters import (
    RGB,
    Background,
    Border,
    Camera,
    Finish,
    Light,
    Occluder,
    Shot,
)
from far_keras.synthetic.people.appearance import choose, clipped_normal, rgb

__all__ = [
    *("BACKGROUNDS", "LIGHT_SHARES", "NORMAL_LEVEL"),
    *("color_cast", "draw_light", "draw_staging", "face_level"),
]

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
    light = _DRAW[kind](rng)
    level = NORMAL_LEVEL * rng.uniform(0.88, 1.12) / face_level(light)
    if kind == "dim":
        level *= rng.uniform(0.3, 0.6)
    if kind == "backlit":
        level *= rng.uniform(0.5, 1.0)
    colors = ("key_color", "fill_color", "ambient_color", "rim_color")
    scaled = {name: rgb(level * np.array(getattr(light, name))) for name in colors}
    return replace(light, **scaled)  # type: ignore[arg-type]


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


_DRAW = dict(
    zip(
        LIGHT_SHARES,
        (_soft, _flash, _window, _overcast, _sun, _several, _mixed, _backlit, _dim, _coloured),
        strict=True,
    )
)


# What the alignment's enlargement of turned heads brings to the image's border, or beyond it.
AT_BORDER = frozenset({"Wearing_Necktie", "Wearing_Necklace", "Wearing_Earrings"})
TELLING_LIGHTS = ("soft", "flash", "window", "overcast", "sun", "several")
"""Lights in which colours and strengths can be seen."""

# Backgrounds that a light goes with, by share.
ANYWHERE = {
    "studio": 0.14, "gradient": 0.06, "indoor": 0.25, "outdoor": 0.2, "bokeh": 0.05,
    "people": 0.12, "press": 0.08, "night": 0.06, "blinds": 0.04,
}  # fmt: skip
OUTSIDE = {"outdoor": 0.75, "people": 0.15, "bokeh": 0.1}
INSIDE = {"indoor": 0.55, "people": 0.15, "blinds": 0.15, "studio": 0.1, "gradient": 0.05}
EVENTS = {"press": 0.35, "people": 0.2, "night": 0.25, "indoor": 0.15, "bokeh": 0.05}
DARK = {"night": 0.55, "bokeh": 0.2, "people": 0.15, "indoor": 0.1}
BACKGROUNDS = {
    "soft": ANYWHERE, "flash": EVENTS, "window": INSIDE, "overcast": OUTSIDE, "sun": OUTSIDE,
    "several": EVENTS, "mixed": INSIDE, "backlit": OUTSIDE, "dim": DARK, "coloured": DARK,
}  # fmt: skip


def draw_staging(rng: np.random.Generator, spread: float, sure: frozenset[str]) -> Shot:
    """A shot with what is around a person; the fields of the person keep their defaults.

    Args:
        rng: Random numbers.
        spread: How blurred the image is, as `Camera.spread`.
        sure: Forced attributes: nothing hides them or changes their colour.
    """
    shares = {kind: LIGHT_SHARES[kind] for kind in (TELLING_LIGHTS if sure else LIGHT_SHARES)}
    kind = choose(rng, shares)
    light = draw_light(rng, kind)
    return Shot(
        seed=0,
        light=light,
        camera=_draw_camera(rng, kind, spread, sure),
        finish=_draw_finish(rng, kind, sure),
        background=_draw_background(rng, kind, light),
        occluder=None if sure else _draw_occluder(rng),
        border=None if sure else _draw_border(rng),
    )


def _draw_camera(
    rng: np.random.Generator, light: str, spread: float, sure: frozenset[str]
) -> Camera:
    yaw = clipped_normal(rng, 0, 12, -25, 25)
    if rng.random() < 0.15 and not sure & AT_BORDER:
        yaw = float(rng.choice((-1, 1)) * rng.uniform(25, 45))
    pitch = clipped_normal(rng, 0, 6, -14, 12)
    if rng.random() < 0.04 and not sure:
        pitch = float(rng.uniform(-25, -14))
    distance = rng.uniform(7, 16)
    if rng.random() < 0.1:
        distance = rng.uniform(4.5, 7)  # selfies
    elif rng.random() < 0.25:
        distance = rng.uniform(16, 40)  # long lenses
    exposure = clipped_normal(rng, 1.0, 0.13, 0.7, 1.35)
    if rng.random() < 0.06 and not sure:
        exposure = float(rng.uniform(0.4, 0.7) if rng.random() < 0.5 else rng.uniform(1.35, 1.9))
    dark = light in ("dim", "coloured")
    grainy = rng.random() < (0.5 if dark else 0.06)
    quality = rng.uniform(75, 96)
    if rng.random() < 0.15:
        quality = rng.uniform(35, 75)
    blur = _draw_blur(rng, spread)
    return Camera(
        yaw=yaw,
        pitch=pitch,
        roll=clipped_normal(rng, 0, 6, -18, 18),
        distance=float(distance),
        tilt=clipped_normal(rng, 0, 1, -2.5, 2.5),
        exposure=exposure,
        white_balance=clipped_normal(rng, 0, 0.5, -1, 1),
        tint=clipped_normal(rng, 0, 0.25, -0.7, 0.7),
        noise=float(rng.uniform(0.012, 0.04) if grainy else rng.uniform(0.0, 0.009)),
        jpeg_quality=round(quality),
        **blur,
    )


def _draw_blur(rng: np.random.Generator, spread: float) -> dict[str, float]:
    """Fields of a camera whose `spread` has a given value, by focus, motion or too few pixels."""
    way = choose(rng, {"focus": 0.45, "motion": 0.2, "resolution": 0.35})
    if way == "motion":
        length, angle = spread * float(np.sqrt(12)), float(rng.uniform(0, 180))
        return {"motion": length, "motion_angle": angle}
    if way == "resolution":
        return {"resolution": float(1 / np.sqrt(1 + (spread / 0.45) ** 2))}
    return {"blur": spread}


def _draw_finish(rng: np.random.Generator, light: str, sure: frozenset[str]) -> Finish:
    saturation = clipped_normal(rng, 1.0, 0.15, 0.55, 1.4)
    toning = 0.0
    if rng.random() < 0.035 and not sure:
        saturation = 0.0
        toning = float(rng.uniform(0.4, 1.0)) if rng.random() < 0.3 else 0.0
    fade = float(rng.uniform(0.02, 0.12)) if rng.random() < 0.08 else 0.0
    if light == "backlit":
        fade = float(rng.uniform(0.0, 0.25))
    return Finish(
        contrast=clipped_normal(rng, 1.35, 0.2, 0.8, 1.9),
        saturation=saturation,
        toning=toning,
        fade=fade,
        vignette=float(rng.uniform(0.1, 0.7)) if rng.random() < 0.2 else 0.0,
        sharpening=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.4 else 0.0,
    )


def _draw_background(rng: np.random.Generator, light: str, lights: Light) -> Background:
    kind = choose(rng, BACKGROUNDS[light])
    brightness = float(np.exp(clipped_normal(rng, 0.0, 0.35, -0.8, 0.8)))
    if light == "flash" and kind != "press":  # a flash does not reach far
        brightness *= float(rng.uniform(0.25, 0.9))
    elif light in ("dim", "coloured"):
        brightness *= float(rng.uniform(0.3, 1.0))
    elif light == "backlit":
        brightness *= float(rng.uniform(1.5, 3.0))
    color = np.ones(3)
    if light == "coloured":
        color = np.array(lights.fill_color) / max(np.mean(lights.fill_color), 1e-6)
    elif rng.random() < 0.3:  # lit by other lamps than the face
        warm = rng.normal(0.1, 0.2)
        color = np.array([1 + warm, 1.0, max(1 - warm, 0.2)])
    blur = float(np.exp(rng.uniform(np.log(0.6), np.log(7.0))))
    if kind in ("press", "blinds"):
        blur = float(rng.uniform(0.5, 3.0))
    elif kind == "bokeh":
        blur = float(rng.uniform(0.5, 1.2))
    elif kind == "people":
        blur = float(rng.uniform(2.0, 8.0))
    return Background(kind, brightness, rgb(color), blur)


def _draw_occluder(rng: np.random.Generator) -> Occluder | None:
    if rng.random() >= 0.08:
        return None
    kind = choose(rng, {"hand": 0.3, "head": 0.3, "microphone": 0.15, "mask": 0.25})
    return Occluder(kind, float(rng.choice((-1, 1))), float(rng.uniform(0, 1)))


def _draw_border(rng: np.random.Generator) -> Border | None:
    if rng.random() >= 0.05:
        return None
    fill = choose(rng, {"repeated": 0.5, "blank": 0.35, "mirrored": 0.15})
    side = choose(rng, {"top": 0.35, "bottom": 0.25, "left": 0.2, "right": 0.2})
    deepest = {"top": 60.0, "bottom": 45.0, "left": 50.0, "right": 50.0}[side]
    if fill == "mirrored":  # not so deep that it shows a second face
        deepest *= 0.5
    depth = float(rng.uniform(4, deepest))
    return Border(fill, **{side: depth})
