"""What a shot hides has no label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.parameters import Camera, Finish, Light, Shot
from far_keras.synthetic.stage.visibility import hidden_attributes

PLAIN = Shot(seed=0)
OPEN = np.zeros((218, 178), np.uint8)


def covered(top, bottom, left, right):
    regions = OPEN.copy()
    regions[top:bottom, left:right] = Region.OCCLUDER
    return hidden_attributes(PLAIN, regions)


def test_a_plain_shot_hides_nothing():
    assert hidden_attributes(PLAIN, OPEN) == set()
    assert hidden_attributes(PLAIN, np.full_like(OPEN, Region.HAIR)) == set()


def test_a_covered_part_hides_what_shows_there():
    mouth = covered(140, 165, 60, 110)
    assert {"Smiling", "Mouth_Slightly_Open", "Mustache", "No_Beard"} <= mouth
    assert not mouth & {"Big_Nose", "Narrow_Eyes", "Bangs"}
    assert {"Bald", "Bangs"} <= covered(0, 60, 0, 178)
    assert covered(0, 218, 0, 30) == set()  # beside the face


def test_colours_are_hidden_in_the_dark_in_coloured_light_and_in_black_and_white():
    dark = hidden_attributes(replace(PLAIN, camera=Camera(exposure=0.4)), OPEN)
    assert {"Black_Hair", "Brown_Hair", "Rosy_Cheeks"} <= dark
    red = Light(key_color=(2, 0.4, 0.4), fill_color=(0.5, 0, 0), ambient_color=(0.4, 0.2, 0.2))
    for shot in (replace(PLAIN, light=red), replace(PLAIN, finish=Finish(saturation=0))):
        hidden = hidden_attributes(shot, OPEN)
        assert {"Blond_Hair", "Wearing_Lipstick"} <= hidden
        assert not hidden & {"Black_Hair", "Smiling", "Eyeglasses", "Male"}
