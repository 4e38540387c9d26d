"""What varies around a person: light, camera and background."""

from __future__ import annotations

from typing import get_args, get_type_hints

from far_keras.synthetic.parameters import Shot
from far_keras.synthetic.variety.parameter import Parameter, along

__all__ = ["STAGE"]

STAGE: tuple[Parameter, ...] = (
    along("background", "shot.background", get_args(get_type_hints(Shot)["background"])),
    along("distance", "shot.camera.distance", (4.0, 6.0, 9.0, 14.0, 25.0)),
    along("yaw", "shot.camera.yaw", (-45.0, -30.0, -15.0, 15.0, 30.0, 45.0)),
    along("exposure", "shot.camera.exposure", (0.5, 0.7, 1.0, 1.35, 1.8)),
)
