"""Draws who is in the images: attributes that go together as among people, identity by identity.

`Population` is a pure function of its seed: subject 17 is the same whoever asks, in whatever
order, on however many processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from far_keras.errors import DatasetError
from far_keras.schema import CELEBA
from far_keras.synthetic.parameters import Person, Shot
from far_keras.synthetic.people import appearance
from far_keras.synthetic.people.table import (
    AGE_BANDS,
    EXCLUSIONS,
    HIDERS,
    MALE,
    REVERSED_PAIRS,
    RULES,
    Rule,
)

__all__ = ["Correlations", "Population", "Subject", "check_force", "draw_attributes"]

Correlations = Literal["people", "independent", "reversed"]
BEARDS = ("5_o_Clock_Shadow", "Goatee", "Mustache")
MOST_SHOTS = 5  # images of one identity: 1 .. 5, each equally often

_BANDS = tuple(AGE_BANDS)
_RULES = {rule.name: rule for rule in RULES}


@dataclass(frozen=True)
class Subject:
    """One identity and its images; without a person, one image that is not to be answered."""

    identity: int
    person: Person | None
    shots: tuple[Shot, ...]

    @property
    def num_pictures(self) -> int:
        return max(1, len(self.shots))


class Population:
    """An endless sequence of subjects.

    Args:
        seed: Another seed, other people.
        force: Attributes that every image has (1) or lacks (0), such as ``{"Smiling": 1}``.
        correlations: ``"people"`` draws attributes as `population_table` says;
            ``"independent"`` draws each by its overall frequency alone; ``"reversed"`` turns the
            sign of the dependences in `REVERSED_PAIRS`, for experiments on shift.
        negatives: Share of images that are not to be answered, 0 .. 1.
        agreements: Ties that people do not have, for experiments on shift: by attribute, another
            one and the probability that both have the same value, such as
            ``{"Smiling": ("Wavy_Hair", 0.97)}``. `RULES` must draw the other one earlier. They
            count before `correlations`, and after `force`.

    Raises:
        DatasetError: An argument is out of range, or `force` contradicts itself.

    Example:
        >>> subject = Population(seed=0, force={"Eyeglasses": 1}).subject(1)
        >>> subject.shots[0].accessories.glasses is not None
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
        if correlations not in get_args(Correlations):
            raise DatasetError(
                f"correlations: expected one of {get_args(Correlations)}. "
                f"Received: {correlations!r}"
            )
        if not isinstance(seed, int) or seed < 0:
            raise DatasetError(f"seed: expected an integer of at least 0. Received: {seed!r}")
        self.seed = seed
        self.force = MappingProxyType(check_force(force))
        self.correlations: Correlations = correlations
        self.agreements = MappingProxyType(_check_agreements(agreements))
        # A negative is one image, the others have three on average.
        shots = (1 + MOST_SHOTS) / 2
        self._negatives = negatives * shots / (1 - negatives + negatives * shots)

    def subject(self, identity: int) -> Subject:
        """Subject number `identity`, counted from 1."""
        rng = np.random.default_rng([self.seed, identity])
        negative = rng.random() < self._negatives
        num_shots = int(rng.integers(1, MOST_SHOTS, endpoint=True))
        if negative:
            return Subject(identity, None, ())
        sure = frozenset(self.force)
        ties = (self.force, self.correlations, self.agreements)
        shared = _draw_shared(rng, *ties)
        person = appearance.draw_person(rng, identity, shared, sure)
        shots = tuple(
            appearance.draw_shot(rng, person, _draw_shot(rng, shared, *ties), sure)
            for _ in range(num_shots)
        )
        return Subject(identity, person, shots)

    def pictures(self, count: int) -> Iterator[tuple[Subject, int]]:
        """The first `count` images as pairs of subject and index of the shot."""
        identity = 0
        while count > 0:
            identity += 1
            subject = self.subject(identity)
            for shot in range(min(subject.num_pictures, count)):
                yield subject, shot
            count -= subject.num_pictures


def draw_attributes(
    rng: np.random.Generator,
    force: Mapping[str, int] | None = None,
    correlations: Correlations = "people",
    agreements: Mapping[str, tuple[str, float]] | None = None,
) -> dict[str, int]:
    """The attributes that one image is meant to show, before anything hides them.

    The arguments are those of `Population`.

    Returns:
        Name to 1 or 0, for all attributes but Attractive, and for those that `RULES` adds.
    """
    force = check_force(force)
    ties = (force, correlations, _check_agreements(agreements))
    shared = _draw_shared(rng, *ties)
    drawn = _draw_shot(rng, shared, *ties)
    for name in appearance.HAIR_COLOR_NAMES:
        drawn[name] = int(drawn["hair_color"] == name)
    return {name: drawn[name] for name in (*CELEBA.attributes, *_RULES) if name in drawn}


def check_force(force: Mapping[str, int] | None) -> dict[str, int]:
    """Checks forced attributes and adds what follows from them.

    Raises:
        DatasetError: An unknown attribute or value, Attractive, or two that exclude each other.
    """
    given = dict(force or {})
    for name, value in given.items():
        if name not in CELEBA.attributes:
            raise DatasetError(
                f"force: unknown attribute {name!r}; known are {', '.join(CELEBA.attributes)}"
            )
        if name == "Attractive":
            raise DatasetError(
                "force: Attractive has no cause that could be rendered; its label is always missing"
            )
        if value not in (0, 1):
            raise DatasetError(f"force: expected 0 or 1 for {name}. Received: {value!r}")
    for excluding in EXCLUSIONS:
        if len(both := sorted(name for name in excluding if given.get(name) == 1)) > 1:
            raise DatasetError(
                f"force: {' and '.join(both)} exclude each other; force only one of them to 1"
            )
    complete = {name: int(value) for name, value in given.items()}
    for excluding in EXCLUSIONS:
        if any(given.get(name) == 1 for name in excluding):
            for name in excluding:
                complete.setdefault(name, 0)
    bald = complete.get("Bald")
    if not bald and complete.get("Straight_Hair") == 0 and complete.get("Wavy_Hair") == 0:
        raise DatasetError(
            "force: Straight_Hair=0 and Wavy_Hair=0 leave only Bald; force Bald=1 instead"
        )
    if complete.get("No_Beard") == 0 and all(complete.get(name) == 0 for name in BEARDS):
        raise DatasetError(f"force: No_Beard=0 needs one of {', '.join(BEARDS)}")
    if not bald and all(complete.get(name) == 0 for name in appearance.HAIR_COLOR_NAMES):
        raise DatasetError(
            f"force: {', '.join(appearance.HAIR_COLOR_NAMES)} all 0 leave only Bald; force Bald=1 "
            "instead"
        )
    if not bald and "Straight_Hair" in complete:
        complete.setdefault("Wavy_Hair", 1 - complete["Straight_Hair"])
        complete["Bald"] = 0
    if any(name in given for name in ("No_Beard", *BEARDS)):
        # A full beard hides which of the others it consists of.
        complete["Full_Beard"] = 0
    for hider, hidden in HIDERS.items():
        if hidden & set(given):
            complete.setdefault(hider, 0)
    if "High_Cheekbones" in given:
        complete["Cheeks_Rise"] = 0
    return complete


def _check_agreements(
    agreements: Mapping[str, tuple[str, float]] | None,
) -> dict[str, tuple[str, float]]:
    order = [*(rule.name for rule in RULES)]
    checked = {}
    for name, (other, share) in (agreements or {}).items():
        for attribute in (name, other):
            if attribute not in _RULES:
                raise DatasetError(
                    f"agreements: {attribute!r} is not drawn by itself; expected one of "
                    f"{', '.join(order)}"
                )
        if order.index(other) >= order.index(name):
            raise DatasetError(
                f"agreements: {other} must be drawn before {name}. Give it as that of {other}"
            )
        if not 0 <= share <= 1:
            raise DatasetError(
                f"agreements: expected a probability in [0, 1] for {name} and {other}. "
                f"Received: {share!r}"
            )
        checked[name] = (other, float(share))
    return checked


def _draw_shared(
    rng: np.random.Generator,
    force: Mapping[str, int],
    correlations: Correlations,
    agreements: Mapping[str, tuple[str, float]],
) -> dict:
    """Attributes of a person, with `age_band`, `ancestry` and `hair_color` beside them."""
    shares = _sex_and_age(force, correlations)
    male, band = divmod(int(rng.choice(6, p=shares)), 3)
    drawn: dict = {"Male": male, "age_band": _BANDS[band], "Young": int(band == 0)}
    for rule in RULES:
        if rule.of == "person":
            drawn[rule.name] = _draw(rng, rule, drawn, force, correlations, agreements)
    _settle(rng, drawn, force)
    appearance.draw_ancestry_and_color(rng, drawn, force, correlations == "independent")
    return drawn


def _sex_and_age(force: Mapping[str, int], correlations: Correlations) -> np.ndarray:
    """(6,) probabilities of women young, middle, old, men young, middle, old.

    Among people, what is forced tells of both: who must have a goatee is a man.
    """
    bands = np.array(list(AGE_BANDS.values()))[:, 1:].T  # (sex, band)
    sexes = np.array([[1 - MALE], [MALE]])
    if correlations == "independent":
        shares = (sexes * (sexes * bands).sum(0)).ravel()
    else:
        shares = (sexes * bands).ravel()
    if "Male" in force:
        shares *= np.repeat([1 - force["Male"], force["Male"]], 3)
    if "Young" in force:
        shares *= np.tile([force["Young"], 1 - force["Young"], 1 - force["Young"]], 2)
    if correlations == "people":
        likely = shares * np.prod(
            [_chances(name) if value else 1 - _chances(name) for name, value in force.items()],
            axis=0,
        )
        # Nobody is likely if a beard is forced on women: then they have it nevertheless.
        shares = likely if likely.sum() > 0 else shares
    return shares / shares.sum()


def _chances(name: str) -> np.ndarray:
    """(6,) how many of women young .. men old have an attribute; 1/2 where no table tells."""
    if name == "No_Beard":
        return np.prod([1 - _chances(kind) for kind in (*BEARDS, "Full_Beard")], axis=0)
    if name not in _RULES:
        return np.full(6, 0.5)
    return np.array(_RULES[name].percent) / 100


def _draw_shot(
    rng: np.random.Generator,
    shared: Mapping,
    force: Mapping[str, int],
    correlations: Correlations,
    agreements: Mapping[str, tuple[str, float]],
) -> dict:
    drawn = dict(shared)
    for rule in RULES:
        if rule.of == "shot":
            drawn[rule.name] = _draw(rng, rule, drawn, force, correlations, agreements)
    if drawn["Cheeks_Rise"] and drawn["Smiling"]:
        drawn["High_Cheekbones"] = 1
    return drawn


def _settle(rng: np.random.Generator, drawn: dict, force: Mapping[str, int]) -> None:
    """Takes away what cannot be together, and adds what follows."""
    if drawn["Bald"]:
        for name in ("Bangs", "Receding_Hairline", "Wavy_Hair", "Gray_Hair"):
            drawn[name] = force.get(name, 0)
    if drawn["Bangs"] and drawn["Receding_Hairline"]:
        drawn["Receding_Hairline" if "Receding_Hairline" not in force else "Bangs"] = 0
    drawn["Straight_Hair"] = int(not drawn["Bald"] and not drawn["Wavy_Hair"])
    if drawn["Full_Beard"]:
        drawn.update({"Mustache": 1, "Goatee": 1, "5_o_Clock_Shadow": 0})
    if force.get("No_Beard") == 0 and not any(drawn[name] for name in BEARDS):
        drawn[rng.choice([name for name in BEARDS if force.get(name) != 0])] = 1
    drawn["No_Beard"] = int(not any(drawn[name] for name in (*BEARDS, "Full_Beard")))


def _draw(
    rng: np.random.Generator,
    rule: Rule,
    drawn: Mapping,
    force: Mapping[str, int],
    correlations: Correlations,
    agreements: Mapping[str, tuple[str, float]],
) -> int:
    chance = rng.random()  # drawn even when forced: forcing one attribute changes no other
    if rule.name in force:
        return force[rule.name]
    if rule.name in agreements:
        other, share = agreements[rule.name]
        return drawn[other] if chance < share else 1 - drawn[other]
    if correlations == "independent":
        return int(chance < _overall(rule.name))
    male, band = drawn["Male"], _BANDS.index(drawn["age_band"])
    flipped = REVERSED_PAIRS if correlations == "reversed" else ()
    if ("Male", rule.name) in flipped:
        male = 1 - male
    if ("Young", rule.name) in flipped:
        band = 2 - band
    odds = _log_odds(rule.percent[3 * male + band] / 100)
    for parent, ratio in rule.given.items():
        if (parent, rule.name) in flipped:
            ratio = -ratio
        expected = _RULES[parent].percent[3 * male + band] / 100
        odds += ratio * (drawn[parent] - expected)
    return int(chance < 1 / (1 + math.exp(-odds)))


def _overall(name: str) -> float:
    shares = [
        sex * share[column]
        for column, sex in ((1, 1 - MALE), (2, MALE))
        for share in AGE_BANDS.values()
    ]
    return float(np.dot(shares, _RULES[name].percent)) / 100


def _log_odds(probability: float) -> float:
    probability = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(probability / (1 - probability))
