"""Draws what is around a person in a shot: light, background, camera, what is in the way.

The table 'The shot' of docs/synthetic.md tells these numbers; all of them are our choice. Forced
attributes are never in doubt: then nothing is drawn that could hide them or change their colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from far_keras.synthetic.parameters import (
    Background,
    Border,
    Camera,
    Finish,
    Light,
    Occluder,
)
from far_keras.synthetic.people.lights import LIGHT_SHARES, draw_light
from far_keras.synthetic.people.palette import rgb

__all__ = ["Staging", "draw_staging"]

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


@dataclass(frozen=True)
class Staging:
    """The fields of a `Shot` that are not about the person."""

    light: Light
    camera: Camera
    finish: Finish
    background: Background
    occluder: Occluder | None
    border: Border | None


def draw_staging(rng: np.random.Generator, spread: float, sure: frozenset[str]) -> Staging:
    """What is around a person in one shot.

    Args:
        rng: where it is drawn from.
        spread: how blurred the image is, as `Camera.spread`.
        sure: the attributes that are forced.
    """
    shares = {kind: LIGHT_SHARES[kind] for kind in (TELLING_LIGHTS if sure else LIGHT_SHARES)}
    kind = _one_of(rng, shares)
    light = draw_light(rng, kind)
    return Staging(
        light=light,
        camera=_draw_camera(rng, kind, spread, sure),
        finish=_draw_finish(rng, kind, sure),
        background=_draw_background(rng, kind, light),
        occluder=None if sure else _draw_occluder(rng),
        border=None if sure else _draw_border(rng),
    )


def _one_of(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    total = sum(shares.values())
    return str(rng.choice(list(shares), p=[share / total for share in shares.values()]))


def _normal(
    rng: np.random.Generator, mean: float, deviation: float, low: float, high: float
) -> float:
    return float(np.clip(rng.normal(mean, deviation), low, high))


def _draw_camera(
    rng: np.random.Generator, light: str, spread: float, sure: frozenset[str]
) -> Camera:
    yaw = _normal(rng, 0, 12, -25, 25)
    if rng.random() < 0.15 and not sure & AT_BORDER:
        yaw = float(rng.choice((-1, 1)) * rng.uniform(25, 45))
    pitch = _normal(rng, 0, 6, -14, 12)
    if rng.random() < 0.04 and not sure:
        pitch = float(rng.uniform(-25, -14))
    distance = rng.uniform(7, 16)
    if rng.random() < 0.1:
        distance = rng.uniform(4.5, 7)  # selfies
    elif rng.random() < 0.25:
        distance = rng.uniform(16, 40)  # long lenses
    exposure = _normal(rng, 1.0, 0.13, 0.7, 1.35)
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
        roll=_normal(rng, 0, 6, -18, 18),
        distance=float(distance),
        tilt=_normal(rng, 0, 1, -2.5, 2.5),
        exposure=exposure,
        white_balance=_normal(rng, 0, 0.5, -1, 1),
        tint=_normal(rng, 0, 0.25, -0.7, 0.7),
        noise=float(rng.uniform(0.012, 0.04) if grainy else rng.uniform(0.0, 0.009)),
        jpeg_quality=round(quality),
        **blur,
    )


def _draw_blur(rng: np.random.Generator, spread: float) -> dict[str, float]:
    """Fields of a camera whose `spread` is the one wanted, by focus, motion or too few pixels."""
    way = _one_of(rng, {"focus": 0.45, "motion": 0.2, "resolution": 0.35})
    if way == "motion":
        length, angle = spread * float(np.sqrt(12)), float(rng.uniform(0, 180))
        return {"motion": length, "motion_angle": angle}
    if way == "resolution":
        return {"resolution": float(1 / np.sqrt(1 + (spread / 0.45) ** 2))}
    return {"blur": spread}


def _draw_finish(rng: np.random.Generator, light: str, sure: frozenset[str]) -> Finish:
    saturation = _normal(rng, 1.0, 0.15, 0.55, 1.4)
    toning = 0.0
    if rng.random() < 0.035 and not sure:
        saturation = 0.0
        toning = float(rng.uniform(0.4, 1.0)) if rng.random() < 0.3 else 0.0
    fade = float(rng.uniform(0.02, 0.12)) if rng.random() < 0.08 else 0.0
    if light == "backlit":
        fade = float(rng.uniform(0.0, 0.25))
    return Finish(
        contrast=_normal(rng, 1.35, 0.2, 0.8, 1.9),
        saturation=saturation,
        toning=toning,
        fade=fade,
        vignette=float(rng.uniform(0.1, 0.7)) if rng.random() < 0.2 else 0.0,
        sharpening=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.4 else 0.0,
    )


def _draw_background(rng: np.random.Generator, light: str, lights: Light) -> Background:
    kind = _one_of(rng, BACKGROUNDS[light])
    brightness = float(np.exp(_normal(rng, 0.0, 0.35, -0.8, 0.8)))
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
    return Background(kind, brightness, rgb(color), blur)  # type: ignore[arg-type]


def _draw_occluder(rng: np.random.Generator) -> Occluder | None:
    if rng.random() >= 0.08:
        return None
    kind = _one_of(rng, {"hand": 0.3, "head": 0.3, "microphone": 0.15, "mask": 0.25})
    return Occluder(kind, float(rng.choice((-1, 1))), float(rng.uniform(0, 1)))  # type: ignore


def _draw_border(rng: np.random.Generator) -> Border | None:
    if rng.random() >= 0.05:
        return None
    fill = _one_of(rng, {"repeated": 0.5, "blank": 0.35, "mirrored": 0.15})
    side = _one_of(rng, {"top": 0.35, "bottom": 0.25, "left": 0.2, "right": 0.2})
    deepest = {"top": 60.0, "bottom": 45.0, "left": 50.0, "right": 50.0}[side]
    if fill == "mirrored":  # not so deep that it shows a second face
        deepest *= 0.5
    depth = float(rng.uniform(4, deepest))
    return Border(fill, **{side: depth})  # type: ignore[arg-type]
