"""Labels of a rendered image: an attribute that its pixels do not show is missing.

A label is 1 or 0 only if someone who sees the image could tell. Strengths between the ranges
of `margins` are missing for every attribute. Beyond that:

| attribute | rule, by the region map of the final 178x218 image |
|---|---|
| Attractive | always missing: it has no cause that could be rendered |
| Wearing_Earrings, Wearing_Necklace, Wearing_Necktie, Eyeglasses, Wearing_Hat | 1 from so many \
pixels of it upwards (`VISIBLE`), missing for fewer, 0 for none: what hair, clothing or the \
frame hides is not there |
| Wearing_Hat | missing under a hood or a headscarf |
| Mouth_Slightly_Open | 1 from `VISIBLE` pixels of the inside of the mouth, missing from 40% \
of them |
| Bald, Bangs, Receding_Hairline | missing under a hat; Bald is 0 if hair shows below it; bangs \
hide a receding hairline (0); Receding_Hairline is missing for a bald head and for thin hair |
| Black_, Blond_, Brown_, Gray_Hair | by the hair's colour in HSV, missing between two names; all \
0 for a bald head; missing if fewer than `VISIBLE` hair pixels show, and where dyed tips have \
another name |
| Straight_Hair, Wavy_Hair | never both; both 0 for a bald head; missing for buzzed hair, \
in a bun, ponytail or updo, for an afro, and if too little hair shows |
| Sideburns | missing if long or medium hair falls over the temples; 0 where none grow |
| Mustache, Goatee, 5_o_Clock_Shadow | by strength; in a full beard the goatee is missing, the \
mustache 1, the shadow 0 |
| No_Beard | 0 if any of the three or a full beard is a yes, 1 if all are a no, else missing |
| Double_Chin, Oval_Face | missing under a full beard; Double_Chin under a turtleneck |
| High_Cheekbones | the bones plus what a smile lifts |
| Narrow_Eyes, Bags_Under_Eyes | missing behind sunglasses; Narrow_Eyes for closed, \
lowered or squinting eyes |
| Arched_Eyebrows, Bushy_Eyebrows | missing if fewer than `VISIBLE` brow pixels show |
| Heavy_Makeup | by the eyes' makeup, missing behind sunglasses |
| Big_Lips, Wearing_Lipstick, Smiling | missing if fewer than `VISIBLE` lip pixels show |
| Wearing_Lipstick | missing for a nude one: nearer to the bare lips than `NUDE` |
| all of a part of the face | missing if an occluder or the photograph's edge covers a fifth of \
the part (`AREAS`) |
| hair's colours, Rosy_Cheeks, Pale_Skin, Wearing_Lipstick | missing in the dark, under coloured \
light and in black and white (Black_Hair only in the dark) |
| Blurry | by the spread of focus, motion and too few pixels together |
"""

from __future__ import annotations

import colorsys

import numpy as np

from far_keras.faces.region_map import Region
from far_keras.schema import CELEBA, MISSING
from far_keras.synthetic.parameters import RGB, Person, Shot
from far_keras.synthetic.people.appearance import lip_color, skin_tone
from far_keras.synthetic.people.attributes import MARGINS
from far_keras.synthetic.people.staging import NORMAL_LEVEL, color_cast, face_level

__all__ = [
    "MOST_CAST",
    "VISIBLE",
    "hair_color_labels",
    "hidden_attributes",
    "negative_labels",
    "visible_labels",
]

VISIBLE = {
    # pixels of 178x218 from which something can be seen
    "Wearing_Earrings": 6,
    "Wearing_Necklace": 15,
    "Wearing_Necktie": 40,
    "Eyeglasses": 40,
    "Wearing_Hat": 250,
    "Mouth_Slightly_Open": 30,
    "hair": 250,
    "texture": 700,
    "brows": 50,
    "lips": 60,
}
NUDE = 0.09
"""Distance in sRGB, of channels in [0, 1], from which a lipstick differs from the bare lips."""
SMILE_LIFTS_CHEEKS = 0.7
"""What a full smile adds to the strength of the cheekbones."""

_WORN = {
    "Wearing_Earrings": Region.EARRING,
    "Wearing_Necklace": Region.NECKLACE,
    "Wearing_Necktie": Region.NECKTIE,
    "Eyeglasses": Region.GLASSES,
    "Wearing_Hat": Region.HAT,
}
_NO_HATS = ("hood", "headscarf")  # some call them hats
_TEXTURELESS = ("buzzed", "bun", "ponytail", "updo", "afro")
_THIN = 0.5  # thinning from which a forehead looks higher than it is
_FULL_BEARD = 0.5  # strength on the cheeks

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


def visible_labels(person: Person, shot: Shot, regions: np.ndarray) -> np.ndarray:
    """The labels of one image; the module's table has the rules.

    Args:
        person: Who is in it.
        shot: How they were rendered.
        regions: (218, 178) uint8, the region ids that the renderer wrote.

    Returns:
        (40,) int8 in CelebA's order: 1 yes, 0 no, -1 missing.
    """
    pixels = np.bincount(regions.ravel(), minlength=len(Region))
    labels = dict.fromkeys(CELEBA.attributes, MISSING)
    labels |= {
        name: MARGINS[name].label(strength) for name, strength in _strengths(person, shot).items()
    }
    labels["Male"] = int(person.male)
    for name, region in _WORN.items():
        labels[name] = _seen(int(pixels[region]), VISIBLE[name])
    mouth = int(pixels[Region.MOUTH_INSIDE])
    least = VISIBLE["Mouth_Slightly_Open"]
    labels["Mouth_Slightly_Open"] = _seen(mouth if mouth >= 0.4 * least else 0, least)
    labels |= _hair(person, labels, pixels)
    labels |= _beard(person, labels)
    if shot.accessories.hat in _NO_HATS and labels["Wearing_Hat"] == 1:
        labels["Wearing_Hat"] = MISSING
    _hide(person, shot, regions, pixels, labels)
    return np.array([labels[name] for name in CELEBA.attributes], np.int8)


def negative_labels() -> np.ndarray:
    """(40,) int8: every label of an image without a face is missing."""
    return np.full(CELEBA.num_attributes, MISSING, np.int8)


def hair_color_labels(color: RGB) -> dict[str, int]:
    """Black_, Brown_, Blond_ and Gray_Hair of a colour in linear RGB.

    Between two of the names both are missing; auburn is none of them.
    """
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel ** (1 / 2.2) for channel in color))
    labels = dict.fromkeys(("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair"), 0)
    if value < 0.20:
        labels["Black_Hair"] = 1
    elif value < 0.25:
        labels["Black_Hair"] = labels["Brown_Hair"] = MISSING
    elif saturation > 0.3 and 75 / 360 < hue < 345 / 360:
        pass  # dyed blue, green, violet or pink
    elif saturation < 0.15:
        labels["Gray_Hair"] = 1
    elif saturation < 0.25:
        labels["Gray_Hair"] = labels["Brown_Hair"] = labels["Blond_Hair"] = MISSING
    elif saturation > 0.68 and hue < 18 / 360:  # auburn; some call it brown
        labels["Brown_Hair"] = MISSING
    elif value < 0.52:
        labels["Brown_Hair"] = 1
    elif value < 0.65:
        labels["Brown_Hair"] = labels["Blond_Hair"] = MISSING
    else:
        labels["Blond_Hair"] = 1
    return labels


def _strengths(person: Person, shot: Shot) -> dict[str, float]:
    face, hair, expression = person.face, person.hair, shot.expression
    return {
        "5_o_Clock_Shadow": person.beard.shadow,
        "Arched_Eyebrows": hair.brow_arch,
        "Bags_Under_Eyes": face.eye_bags,
        "Bangs": hair.bangs,
        "Big_Lips": face.lip_volume,
        "Big_Nose": face.nose_size,
        "Blurry": shot.camera.spread,
        "Bushy_Eyebrows": hair.brow_thickness,
        "Chubby": face.weight,
        "Double_Chin": face.double_chin,
        "Goatee": person.beard.goatee,
        "Heavy_Makeup": shot.makeup.eyeshadow,
        "High_Cheekbones": face.cheekbones + SMILE_LIFTS_CHEEKS * expression.smile,
        "Mustache": person.beard.mustache,
        "Narrow_Eyes": face.eye_opening,
        "Oval_Face": face.oval,
        "Pale_Skin": person.melanin,
        "Pointy_Nose": face.nose_point,
        "Receding_Hairline": hair.receding,
        "Rosy_Cheeks": shot.makeup.blush,
        "Sideburns": hair.sideburns,
        "Smiling": expression.smile,
        "Wavy_Hair": hair.wave,
        "Wearing_Lipstick": shot.makeup.lipstick,
        "Young": person.age,
    }


def _hair(person: Person, labels: dict[str, int], pixels: np.ndarray) -> dict[str, int]:
    """Labels of hair: its colour, texture, where it grows."""
    style, visible = person.hair.style, int(pixels[Region.HAIR])
    colors = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair")
    hat = labels["Wearing_Hat"] != 0
    if style == "bald":
        if hat:
            unknown = (*colors, "Straight_Hair", "Wavy_Hair", "Bald", "Bangs", "Receding_Hairline")
            return dict.fromkeys(unknown, MISSING)
        none = dict.fromkeys((*colors, "Straight_Hair", "Wavy_Hair", "Bangs"), 0)
        return none | {"Bald": 1, "Receding_Hairline": MISSING}
    found = {"Bald": MISSING if hat and visible < VISIBLE["hair"] else 0}
    if visible < VISIBLE["hair"]:
        found |= dict.fromkeys(colors, MISSING)
    else:
        found |= hair_color_labels(person.hair.color)
        if person.hair.tips is not None:
            ends = hair_color_labels(person.hair.tips)
            found |= {name: MISSING for name in colors if found[name] != ends[name]}
    texture = style not in _TEXTURELESS and visible >= VISIBLE["texture"]
    found["Wavy_Hair"] = labels["Wavy_Hair"] if texture else MISSING
    known = found["Wavy_Hair"] != MISSING
    found["Straight_Hair"] = 1 - found["Wavy_Hair"] if known else MISSING
    if hat:
        found |= {"Bangs": MISSING, "Receding_Hairline": MISSING}
    elif labels["Bangs"] == 1:
        found["Receding_Hairline"] = 0
    elif person.hair.thinning > _THIN and labels["Receding_Hairline"] == 0:
        found["Receding_Hairline"] = MISSING
    if style in ("long", "medium") and labels["Sideburns"] != 0:
        found["Sideburns"] = MISSING
    return found


def _beard(person: Person, labels: dict[str, int]) -> dict[str, int]:
    """Labels of facial hair, which do not contradict each other."""
    kinds = ("5_o_Clock_Shadow", "Mustache", "Goatee")
    if person.beard.cheeks >= _FULL_BEARD:
        return {"5_o_Clock_Shadow": 0, "Mustache": 1, "Goatee": MISSING, "No_Beard": 0}
    found = {name: labels[name] for name in kinds}
    if any(label == 1 for label in found.values()):
        return found | {"No_Beard": 0}
    return found | {"No_Beard": 1 if all(label == 0 for label in found.values()) else MISSING}


def _hide(
    person: Person,
    shot: Shot,
    regions: np.ndarray,
    pixels: np.ndarray,
    labels: dict[str, int],
) -> None:
    """Takes away the labels of what something covers."""
    accessories = shot.accessories
    hidden: list[str] = []
    if accessories.sunglasses and labels["Eyeglasses"] != 0:
        hidden += ["Narrow_Eyes", "Bags_Under_Eyes", "Heavy_Makeup"]
    if shot.expression.blink + shot.expression.squint > 0.4 or shot.expression.gaze[1] < -12:
        hidden += ["Narrow_Eyes"]
    if labels["Wearing_Lipstick"] == 1 and _is_nude(person, shot):
        hidden += ["Wearing_Lipstick"]
    if person.beard.cheeks >= _FULL_BEARD:
        hidden += ["Double_Chin", "Oval_Face"]
    if accessories.clothing == "turtleneck":
        hidden += ["Double_Chin"]
    if pixels[Region.BROW] < VISIBLE["brows"]:
        hidden += ["Arched_Eyebrows", "Bushy_Eyebrows"]
    if pixels[Region.LIPS] < VISIBLE["lips"]:
        hidden += ["Big_Lips", "Wearing_Lipstick", "Smiling"]
    hidden += hidden_attributes(shot, regions)
    labels |= dict.fromkeys(hidden, MISSING)


def _is_nude(person: Person, shot: Shot) -> bool:
    tone = skin_tone(person.melanin, person.skin_redness)
    bare = np.clip(lip_color(tone, person.skin.lip_depth), 0, 1) ** (1 / 2.2)
    painted = np.array(shot.makeup.lipstick_color) ** (1 / 2.2)
    return bool(np.linalg.norm(painted - bare) < NUDE)


def _seen(pixels: int, least: int) -> int:
    """1 from `least` pixels upwards, 0 for none, missing between."""
    if pixels >= least:
        return 1
    return MISSING if pixels else 0


def hidden_attributes(shot: Shot, regions: np.ndarray) -> set[str]:
    """The attributes that cannot be seen in the image, whatever the person has.

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
