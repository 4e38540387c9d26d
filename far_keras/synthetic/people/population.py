"""Draws identities and their images; each depends on the seed and its own number only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from far_keras.errors import DatasetError
from far_keras.synthetic.parameters import RGB, Face, Person, Shot
from far_keras.synthetic.people.appearance import (
    clipped_normal,
    draw_beard,
    draw_expression,
    draw_hair,
    draw_iris_color,
    draw_makeup,
    draw_skin,
)
from far_keras.synthetic.people.attributes import (
    AGE_BANDS,
    DOUBTFUL,
    MARGINS,
    RULES,
    AttributeSampler,
    Correlations,
)
from far_keras.synthetic.people.staging import draw_staging
from far_keras.synthetic.people.wardrobe import draw_accessories

__all__ = ["Identity", "Population"]

MOST_SHOTS = 5  # images of one identity: 1 .. 5, each equally often
SKIN_OF_SEX = (-0.04, 0.03)  # women are lighter than men of their ancestry
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


def _draw_person(
    rng: np.random.Generator, number: int, drawn: Mapping[str, Any], sure: frozenset[str]
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
        masculinity=clipped_normal(rng, 0.97 if male else 0.03, 0.05, 0, 1),
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
            rng.uniform(0.4, 1.0) if drawn["Chubby"] else clipped_normal(rng, -0.1, 0.3, -0.7, 0.4)
        ),
        eye_bags=strength("Bags_Under_Eyes"),
        double_chin=strength("Double_Chin"),
        oval=strength("Oval_Face"),
        outline=outline,  # type: ignore[arg-type]
        variation_seed=int(rng.integers(2**31)),
    )
    hair = draw_hair(rng, drawn, sure, strength, age)
    return Person(
        identity=number,
        male=male,
        age=age,
        face=face,
        melanin=melanin,
        skin_redness=clipped_normal(rng, 0.45, 0.2, 0, 1),
        freckles=float(rng.uniform(0.3, 1)) if melanin < 0.3 and rng.random() < 0.15 else 0.0,
        iris_color=draw_iris_color(rng, melanin, drawn["hair_color"]),
        hair=hair,
        beard=draw_beard(rng, drawn, strength, hair.color),
        skin=draw_skin(rng, male),
    )


def _draw_shot(
    rng: np.random.Generator, person: Person, drawn: Mapping[str, Any], sure: frozenset[str]
) -> Shot:
    """One image of `person` with the attributes `drawn`."""

    def strength(name: str) -> float:
        return MARGINS[name].draw(rng, bool(drawn[name]), _doubt(name, drawn, sure))

    smile = strength("Smiling")
    expression = draw_expression(rng, smile, bool(drawn["Mouth_Slightly_Open"]), sure)
    makeup = draw_makeup(rng, person, drawn, strength)
    staging = draw_staging(rng, strength("Blurry"), sure)
    return replace(
        staging,
        seed=int(rng.integers(2**31)),
        expression=expression,
        makeup=makeup,
        accessories=draw_accessories(rng, drawn, sure),
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


@dataclass(frozen=True)
class Identity:
    """A person and their images; without a person, one image of no face."""

    number: int
    person: Person | None
    shots: tuple[Shot, ...]

    @property
    def num_images(self) -> int:
        return max(1, len(self.shots))


class Population:
    """An endless sequence of identities.

    A pure function of the arguments: an identity is the same in every process and order of calls.

    Args:
        seed: Another seed gives other people.
        force: Attributes that every image has (1) or lacks (0), such as ``{"Smiling": 1}``.
        correlations: ``"people"`` draws attributes as `RULES` says; ``"independent"`` draws each by
            its overall frequency alone; ``"reversed"`` turns the sign of the dependences in
            `REVERSED_PAIRS`, for experiments on shift.
        negatives: Share of images that show no face, 0 .. 1.
        agreements: Ties that people do not have, for experiments on shift: by attribute, another
            one and the probability that both have the same value, such as
            ``{"Smiling": ("Wavy_Hair", 0.97)}``. `RULES` must draw the other one earlier. They
            count before `correlations`, and after `force`.

    Raises:
        DatasetError: An argument is out of range, or `force` contradicts itself.

    Example:
        >>> identity = Population(seed=0, force={"Eyeglasses": 1}).identity(1)
        >>> identity.shots[0].accessories.glasses is not None
        True
    """

    def __init__(
        self,
        seed: int = 0,
        force: Mapping[str, int] | None = None,
        correlations: Correlations = "people",
        negatives: float = 0.0,
        agreements: Mapping[str, tuple[str, float]] | None = None,
    ) -> None:
        if not 0 <= negatives <= 1:
            raise DatasetError(f"negatives: expected a share in [0, 1]. Received: {negatives!r}")
        if not isinstance(seed, int) or seed < 0:
            raise DatasetError(f"seed: expected an integer of at least 0. Received: {seed!r}")
        self.seed, self.negatives, self.correlations = seed, negatives, correlations
        self.force, self.agreements = dict(force or {}), dict(agreements or {})
        self._sampler = AttributeSampler(force, correlations, agreements)
        # A negative is one image, the others have three on average.
        shots = (1 + MOST_SHOTS) / 2
        self._negative_identities = negatives * shots / (1 - negatives + negatives * shots)

    def identity(self, number: int) -> Identity:
        """Identity `number`, counted from 1."""
        rng = np.random.default_rng([self.seed, number])
        negative = rng.random() < self._negative_identities
        num_shots = int(rng.integers(1, MOST_SHOTS, endpoint=True))
        if negative:
            return Identity(number, None, ())
        sure = frozenset(self._sampler.force)
        shared = self._sampler.draw_person(rng)
        person = _draw_person(rng, number, shared, sure)
        shots = tuple(
            _draw_shot(rng, person, self._sampler.draw_shot(rng, shared), sure)
            for _ in range(num_shots)
        )
        return Identity(number, person, shots)

    def images(self, count: int) -> Iterator[tuple[Identity, int]]:
        """The first `count` images as pairs of identity and index of the shot."""
        number = 0
        while count > 0:
            number += 1
            identity = self.identity(number)
            for shot in range(min(identity.num_images, count)):
                yield identity, shot
            count -= identity.num_images
