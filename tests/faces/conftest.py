import functools
from dataclasses import replace

import pytest

from far_keras.faces.detector import FaceDetector
from far_keras.faces.landmarks import FaceLandmarker
from far_keras.synthetic.parameters import Accessories
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render

FORCED = {"Wearing_Hat": 0, "Eyeglasses": 0, "Blurry": 0, "Bangs": 0}


@pytest.fixture(scope="session")
def landmarker():
    with FaceLandmarker() as landmarker:
        yield landmarker


@pytest.fixture(scope="session")
def detector():
    with FaceDetector() as detector:
        yield detector


@pytest.fixture(scope="session")
def render_face():
    """Renders person number `identity` with the head turned."""
    population = Population(seed=77, force=FORCED)

    @functools.cache
    def render_turned(identity, yaw=0.0, roll=0.0, size=(218, 178)):
        subject = population.identity(identity)
        shot = subject.shots[0]
        camera = replace(shot.camera, yaw=yaw, pitch=0.0, roll=roll, blur=0.0)
        return render(subject.person, replace(shot, camera=camera, accessories=Accessories()), size)

    return render_turned
