"""Labels of region maps made by hand: each rule of the table, on a face that is plain otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.schema import CELEBA, MISSING
from far_keras.synthetic.labels import (
    VISIBLE,
    hair_color_labels,
    hidden_attributes,
    negative_labels,
    visible_labels,
)
from far_keras.synthetic.parameters import (
    Accessories,
    Beard,
    Camera,
    Expression,
    Face,
    Finish,
    Hair,
    Light,
    Makeup,
    Person,
    Shot,
)
from far_keras.synthetic.people.appearance import lip_color, skin_tone

BROWN = (0.08, 0.04, 0.02)
FACE = Face(
    masculinity=0.0,
    ancestry=(1.0, 0.0, 0.0),
    weight=0.4,
    nose_size=0.0,
    nose_point=0.0,
    lip_volume=0.0,
    eye_opening=0.0,
    cheekbones=-0.5,
    cheek_volume=0.0,
    eye_bags=0.0,
    double_chin=0.0,
    oval=0.0,
    outline="square",
    variation_seed=0,
)
HAIR = Hair(
    style="long",
    color=BROWN,
    wave=0.0,
    receding=0.0,
    bangs=0.0,
    parting=0.0,
    volume=0.5,
    sideburns=0.0,
    brow_thickness=0.4,
    brow_arch=0.2,
    brow_color=BROWN,
)
PERSON = Person(
    identity=1,
    male=False,
    age=25.0,
    face=FACE,
    melanin=0.3,
    skin_redness=0.4,
    freckles=0.0,
    iris_color=BROWN,
    hair=HAIR,
    beard=Beard(),
)
PIXELS = {
    Region.SKIN: 9000,
    Region.HAIR: 8000,
    Region.BROW: 200,
    Region.LIPS: 400,
    Region.EYE: 250,
    Region.NECK: 900,
    Region.NOSE: 700,
}


def region_map(**changed: int) -> np.ndarray:
    """A region map with so many pixels of each region; where they are plays no part."""
    counts = dict(PIXELS) | {Region[name]: count for name, count in changed.items()}
    regions = np.zeros(218 * 178, np.uint8)
    filled = np.repeat(list(counts), list(counts.values()))
    regions[: len(filled)] = filled
    return regions.reshape(218, 178)


def label(person=PERSON, shot=None, **pixels):
    labels = visible_labels(person, shot or Shot(seed=0), region_map(**pixels))
    assert labels.shape == (40,) and labels.dtype == np.int8
    return dict(zip(CELEBA.attributes, labels.tolist(), strict=True))


def with_hair(**changes):
    return replace(PERSON, hair=replace(HAIR, **changes))


def with_beard(**changes):
    return replace(PERSON, male=True, beard=Beard(**changes))


def test_a_plain_face():
    yes = {name for name, value in label().items() if value == 1}
    assert yes == {"Brown_Hair", "No_Beard", "Straight_Hair", "Young"}
    assert {name for name, value in label().items() if value == MISSING} == {"Attractive"}


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("Wearing_Earrings", "EARRING"),
        ("Wearing_Necklace", "NECKLACE"),
        ("Wearing_Necktie", "NECKTIE"),
        ("Eyeglasses", "GLASSES"),
        ("Wearing_Hat", "HAT"),
    ],
)
def test_what_is_worn_counts_by_its_pixels(name, region):
    shot = Shot(
        seed=0,
        accessories=Accessories(
            glasses="round",
            hat="cap",
            earrings="hoop",
            necklace="chain",
            clothing="suit",
            necktie=True,
        ),
    )
    assert label(shot=shot)[name] == 0  # worn, but hidden
    assert label(shot=shot, **{region: 1})[name] == MISSING
    assert label(shot=shot, **{region: VISIBLE[name]})[name] == 1


def test_mouth_is_open_when_its_inside_shows():
    name, least = "Mouth_Slightly_Open", VISIBLE["Mouth_Slightly_Open"]
    opened = Shot(seed=0, expression=Expression(jaw_open=0.5))
    assert label(shot=opened)[name] == 0
    assert label(MOUTH_INSIDE=least // 3)[name] == 0
    assert label(MOUTH_INSIDE=least // 2)[name] == MISSING
    assert label(MOUTH_INSIDE=least)[name] == 1


def test_hair_under_a_hat():
    covered = label(HAIR=30, HAT=4000)
    for name in ("Bald", "Bangs", "Receding_Hairline", "Brown_Hair", "Straight_Hair"):
        assert covered[name] == MISSING, name
    below = label(HAIR=3000, HAT=4000)
    assert (below["Bald"], below["Brown_Hair"], below["Straight_Hair"]) == (0, 1, 1)
    assert below["Bangs"] == below["Receding_Hairline"] == MISSING


def test_a_bald_head_has_no_hair_colour_and_a_hat_hides_it():
    bald = label(with_hair(style="bald"), HAIR=0)
    assert bald["Bald"] == 1
    for name in ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair", "Bangs", "Wavy_Hair"):
        assert bald[name] == 0, name
    assert bald["Receding_Hairline"] == MISSING
    assert label(with_hair(style="bald"), HAIR=0, HAT=4000)["Bald"] == MISSING


def test_texture():
    wavy = label(with_hair(wave=0.6))
    assert (wavy["Wavy_Hair"], wavy["Straight_Hair"]) == (1, 0)
    for person in (with_hair(style="buzzed"), with_hair(style="bun"), with_hair(wave=0.2)):
        doubtful = label(person)
        assert doubtful["Wavy_Hair"] == doubtful["Straight_Hair"] == MISSING


def test_bangs_hide_a_receding_hairline():
    assert label(with_hair(receding=1.0))["Receding_Hairline"] == 1
    hidden = label(with_hair(receding=1.0, bangs=1.0))
    assert (hidden["Bangs"], hidden["Receding_Hairline"]) == (1, 0)


def test_sideburns_under_long_hair_are_missing():
    assert label(with_hair(sideburns=0.9))["Sideburns"] == MISSING
    assert label(with_hair(sideburns=0.9, style="short"))["Sideburns"] == 1


@pytest.mark.parametrize(
    ("beard", "expected"),
    [
        ({}, (0, 0, 0, 1)),
        ({"shadow": 0.8}, (1, 0, 0, 0)),
        ({"mustache": 0.8}, (0, 1, 0, 0)),
        ({"goatee": 0.8, "mustache": 0.8}, (0, 1, 1, 0)),
        ({"goatee": 0.3}, (0, 0, MISSING, MISSING)),
        ({"cheeks": 0.9, "goatee": 0.9, "mustache": 0.9}, (0, 1, MISSING, 0)),
    ],
)
def test_kinds_of_beard_never_contradict_each_other(beard, expected):
    labels = label(with_beard(**beard))
    names = ("5_o_Clock_Shadow", "Mustache", "Goatee", "No_Beard")
    assert tuple(labels[name] for name in names) == expected


def test_sunglasses_hide_the_eyes():
    shot = Shot(seed=0, accessories=Accessories(glasses="square", lenses="dark"))
    labels = label(shot=shot, GLASSES=2000)
    assert labels["Eyeglasses"] == 1
    assert labels["Narrow_Eyes"] == labels["Bags_Under_Eyes"] == MISSING


def test_a_full_beard_hides_the_chin_and_few_pixels_hide_brows_and_lips():
    bearded = label(with_beard(cheeks=1.0))
    assert bearded["Double_Chin"] == bearded["Oval_Face"] == MISSING
    assert label(BROW=5)["Bushy_Eyebrows"] == MISSING
    assert label(LIPS=5)["Smiling"] == MISSING


def test_a_smile_lifts_the_cheekbones():
    smiling = Shot(seed=0, expression=Expression(smile=1.0))
    person = replace(PERSON, face=replace(FACE, cheekbones=0.2))
    assert label(person)["High_Cheekbones"] == 0
    assert label(person, smiling)["High_Cheekbones"] == 1


def test_strengths_of_the_shot():
    shot = Shot(
        seed=0,
        makeup=Makeup(lipstick=0.9, eyeshadow=0.9, blush=0.9),
        camera=Camera(blur=2.0),
    )
    labels = label(shot=shot)
    for name in ("Wearing_Lipstick", "Heavy_Makeup", "Rosy_Cheeks", "Blurry"):
        assert labels[name] == 1, name


def test_a_lipstick_like_the_bare_lips_cannot_be_seen():
    bare = tuple(lip_color(skin_tone(PERSON.melanin, PERSON.skin_redness), PERSON.skin.lip_depth))
    for color, expected in ((bare, MISSING), ((0.4, 0.01, 0.03), 1)):
        shot = Shot(seed=0, makeup=Makeup(lipstick=0.9, lipstick_color=color))
        assert label(shot=shot)["Wearing_Lipstick"] == expected


def test_hair_colours_between_two_names_are_missing():
    def named(red, green, blue):
        color = tuple((channel / 255) ** 2.2 for channel in (red, green, blue))
        return {name for name, value in hair_color_labels(color).items() if value == 1}

    assert named(30, 27, 25) == {"Black_Hair"}
    assert named(95, 65, 44) == {"Brown_Hair"}
    assert named(210, 175, 120) == {"Blond_Hair"}
    assert named(170, 168, 166) == {"Gray_Hair"}
    assert named(57, 42, 34) == set()
    assert named(150, 112, 74) == set()
    assert named(200, 60, 120) == named(70, 90, 170) == set()  # dyed


def test_dyed_tips_leave_only_the_names_that_roots_and_tips_share():
    faded = label(with_hair(tips=(0.5, 0.33, 0.15)))
    assert faded["Brown_Hair"] == faded["Blond_Hair"] == MISSING
    assert faded["Black_Hair"] == faded["Gray_Hair"] == 0
    assert label(with_hair(tips=BROWN))["Brown_Hair"] == 1


def test_thin_hair_leaves_the_hairline_in_doubt_but_a_high_forehead_does_not():
    assert label(with_hair(thinning=0.9))["Receding_Hairline"] == MISSING
    assert label(with_hair(hairline=1.0))["Receding_Hairline"] == 0


def test_a_negative_has_no_label():
    assert (negative_labels() == MISSING).all()
    assert negative_labels().shape == (40,)


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
