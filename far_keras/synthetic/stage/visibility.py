"""Attributes that a shot hides: behind a thing, beyond the photograph's edge, in the dark."""

from __future__ import annotations

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.synthetic.parameters import Shot
from far_keras.synthetic.people.staging import NORMAL_LEVEL, color_cast, face_level

__all__ = ["MOST_CAST", "hidden_attributes"]

HIDDEN_SHARE = 0.2
"""From this share of an area that something covers, what is seen there counts as hidden."""

# Rows and columns of 178x218 where the attributes of a face show, the eyes being at row 111.
AREAS: dict[tuple[int, int, int, int], tuple[str, ...]] = {
    (35, 95, 50, 128): ("Bald", "Bangs", "Receding_Hairline"),
    (88, 104, 50, 128): ("Arched_Eyebrows", "Bushy_Eyebrows"),
    (102, 126, 52, 126): ("Narrow_Eyes", "Bags_Under_Eyes", "Heavy_Makeup"),
    (112, 142, 76, 102): ("Big_Nose", "Pointy_Nose"),
    (118, 150, 50, 76): ("Rosy_Cheeks", "High_Cheekbones"),
    (118, 150, 102, 128): ("Rosy_Cheeks", "High_Cheekbones"),
    (100, 140, 40, 60): ("Sideburns",),
    (100, 140, 118, 138): ("Sideburns",),
    (140, 165, 68, 110): (
        *("Smiling", "Mouth_Slightly_Open", "Big_Lips", "Wearing_Lipstick"),
        *("Mustache", "No_Beard", "Goatee", "5_o_Clock_Shadow"),
    ),
    (160, 185, 65, 113): (
        *("Goatee", "5_o_Clock_Shadow", "No_Beard", "Double_Chin", "Oval_Face", "Chubby"),
    ),
}
COLORED = ("Brown_Hair", "Blond_Hair", "Gray_Hair", "Rosy_Cheeks", "Pale_Skin", "Wearing_Lipstick")
DARK, BRIGHT = 0.55, 1.55  # light that reaches the image, against a normal portrait
MOST_CAST = 1.5  # ratio of the strongest to the weakest colour of the light
LEAST_SATURATION = 0.3


def hidden_attributes(shot: Shot, regions: np.ndarray) -> set[str]:
    """The attributes that nobody could tell from the image, whatever the person has.

    Args:
        shot: How they were rendered.
        regions: (218, 178) uint8 `Region` ids.
    """
    hidden: set[str] = set()
    occluded = regions == Region.OCCLUDER
    for (top, bottom, left, right), names in AREAS.items():
        if occluded[top:bottom, left:right].mean() >= HIDDEN_SHARE:
            hidden.update(names)
    brightness = shot.camera.exposure * face_level(shot.light) / NORMAL_LEVEL
    if brightness < DARK:
        hidden.update((*COLORED, "Black_Hair", "5_o_Clock_Shadow", "Bags_Under_Eyes"))
    elif brightness > BRIGHT:
        hidden.update(("Rosy_Cheeks", "Pale_Skin", "Bags_Under_Eyes", "Blond_Hair", "Gray_Hair"))
    if color_cast(shot.light) > MOST_CAST or shot.finish.saturation < LEAST_SATURATION:
        hidden.update(COLORED)
    return hidden
