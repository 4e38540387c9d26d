"""People and shots made by hand, so that one trait can be changed at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from far_keras.synthetic.parameters import Accessories, Beard, Camera, Face, Hair, Person, Shot
from far_keras.synthetic.renderer import Rendering, render


def _person(male: bool = False, seed: int = 5, beard: Beard | None = None, **hair) -> Person:
    face = Face(
        masculinity=0.95 if male else 0.05,
        ancestry=(0.6, 0.2, 0.2),
        weight=0.4,
        nose_size=0.0,
        nose_point=0.0,
        lip_volume=0.0,
        eye_opening=0.0,
        cheekbones=0.0,
        cheek_volume=0.0,
        eye_bags=0.0,
        double_chin=0.0,
        oval=0.0,
        outline="oval",
        variation_seed=seed,
    )
    plain = Hair(
        style="short",
        color=(0.06, 0.03, 0.015),
        wave=0.02,
        receding=0.0,
        bangs=0.0,
        parting=0.3,
        volume=0.4,
        sideburns=0.0,
        brow_thickness=0.4,
        brow_arch=0.2,
        brow_color=(0.03, 0.015, 0.01),
    )
    return Person(
        identity=1,
        male=male,
        age=28,
        face=face,
        melanin=0.25,
        skin_redness=0.4,
        freckles=0.0,
        iris_color=(0.1, 0.06, 0.03),
        hair=replace(plain, **hair),
        beard=beard or Beard(),
    )


def _shot(seed: int = 3, yaw: float = 0.0, **accessories) -> Shot:
    return Shot(seed=seed, accessories=Accessories(**accessories), camera=Camera(yaw=yaw))


@pytest.fixture
def make_person() -> Callable[..., Person]:
    """A young woman with short brown hair by default."""
    return _person


@pytest.fixture
def make_shot() -> Callable[..., Shot]:
    """A frontal, relaxed shot; keywords are what is worn."""
    return _shot


@pytest.fixture(scope="session")
def rendered() -> Callable[[Person, Shot], Rendering]:
    """Renders each pair of person and shot once for all tests, read-only."""

    @cache
    def once(person: Person, shot: Shot) -> Rendering:
        rendering = render(person, shot)
        rendering.image.flags.writeable = rendering.regions.flags.writeable = False
        return rendering

    return once


@pytest.fixture
def regions_of(rendered) -> Callable[[Person, Shot], np.ndarray]:
    """The region map (218, 178) of a person in a shot."""
    return lambda person, shot: rendered(person, shot).regions
