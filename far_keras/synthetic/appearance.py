"""From attributes to the numbers that are rendered: how strong, which colour, from where.

Every strength that an attribute names comes from its range in `margins`; a small share
(`DOUBTFUL`) is drawn between the ranges, where no label is due. Forced attributes never are, and
nothing is put on that would hide them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from far_keras.synthetic.margins import MARGINS
from far_keras.synthetic.parameters import (
    RGB,
    Accessories,
    Beard,
    Camera,
    Expression,
    Face,
    Hair,
    Light,
    Makeup,
    Person,
    Shot,
)
from far_keras.synthetic.population_table import AGE_BANDS, HAIR_COLORS, HAIR_STYLES, MALE

__all__ = ["DOUBTFUL", "HAIR_COLOR_NAMES", "draw_ancestry_and_color", "draw_person", "draw_shot"]

DOUBTFUL = 0.04
"""Share of strengths that are neither yes nor no; our choice."""

HAIR_COLOR_NAMES = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair")
COLOR_NAMES = ("Black_Hair", "Brown_Hair", "Blond_Hair", "auburn")
ANCESTRIES = ("caucasian", "african", "asian")
ANCESTRY_SHARES = (0.5, 0.25, 0.25)  # our choice: no group is rare

# sRGB, 0 .. 255, darkest and lightest hair of a name; a person's lies on the line between.
HAIR_TONES = {
    "Black_Hair": ((22, 19, 18), (42, 36, 34)),
    "Brown_Hair": ((70, 46, 32), (122, 84, 56)),
    "Blond_Hair": ((176, 138, 90), (226, 196, 146)),
    "auburn": ((110, 48, 28), (158, 76, 42)),
    "Gray_Hair": ((122, 120, 119), (216, 214, 212)),
}
# Tones that two people would name differently: the darker of the two names, and the tone.
DOUBTFUL_TONES = {
    "Black_Hair": (57, 42, 34),
    "Brown_Hair": (150, 112, 74),
    "Gray_Hair": (114, 101, 92),
}
# Within what counts as a no, women and men differ: fuller lips, wider eyes, thinner brows.
TYPICAL = {
    "Big_Lips": ((-0.3, 0.2), (-0.8, 0.0)),
    "Big_Nose": ((-0.8, 0.0), (-0.5, 0.2)),
    "Bushy_Eyebrows": ((0.1, 0.38), (0.28, 0.5)),
    "Narrow_Eyes": ((0.1, 0.6), (-0.2, 0.35)),
}
LIPSTICKS = ((170, 20, 40), (140, 25, 50), (205, 75, 95), (120, 25, 35), (190, 60, 50))
EYESHADOWS = ((90, 58, 64), (66, 66, 104), (112, 78, 50), (70, 50, 45), (50, 80, 80))
IRISES = {
    "dark": ((46, 30, 22), (84, 56, 36)),
    "light": ((70, 104, 140), (112, 128, 92)),
}
METALS = ((212, 175, 100), (200, 200, 205), (190, 140, 110))


def draw_ancestry_and_color(
    rng: np.random.Generator, drawn: dict[str, Any], force: Mapping[str, int], independent: bool
) -> None:
    """Adds `ancestry` (three weights) and `hair_color` (a name) to the attributes `drawn`."""
    chief = int(rng.choice(3, p=ANCESTRY_SHARES))
    if drawn["Pale_Skin"] and not independent and rng.random() < 0.85:
        chief = 0
    weights = np.full(3, 0.5)
    weights[chief] = 8.0
    drawn["ancestry"] = tuple(float(weight) for weight in rng.dirichlet(weights))
    drawn["hair_color"] = _draw_hair_color(rng, drawn, force, ANCESTRIES[chief], independent)
    drawn["Gray_Hair"] = int(drawn["hair_color"] == "Gray_Hair")


def _draw_hair_color(
    rng: np.random.Generator,
    drawn: Mapping[str, Any],
    force: Mapping[str, int],
    ancestry: str,
    independent: bool,
) -> str:
    if drawn["Bald"]:
        return "bald"
    for name in HAIR_COLOR_NAMES:
        if force.get(name) == 1:
            return name
    if drawn["Gray_Hair"]:
        return "Gray_Hair"
    if independent:
        shares = np.zeros(4)
        for name, chance in zip(ANCESTRIES, ANCESTRY_SHARES, strict=True):
            women, men = HAIR_COLORS[name]["women"], HAIR_COLORS[name]["men"]
            shares += chance * ((1 - MALE) * np.array(women) + MALE * np.array(men))
    else:
        shares = np.array(HAIR_COLORS[ancestry]["men" if drawn["Male"] else "women"])
    allowed = np.array([force.get(name) != 0 for name in COLOR_NAMES])
    if "Brown_Hair" in force:  # auburn may pass for brown
        allowed[COLOR_NAMES.index("auburn")] = False
    return COLOR_NAMES[int(rng.choice(4, p=shares * allowed / (shares * allowed).sum()))]


def draw_person(
    rng: np.random.Generator, identity: int, drawn: Mapping[str, Any], sure: frozenset[str]
) -> Person:
    """The person who has the attributes `drawn`; those in `sure` are never doubtful."""

    def strength(name: str) -> float:
        margin = MARGINS[name]
        if name in TYPICAL:
            margin = replace(margin, no=TYPICAL[name][male])
        return margin.draw(rng, bool(drawn[name]), 0.0 if name in sure else DOUBTFUL)

    male = bool(drawn["Male"])
    age = _draw_age(rng, drawn, sure)
    ancestry: RGB = drawn["ancestry"]
    hair_color = _hair_color(rng, drawn["hair_color"], sure)
    melanin = float(np.clip(np.dot(ancestry, (0.24, 0.82, 0.40)) + rng.normal(0, 0.09), 0.12, 1))
    if drawn["Pale_Skin"]:
        melanin = MARGINS["Pale_Skin"].draw(rng, True)
    outlines = ("square", "round", "rectangular", "diamond", "triangular")
    outline = "oval" if drawn["Oval_Face"] else str(rng.choice(outlines))
    high = drawn["High_Cheekbones"]
    face = Face(
        masculinity=float(np.clip(rng.normal(0.97 if male else 0.03, 0.04), 0, 1)),
        ancestry=ancestry,
        weight=strength("Chubby"),
        nose_size=strength("Big_Nose"),
        nose_point=strength("Pointy_Nose"),
        lip_volume=strength("Big_Lips"),
        eye_opening=strength("Narrow_Eyes"),
        cheekbones=float(
            rng.uniform(0.75, 1.3)
            if high
            else rng.uniform(0.1, 0.28)
            if drawn["Cheeks_Rise"]
            else rng.uniform(-0.8, -0.4)
        ),
        cheek_volume=float(
            rng.uniform(0.4, 1.0) if drawn["Chubby"] else np.clip(rng.normal(-0.1, 0.3), -0.7, 0.4)
        ),
        eye_bags=strength("Bags_Under_Eyes"),
        double_chin=strength("Double_Chin"),
        oval=strength("Oval_Face"),
        outline=outline,  # type: ignore[arg-type]
        variation_seed=int(rng.integers(2**31)),
    )
    hair = Hair(
        style=_hair_style(rng, drawn, sure),  # type: ignore[arg-type]
        color=hair_color,
        wave=_wave(rng, drawn, sure),
        receding=strength("Receding_Hairline"),
        bangs=strength("Bangs"),
        parting=float(rng.uniform(-1, 1)),
        volume=float(np.clip(rng.normal(0.45, 0.2), 0, 1)),
        sideburns=strength("Sideburns"),
        brow_thickness=strength("Bushy_Eyebrows"),
        brow_arch=strength("Arched_Eyebrows"),
        brow_color=_brow_color(rng, drawn["hair_color"], hair_color),
    )
    return Person(
        identity=identity,
        male=male,
        age=age,
        face=face,
        melanin=melanin,
        skin_redness=float(np.clip(rng.normal(0.45, 0.2), 0, 1)),
        freckles=float(rng.uniform(0.3, 1)) if melanin < 0.3 and rng.random() < 0.15 else 0.0,
        iris_color=_iris_color(rng, melanin, drawn["hair_color"]),
        hair=hair,
        beard=_draw_beard(rng, drawn, strength, hair_color),
    )


def draw_shot(
    rng: np.random.Generator, person: Person, drawn: Mapping[str, Any], sure: frozenset[str]
) -> Shot:
    """One picture of `person` with the attributes `drawn`."""

    def strength(name: str) -> float:
        return MARGINS[name].draw(rng, bool(drawn[name]), 0.0 if name in sure else DOUBTFUL)

    smile = strength("Smiling")
    mouth_open = bool(drawn["Mouth_Slightly_Open"])
    expression = Expression(
        smile=smile,
        jaw_open=float(0.15 + 0.35 * rng.beta(1.2, 2.4)) if mouth_open else 0.0,
        brow_raise=float(np.clip(rng.normal(0.1, 0.2), -0.3, 0.6)),
        squint=float(np.clip(0.35 * smile * rng.random() + rng.uniform(0, 0.1), 0, 1)),
        blink=float(rng.uniform(0, 0.15)),
        pucker=float(rng.uniform(0.2, 0.5)) if smile < 0.1 and rng.random() < 0.05 else 0.0,
        gaze=(float(np.clip(rng.normal(0, 7), -18, 18)), float(np.clip(rng.normal(0, 4), -9, 9))),
    )
    heavy = strength("Heavy_Makeup")
    # Who wears lipstick mostly wears some mascara: that alone is no heavy makeup.
    light = rng.uniform(0.1, 0.45) if drawn["Wearing_Lipstick"] else 0.0
    makeup = Makeup(
        lipstick=strength("Wearing_Lipstick"),
        lipstick_color=_tone(rng, LIPSTICKS),
        eyeshadow=heavy,
        eyeshadow_color=_tone(rng, EYESHADOWS),
        eyeliner=float(np.clip(max(heavy * rng.uniform(0.7, 1.2), light), 0, 1)),
        blush=strength("Rosy_Cheeks"),
        foundation=float(np.clip(heavy * rng.uniform(0.6, 1.1), 0, 1)),
    )
    camera = Camera(
        yaw=_draw_yaw(rng, sure),
        pitch=float(np.clip(rng.normal(0, 5), -12, 12)),
        roll=float(np.clip(rng.normal(0, 4), -12, 12)),
        distance=float(rng.uniform(7, 14)),
        exposure=float(np.clip(rng.normal(1.0, 0.12), 0.7, 1.35)),
        white_balance=float(np.clip(rng.normal(0, 0.35), -1, 1)),
        blur=strength("Blurry"),
        noise=float(rng.uniform(0.0, 0.02)),
        jpeg_quality=int(rng.integers(80, 97)),
    )
    return Shot(
        seed=int(rng.integers(2**31)),
        expression=expression,
        makeup=makeup,
        accessories=_draw_accessories(rng, drawn, sure),
        light=_draw_light(rng),
        camera=camera,
        background=str(  # type: ignore[arg-type]
            rng.choice(
                ("studio", "gradient", "indoor", "outdoor", "bokeh"), p=(0.2, 0.2, 0.2, 0.2, 0.2)
            )
        ),
    )


def _draw_age(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> float:
    if "Young" not in sure and rng.random() < DOUBTFUL:
        return float(rng.uniform(39, 47))
    bounds = [18.0, *(upper for upper, _, _ in AGE_BANDS.values())]
    band = list(AGE_BANDS).index(drawn["age_band"])
    low, high = bounds[band], bounds[band + 1]
    if drawn["Young"]:
        return float(rng.uniform(low, MARGINS["Young"].yes[1]))
    return float(rng.uniform(max(low, MARGINS["Young"].no[0]), high))


def _hair_style(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> str:
    if drawn["Bald"]:
        return "bald"
    shares = dict(HAIR_STYLES["men" if drawn["Male"] else "women"])
    if drawn["Bangs"]:
        shares.pop("buzzed", None)
    if sure & {"Straight_Hair", "Wavy_Hair"}:
        shares.pop("buzzed", None)
    if sure & {"Wavy_Hair", "Straight_Hair"}:
        shares = {name: share for name, share in shares.items() if name not in ("bun", "ponytail")}
    if sure & {"Wearing_Earrings", "Sideburns", "Wearing_Necklace"}:
        shares = {name: shares.get(name, 0) for name in ("short", "bun", "ponytail")}
    names = list(shares)
    total = sum(shares.values())
    return names[int(rng.choice(len(names), p=[share / total for share in shares.values()]))]


def _wave(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> float:
    margin = MARGINS["Wavy_Hair"]
    if not sure & {"Straight_Hair", "Wavy_Hair"} and rng.random() < 2 * DOUBTFUL:
        return float(rng.uniform(margin.no[1], margin.yes[0]))
    if not drawn["Wavy_Hair"]:
        return margin.draw(rng, False)
    african = drawn["ancestry"][1]
    curly = rng.random() < 0.15 + 0.7 * african
    return float(rng.uniform(0.65, 1.0) if curly else rng.uniform(margin.yes[0], 0.65))


def _draw_beard(rng: np.random.Generator, drawn: Mapping[str, Any], strength, color: RGB) -> Beard:
    kinds = ("5_o_Clock_Shadow", "Mustache", "Goatee")
    if not drawn["Male"] and not any(drawn[name] for name in kinds):
        return Beard(color=color)
    full = bool(drawn["Full_Beard"])
    cheeks = float(rng.uniform(0.7, 1.0)) if full else 0.0
    return Beard(
        shadow=strength("5_o_Clock_Shadow"),
        mustache=strength("Mustache"),
        goatee=strength("Goatee"),
        cheeks=cheeks,
        length=float(rng.uniform(0.06, 0.30) if full else rng.uniform(0.04, 0.14)),
        color=tuple(float(c) for c in np.array(color) * rng.uniform(0.7, 1.0)),  # type: ignore
    )


def _draw_accessories(
    rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]
) -> Accessories:
    necktie, necklace = bool(drawn["Wearing_Necktie"]), bool(drawn["Wearing_Necklace"])
    if necktie:
        clothing = "suit" if rng.random() < 0.7 else "shirt"
    else:
        clothing = str(
            rng.choice(
                ("crew", "vneck", "shirt", "suit", "turtleneck"), p=(0.37, 0.26, 0.2, 0.1, 0.07)
            )
        )
        if sure & {"Wearing_Necklace", "Double_Chin"} and clothing == "turtleneck":
            clothing = "vneck"
    glasses = None
    if drawn["Eyeglasses"]:
        dark = rng.random() < 0.12 and not sure & {
            "Bags_Under_Eyes",
            "Narrow_Eyes",
            "Heavy_Makeup",
        }
        kinds = ("round", "rectangular", "aviator")
        glasses = "sunglasses" if dark else str(rng.choice(kinds, p=(0.35, 0.5, 0.15)))
    hats = ("cap", "beanie", "brimmed")
    return Accessories(
        glasses=glasses,  # type: ignore[arg-type]
        glasses_color=_tone(rng, ((15, 15, 18), (70, 40, 20), (120, 110, 100), (40, 20, 60))),
        hat=str(rng.choice(hats)) if drawn["Wearing_Hat"] else None,  # type: ignore[arg-type]
        hat_color=_any_color(rng),
        earrings=(
            str(rng.choice(("stud", "hoop", "drop"), p=(0.2, 0.4, 0.4)))  # type: ignore[arg-type]
            if drawn["Wearing_Earrings"]
            else None
        ),
        necklace=(
            str(rng.choice(("chain", "pendant", "beads")))  # type: ignore[arg-type]
            if necklace
            else None
        ),
        jewellery_color=_tone(rng, METALS),
        clothing=clothing,  # type: ignore[arg-type]
        necktie=necktie,
        clothing_color=_any_color(rng),
        necktie_color=_any_color(rng),
    )


def _draw_light(rng: np.random.Generator) -> Light:
    direction = np.array([rng.normal(0, 0.45), rng.uniform(0.15, 0.7), rng.uniform(0.7, 1.0)])
    direction /= np.linalg.norm(direction)
    warm = float(rng.normal(0, 0.05))
    tint = np.array([1 + warm, 1.0, 1 - warm])
    key = tint * rng.uniform(0.7, 1.05)
    fill = key * rng.uniform(0.15, 0.45)
    ambient = np.array([1 - warm / 2, 1.0, 1 + warm / 2]) * rng.uniform(0.25, 0.45)
    return Light(
        key_direction=_rgb(direction),
        key_color=_rgb(key),
        fill_color=_rgb(fill),
        ambient_color=_rgb(ambient),
        rim=float(rng.uniform(0, 0.6)) if rng.random() < 0.4 else 0.0,
    )


def _draw_yaw(rng: np.random.Generator, sure: frozenset[str]) -> float:
    # The alignment enlarges turned heads: a necktie would leave the picture.
    if rng.random() < 0.9 or sure & {"Wearing_Necktie", "Wearing_Necklace"}:
        return float(np.clip(rng.normal(0, 10), -20, 20))
    return float(rng.choice((-1, 1)) * rng.uniform(20, 45))


def _hair_color(rng: np.random.Generator, name: str, sure: frozenset[str]) -> RGB:
    if name in DOUBTFUL_TONES and not sure & set(HAIR_COLOR_NAMES) and rng.random() < DOUBTFUL:
        return _linear(np.array(DOUBTFUL_TONES[name]))
    dark, light = np.array(HAIR_TONES.get(name, HAIR_TONES["Brown_Hair"]), float)
    return _linear(dark + (light - dark) * rng.random())


def _brow_color(rng: np.random.Generator, name: str, hair: RGB) -> RGB:
    brown = np.array(_linear(np.array((72, 50, 36))))
    factor = {"Gray_Hair": 0.45, "Blond_Hair": 0.35}.get(name, 0.75)
    mixed = factor * np.array(hair)
    if name == "Blond_Hair":
        mixed = 0.5 * mixed + 0.5 * brown
    return _rgb(mixed * rng.uniform(0.85, 1.15))


def _iris_color(rng: np.random.Generator, melanin: float, hair: str) -> RGB:
    light = melanin < 0.35 and rng.random() < (0.6 if hair in ("Blond_Hair", "auburn") else 0.35)
    low, high = np.array(IRISES["light" if light else "dark"], float)
    return _linear(low + (high - low) * rng.random())


def _tone(rng: np.random.Generator, tones: tuple[tuple[int, int, int], ...]) -> RGB:
    return _linear(np.array(tones[int(rng.integers(len(tones)))]) * rng.uniform(0.85, 1.1))


def _any_color(rng: np.random.Generator) -> RGB:
    """Cloth: greys and dark colours more often than bright ones."""
    gray = rng.uniform(20, 225)
    saturation = rng.beta(1.2, 2.5)
    return _linear(gray * (1 - saturation) + saturation * rng.uniform(10, 230, size=3))


def _linear(srgb: np.ndarray) -> RGB:
    """sRGB in 0 .. 255 to linear RGB in [0, 1], by the power 2.2."""
    return _rgb(np.clip(srgb / 255, 0, 1) ** 2.2)


def _rgb(values: np.ndarray) -> RGB:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
