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

from far_keras.synthetic.parameters import (
    RGB,
    Face,
    Person,
    Shot,
)
from far_keras.synthetic.people import palette
from far_keras.synthetic.people.countenance import draw_expression, draw_makeup, draw_skin
from far_keras.synthetic.people.grooming import HAIR_COLOR_NAMES, draw_beard, draw_hair
from far_keras.synthetic.people.margins import DOUBTFUL, MARGINS
from far_keras.synthetic.people.staging import draw_staging
from far_keras.synthetic.people.table import AGE_BANDS, HAIR_COLORS, MALE, RULES
from far_keras.synthetic.people.wardrobe import draw_accessories

__all__ = ["HAIR_COLOR_NAMES", "draw_ancestry_and_color", "draw_person", "draw_shot"]

COLOR_NAMES = ("Black_Hair", "Brown_Hair", "Blond_Hair", "auburn")
DYED = (0.03, 0.005)  # pink, blue, violet or green hair among women, men
SKIN_OF_SEX = (-0.04, 0.03)  # women are lighter than men of their ancestry
ANCESTRIES = ("caucasian", "african", "asian")
ANCESTRY_SHARES = (0.5, 0.25, 0.25)  # our choice: no group is rare

# Within what counts as a no, women and men differ: fuller lips, wider eyes, thinner brows, a
# smaller nose.
TYPICAL = {
    "Big_Lips": ((-0.3, 0.2), (-0.8, 0.0)),
    "Big_Nose": ((-1.0, -0.3), (-0.5, 0.2)),
    "Arched_Eyebrows": ((0.1, 0.3), (0.0, 0.2)),
    "Bushy_Eyebrows": ((0.1, 0.38), (0.28, 0.5)),
    "Narrow_Eyes": ((0.1, 0.6), (-0.2, 0.35)),
}

_PERCENT = {rule.name: list(rule.percent) for rule in RULES}


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
    named = any(force.get(name) == 0 for name in HAIR_COLOR_NAMES)
    if not named and rng.random() < DYED[drawn["Male"]]:
        return "dyed"
    return COLOR_NAMES[int(rng.choice(4, p=shares * allowed / (shares * allowed).sum()))]


def draw_person(
    rng: np.random.Generator, identity: int, drawn: Mapping[str, Any], sure: frozenset[str]
) -> Person:
    """The person who has the attributes `drawn`; those in `sure` are never doubtful."""

    def strength(name: str) -> float:
        margin = MARGINS[name]
        if name in TYPICAL:
            margin = replace(margin, no=TYPICAL[name][male])
        return margin.draw(rng, bool(drawn[name]), _doubt(name, drawn, sure))

    male = bool(drawn["Male"])
    age = _draw_age(rng, drawn, sure)
    ancestry: RGB = drawn["ancestry"]
    melanin = float(np.dot(ancestry, (0.24, 0.70, 0.40)) + SKIN_OF_SEX[male] + rng.normal(0, 0.09))
    melanin = float(np.clip(melanin, 0.12, 1))
    if drawn["Pale_Skin"]:
        melanin = MARGINS["Pale_Skin"].draw(rng, True)
    outlines = ("square", "round", "rectangular", "diamond", "triangular")
    outline = "oval" if drawn["Oval_Face"] else str(rng.choice(outlines))
    high = drawn["High_Cheekbones"]
    face = Face(
        masculinity=float(np.clip(rng.normal(0.97 if male else 0.03, 0.05), 0, 1)),
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
    hair = draw_hair(rng, drawn, sure, strength, age)
    return Person(
        identity=identity,
        male=male,
        age=age,
        face=face,
        melanin=melanin,
        skin_redness=float(np.clip(rng.normal(0.45, 0.2), 0, 1)),
        freckles=float(rng.uniform(0.3, 1)) if melanin < 0.3 and rng.random() < 0.15 else 0.0,
        iris_color=palette.iris_color(rng, melanin, drawn["hair_color"]),
        hair=hair,
        beard=draw_beard(rng, drawn, strength, hair.color),
        skin=draw_skin(rng, male),
    )


def draw_shot(
    rng: np.random.Generator, person: Person, drawn: Mapping[str, Any], sure: frozenset[str]
) -> Shot:
    """One image of `person` with the attributes `drawn`."""

    def strength(name: str) -> float:
        return MARGINS[name].draw(rng, bool(drawn[name]), _doubt(name, drawn, sure))

    smile = strength("Smiling")
    expression = draw_expression(rng, smile, bool(drawn["Mouth_Slightly_Open"]), sure)
    makeup = draw_makeup(rng, person, drawn, strength)
    staging = draw_staging(rng, strength("Blurry"), sure)
    return Shot(
        seed=int(rng.integers(2**31)),
        expression=expression,
        makeup=makeup,
        accessories=draw_accessories(rng, drawn, sure),
        light=staging.light,
        camera=staging.camera,
        finish=staging.finish,
        background=staging.background,
        occluder=staging.occluder,
        border=staging.border,
    )


def _doubt(name: str, drawn: Mapping[str, Any], sure: frozenset[str]) -> float:
    """How probably a strength is doubtful: never where forced, nor on men a trace of lipstick."""
    columns = slice(3, 6) if drawn["Male"] else slice(0, 3)
    unheard_of = name in _PERCENT and all(percent < 2 for percent in _PERCENT[name][columns])
    return 0.0 if name in sure or unheard_of else DOUBTFUL


def _draw_age(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> float:
    if "Young" not in sure and rng.random() < DOUBTFUL:
        return float(rng.uniform(39, 47))
    bounds = [18.0, *(upper for upper, _, _ in AGE_BANDS.values())]
    band = list(AGE_BANDS).index(drawn["age_band"])
    low, high = bounds[band], bounds[band + 1]
    if drawn["Young"]:
        return float(rng.uniform(low, MARGINS["Young"].yes[1]))
    return float(rng.uniform(max(low, MARGINS["Young"].no[0]), high))
