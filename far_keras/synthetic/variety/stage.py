"""What varies around a person: light, lens, background, what is in the way, the camera's marks."""

from __future__ import annotations

from typing import Any

import numpy as np

from far_keras.synthetic.parameters import Background, Border, Camera, Finish, Occluder
from far_keras.synthetic.people.lights import LIGHT_SHARES, draw_light
from far_keras.synthetic.people.staging import BACKGROUNDS
from far_keras.synthetic.variety.parameter import Parameter, along

__all__ = ["STAGE"]


def _light(kind: str, example: int) -> dict[str, Any]:
    return {"shot.light": draw_light(np.random.default_rng(example), kind)}


KINDS = sorted({kind for shares in BACKGROUNDS.values() for kind in shares})

STAGE: tuple[Parameter, ...] = (
    Parameter("light", {f"{kind}, {n}": _light(kind, n) for kind in LIGHT_SHARES for n in (1, 2)}),
    along("distance", "shot.camera.distance", (4.5, 6.0, 9.0, 14.0, 40.0)),
    along("yaw", "shot.camera.yaw", (-45.0, -30.0, -15.0, 15.0, 30.0, 45.0)),
    Parameter(
        "pose",
        {
            "looks down": {"shot.camera.pitch": -22.0},
            "looks up": {"shot.camera.pitch": 12.0},
            "head to a side": {"shot.camera.roll": 18.0},
            "image left tilted": {"shot.camera.tilt": 2.5},
        },
    ),
    Parameter(
        "background",
        {kind: {"shot.background": Background(kind)} for kind in KINDS},  # type: ignore[arg-type]
    ),
    Parameter(
        "background_blur",
        {
            f"{blur} pixels": {"shot.background": Background("people", blur=blur)}
            for blur in (0.6, 2.0, 4.0, 7.0)
        },
    ),
    Parameter(
        "occluder",
        {
            f"{kind}, {nearness}": {"shot.occluder": Occluder(kind, side, nearness)}
            for kind in ("hand", "microphone", "head", "mask")
            for nearness, side in ((0.0, -1.0), (0.5, 1.0), (1.0, -1.0))
        },
    ),
    Parameter(
        "border",
        {
            "repeated, above": {"shot.border": Border("repeated", top=55)},
            "repeated, left": {"shot.border": Border("repeated", left=45)},
            "blank, below": {"shot.border": Border("blank", bottom=40)},
            "mirrored, right": {"shot.border": Border("mirrored", right=25)},
        },
    ),
    along("exposure", "shot.camera.exposure", (0.4, 0.7, 1.0, 1.35, 1.9)),
    along("white_balance", "shot.camera.white_balance", (-1.0, -0.5, 0.5, 1.0)),
    Parameter(
        "blur",
        {
            "out of focus, 0.7": {"shot.camera": Camera(blur=0.7)},
            "out of focus, 2.5": {"shot.camera": Camera(blur=2.5)},
            "moved, 8 pixels": {"shot.camera": Camera(motion=8, motion_angle=20)},
            "half the pixels": {"shot.camera": Camera(resolution=0.5)},
            "a fifth of the pixels": {"shot.camera": Camera(resolution=0.2)},
        },
    ),
    along("noise", "shot.camera.noise", (0.0, 0.009, 0.04)),
    Parameter(
        "finish",
        {
            "contrast 0.8": {"shot.finish": Finish(contrast=0.8)},
            "contrast 1.9": {"shot.finish": Finish(contrast=1.9)},
            "saturation 0.55": {"shot.finish": Finish(saturation=0.55)},
            "saturation 1.4": {"shot.finish": Finish(saturation=1.4)},
            "black and white": {"shot.finish": Finish(saturation=0)},
            "brown": {"shot.finish": Finish(saturation=0, toning=1.0)},
            "haze": {"shot.finish": Finish(fade=0.2)},
            "dark corners": {"shot.finish": Finish(vignette=0.7)},
            "sharpened": {"shot.finish": Finish(sharpening=0.8)},
        },
    ),
)
