"""Attributes of people: how often they occur, which go together, and drawing them.

The overall frequencies and the direction of every dependence follow the published label table of
CelebA (Liu et al., ICCV 2015: 202,599 images of celebrities), for instance Male 0.42, Young 0.77,
Smiling 0.48, Mouth_Slightly_Open 0.48, Wearing_Lipstick 0.47, No_Beard 0.83. The split into three
age bands, the sizes of the log odds ratios and everything about ancestry, hair texture and hair
length are our choice: CelebA has no such labels. We depart from CelebA on purpose in three ways:
the sexes are nearly even (45% men); attributes that are rarer there than about one image in twenty
(Bald, Gray_Hair, Mustache, Chubby, Pale_Skin ...) are drawn more often, so that each can be learned
from a few thousand images; ancestry is spread evenly enough that no group is rare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from far_keras.errors import DatasetError
from far_keras.schema import CELEBA, MISSING

__all__ = [
    "AGE_BANDS",
    "DOUBTFUL",
    "HAIR_COLOR_NAMES",
    "HAIR_STYLES",
    "MARGINS",
    "RULES",
    "WOMEN_CUT_SHORTER",
    "AttributeSampler",
    "Correlations",
    "Margin",
    "check_force",
]

Correlations = Literal["people", "independent", "reversed"]

MALE = 0.45
AGE_BANDS = {
    # upper end in years: share among women, among men
    "young": (40.0, 0.72, 0.58),
    "middle": (58.0, 0.17, 0.25),
    "old": (85.0, 0.11, 0.17),
}


@dataclass(frozen=True)
class Rule:
    """How one attribute is drawn.

    Args:
        name: The attribute.
        percent: How many of a hundred have it: women young, middle, old, men young, middle, old.
        given: Log odds ratios that attributes drawn earlier add, such as ``{"Smiling": 2.2}``.
            They are centred, so that the overall frequency stays that of `percent`.
        of: ``"person"`` for what all images of an identity share, ``"shot"`` for the rest.
    """

    name: str
    percent: tuple[float, ...]
    given: dict[str, float] = field(default_factory=dict)
    of: Literal["person", "shot"] = "person"


def _shot(name: str, *percent: float, **given: float) -> Rule:
    return Rule(name, percent, given, "shot")


def _person(name: str, *percent: float, **given: float) -> Rule:
    return Rule(name, percent, given)


RULES: tuple[Rule, ...] = (
    # name, women: young, middle, old, men: young, middle, old; what it goes with
    _person("Bald", 0.5, 1, 1.5, 7, 14, 20),
    _person("Receding_Hairline", 2, 5, 9, 10, 24, 30),
    _person("Bangs", 24, 20, 15, 9, 6, 4, Receding_Hairline=-3.0),
    _person("Gray_Hair", 1.5, 14, 60, 1.5, 30, 74, Receding_Hairline=0.5),
    _person("Chubby", 5, 8, 10, 8, 16, 18),
    _person("Double_Chin", 3, 7, 13, 5, 15, 22, Chubby=2.4),
    _person("Big_Nose", 10, 16, 22, 36, 46, 52, Chubby=0.5),
    _person("Pointy_Nose", 35, 32, 30, 20, 18, 16, Big_Nose=-0.6),
    _person("Big_Lips", 30, 22, 14, 19, 14, 9),
    _person("Oval_Face", 34, 28, 20, 25, 20, 14, Chubby=-1.2),
    _person("Narrow_Eyes", 11, 13, 16, 11, 14, 18),
    _person("High_Cheekbones", 26, 24, 22, 20, 18, 16),
    _person("Cheeks_Rise", 60, 58, 55, 52, 50, 48),
    _person("Bags_Under_Eyes", 8, 20, 34, 22, 40, 55, Big_Nose=0.3),
    _person("Arched_Eyebrows", 44, 36, 28, 8, 6, 5),
    _person("Bushy_Eyebrows", 6, 5, 4, 27, 24, 20, Arched_Eyebrows=-0.4),
    _person("Pale_Skin", 8, 6, 6, 4, 3, 3),
    _person("Full_Beard", 0, 0, 0, 13, 14, 13, Bald=0.6),
    _person("5_o_Clock_Shadow", 0, 0, 0, 29, 24, 14),
    _person("Mustache", 0, 0, 0, 9, 13, 15),
    _person("Goatee", 0, 0, 0, 15, 13, 9, Mustache=1.6),
    _person("Sideburns", 0, 0, 0, 15, 14, 11, Full_Beard=2.5, Goatee=1.3, Mustache=0.8),
    _person("Wavy_Hair", 46, 40, 32, 27, 22, 16),
    _shot("Smiling", 54, 54, 50, 40, 40, 36),
    _shot("Mouth_Slightly_Open", 50, 48, 44, 45, 42, 38, Smiling=2.2),
    _shot("Wearing_Lipstick", 80, 76, 66, 0.5, 0.5, 0.5),
    _shot("Heavy_Makeup", 64, 54, 38, 0.5, 0.3, 0.2, Wearing_Lipstick=3.0),
    _shot("Rosy_Cheeks", 12, 10, 8, 2, 2, 3, Heavy_Makeup=1.5, Pale_Skin=-0.5),
    _shot("Eyeglasses", 4, 8, 16, 9, 18, 28),
    _shot("Wearing_Hat", 4, 4, 4, 10, 8, 8, Eyeglasses=0.4),
    _shot("Wearing_Earrings", 33, 36, 38, 2.5, 1.5, 1, Heavy_Makeup=0.5),
    _shot("Wearing_Necklace", 21, 22, 22, 2, 1, 0.5, Wearing_Earrings=0.6),
    _shot("Wearing_Necktie", 0.5, 0.5, 0.5, 12, 26, 30, Wearing_Hat=-1.5),
    _shot("Blurry", 5, 5, 5, 6, 6, 6),
)
"""In the order in which they are drawn; an attribute depends only on those before it.

Two names are no CelebA attributes: `Full_Beard` adds hair on jaw and cheeks to a mustache and
goatee; who has `Cheeks_Rise` shows high cheekbones when smiling. Straight_Hair follows from
Wavy_Hair, No_Beard from the kinds of beard, Young and hair colour are drawn apart.
"""

HAIR_COLORS: dict[str, dict[str, tuple[float, float, float, float]]] = {
    # ancestry: sex: black, brown, blond, auburn; gray hair is drawn by age above
    "caucasian": {"women": (0.12, 0.40, 0.40, 0.08), "men": (0.18, 0.53, 0.22, 0.07)},
    "african": {"women": (0.70, 0.20, 0.07, 0.03), "men": (0.86, 0.11, 0.02, 0.01)},
    "asian": {"women": (0.68, 0.24, 0.05, 0.03), "men": (0.82, 0.15, 0.02, 0.01)},
}

HAIR_STYLES: dict[str, dict[str, float]] = {
    "women": {
        "long": 0.48, "medium": 0.25, "bun": 0.06, "ponytail": 0.07, "updo": 0.06, "short": 0.07,
        "afro": 0.01,
    },
    "men": {
        "short": 0.74, "buzzed": 0.17, "medium": 0.05, "long": 0.02, "bun": 0.01,
        "ponytail": 0.01, "afro": 0.005,
    },
}  # fmt: skip

WOMEN_CUT_SHORTER: dict[str, dict[str, float]] = {
    # age band: by what the shares of women's styles above are multiplied
    "young": {},
    "middle": {"long": 0.7, "short": 2.0},
    "old": {"long": 0.3, "short": 4.0, "ponytail": 0.4},
}

EXCLUSIONS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "Black_Hair Blond_Hair Brown_Hair Gray_Hair Bald",
        "Straight_Hair Wavy_Hair Bald",
        "Bald Bangs",
        "Bald Receding_Hairline",
        "Bangs Receding_Hairline",
        "Wearing_Hat Bald",
        "Wearing_Hat Bangs",
        "Wearing_Hat Receding_Hairline",
        "No_Beard 5_o_Clock_Shadow",
        "No_Beard Goatee",
        "No_Beard Mustache",
    )
)
"""Sets of which one image shows at most one: a second is impossible or not visible.

Forcing two of a set is an error. Drawn freely, a hat may still hide a bald head: then the label
of Bald is missing.
"""

HIDERS: dict[str, frozenset[str]] = {
    hider: frozenset(hidden.split())
    for hider, hidden in (
        (
            "Wearing_Hat",
            "Bald Bangs Receding_Hairline Black_Hair Blond_Hair Brown_Hair Gray_Hair "
            "Straight_Hair Wavy_Hair Arched_Eyebrows Bushy_Eyebrows",
        ),
        ("Bangs", "Arched_Eyebrows Bushy_Eyebrows"),
        ("Bald", "Receding_Hairline"),
        (
            "Full_Beard",
            "Double_Chin Oval_Face Big_Lips Wearing_Lipstick Wearing_Necklace Wearing_Necktie",
        ),
    )
}
"""What hides what: who forces one of the latter gets none of the former, unless forced too."""

REVERSED_PAIRS: tuple[tuple[str, str], ...] = (
    ("Smiling", "Mouth_Slightly_Open"),
    ("Wearing_Lipstick", "Heavy_Makeup"),
    ("Chubby", "Double_Chin"),
    *(("Male", f"Wearing_{worn}") for worn in ("Lipstick", "Earrings", "Necklace", "Necktie")),
    *(("Male", name) for name in ("Arched_Eyebrows", "Bushy_Eyebrows", "Big_Nose")),
    *(("Young", name) for name in ("Eyeglasses", "Bags_Under_Eyes")),
)
"""The strong dependences whose sign ``correlations="reversed"`` turns."""


DOUBTFUL = 0.04
"""Share of strengths that are neither yes nor no; our choice."""


@dataclass(frozen=True)
class Margin:
    """The strengths that count as no and as yes, in the unit of the parameter.

    Args:
        no: Lowest and highest strength that is drawn for a no.
        yes: The same for a yes; wholly above `no`, or wholly below it (narrow eyes, pale skin).
    """

    no: tuple[float, float]
    yes: tuple[float, float]

    @property
    def rising(self) -> bool:
        """Whether a larger strength means yes."""
        return self.yes[0] > self.no[1]

    def draw(self, rng: np.random.Generator, yes: bool, doubtful: float = 0.0) -> float:
        """A strength for a yes or no, or with probability `doubtful` one that is neither."""
        if rng.random() < doubtful:
            inner = (self.no[1], self.yes[0]) if self.rising else (self.yes[1], self.no[0])
            return float(rng.uniform(*inner))
        return float(rng.uniform(*(self.yes if yes else self.no)))

    def label(self, strength: float) -> int:
        """1, 0, or `MISSING` between the ranges."""
        sign = 1.0 if self.rising else -1.0
        least_yes, most_no = (
            (self.yes[0], self.no[1]) if self.rising else (-self.yes[1], -self.no[0])
        )
        if sign * strength >= least_yes:
            return 1
        return 0 if sign * strength <= most_no else MISSING


MARGINS: dict[str, Margin] = {
    "5_o_Clock_Shadow": Margin(no=(0.0, 0.15), yes=(0.5, 1.0)),
    "Arched_Eyebrows": Margin(no=(0.0, 0.3), yes=(0.65, 1.0)),
    "Bags_Under_Eyes": Margin(no=(0.0, 0.2), yes=(0.6, 1.0)),
    "Bangs": Margin(no=(0.0, 0.1), yes=(0.6, 1.0)),
    "Big_Lips": Margin(no=(-0.8, 0.2), yes=(0.8, 1.5)),
    "Big_Nose": Margin(no=(-0.8, 0.2), yes=(0.8, 1.6)),
    "Blurry": Margin(no=(0.0, 0.7), yes=(1.6, 2.8)),
    "Bushy_Eyebrows": Margin(no=(0.1, 0.5), yes=(0.75, 1.0)),
    "Chubby": Margin(no=(0.1, 0.6), yes=(0.8, 1.0)),
    "Double_Chin": Margin(no=(0.0, 0.2), yes=(0.6, 1.0)),
    "Goatee": Margin(no=(0.0, 0.1), yes=(0.6, 1.0)),
    "Heavy_Makeup": Margin(no=(0.0, 0.15), yes=(0.5, 1.0)),
    "High_Cheekbones": Margin(no=(-0.8, 0.3), yes=(0.65, 1.4)),
    "Mustache": Margin(no=(0.0, 0.1), yes=(0.6, 1.0)),
    "Narrow_Eyes": Margin(no=(-0.2, 0.6), yes=(-1.1, -0.6)),
    "Oval_Face": Margin(no=(0.0, 0.15), yes=(0.6, 1.0)),
    "Pale_Skin": Margin(no=(0.12, 1.0), yes=(0.0, 0.04)),
    "Pointy_Nose": Margin(no=(-0.7, 0.2), yes=(0.9, 1.7)),
    "Receding_Hairline": Margin(no=(0.0, 0.15), yes=(0.6, 1.0)),
    "Rosy_Cheeks": Margin(no=(0.0, 0.12), yes=(0.5, 1.0)),
    "Sideburns": Margin(no=(0.0, 0.15), yes=(0.6, 1.0)),
    "Smiling": Margin(no=(0.0, 0.1), yes=(0.5, 1.0)),
    "Wavy_Hair": Margin(no=(0.0, 0.1), yes=(0.3, 1.0)),
    "Wearing_Lipstick": Margin(no=(0.0, 0.1), yes=(0.55, 1.0)),
    "Young": Margin(no=(47.0, 85.0), yes=(18.0, 39.0)),  # years
}
"""The ranges of every attribute that has a strength; our choice, tuned on rendered images."""

HAIR_COLOR_NAMES = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair")
COLOR_NAMES = ("Black_Hair", "Brown_Hair", "Blond_Hair", "auburn")
DYED = (0.03, 0.005)  # pink, blue, violet or green hair among women, men
ANCESTRIES = ("caucasian", "african", "asian")
ANCESTRY_SHARES = (0.5, 0.25, 0.25)  # our choice: no group is rare
BEARDS = ("5_o_Clock_Shadow", "Goatee", "Mustache")

_BANDS = tuple(AGE_BANDS)
_RULES = {rule.name: rule for rule in RULES}


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
    if not bald and all(complete.get(name) == 0 for name in HAIR_COLOR_NAMES):
        raise DatasetError(
            f"force: {', '.join(HAIR_COLOR_NAMES)} all 0 leave only Bald; force Bald=1 instead"
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
    order = list(_RULES)
    checked = {}
    for name, (other, share) in (agreements or {}).items():
        for attribute in (name, other):
            if attribute not in order:
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


class AttributeSampler:
    """Draws the attributes that images are meant to show, before anything hides them.

    Args:
        force: See `Population`.
        correlations: See `Population`.
        agreements: See `Population`.

    Raises:
        DatasetError: An argument is out of range, or `force` contradicts itself.
    """

    def __init__(
        self,
        force: Mapping[str, int] | None = None,
        correlations: Correlations = "people",
        agreements: Mapping[str, tuple[str, float]] | None = None,
    ) -> None:
        if correlations not in get_args(Correlations):
            raise DatasetError(
                f"correlations: expected one of {get_args(Correlations)}. "
                f"Received: {correlations!r}"
            )
        self.force = check_force(force)
        self.correlations = correlations
        self._agreements = _check_agreements(agreements)

    def draw_person(self, rng: np.random.Generator) -> dict[str, Any]:
        """Attributes of a person, with `age_band`, `ancestry` and `hair_color`."""
        male, band = divmod(int(rng.choice(6, p=self._sex_and_age())), 3)
        drawn: dict[str, Any] = {"Male": male, "age_band": _BANDS[band], "Young": int(band == 0)}
        self._draw_rules(rng, "person", drawn)
        self._settle(rng, drawn)
        self._draw_ancestry_and_color(rng, drawn)
        return drawn

    def draw_shot(self, rng: np.random.Generator, person: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes of one image of a `person`, those of the person included."""
        drawn = dict(person)
        self._draw_rules(rng, "shot", drawn)
        if drawn["Cheeks_Rise"] and drawn["Smiling"]:
            drawn["High_Cheekbones"] = 1
        return drawn

    def _sex_and_age(self) -> np.ndarray:
        """(6,) probabilities of women young, middle, old, men young, middle, old.

        Forced attributes change both: people with a goatee are men.
        """
        bands = np.array(list(AGE_BANDS.values()))[:, 1:].T  # (sex, band)
        sexes = np.array([[1 - MALE], [MALE]])
        if self.correlations == "independent":
            shares = (sexes * (sexes * bands).sum(0)).ravel()
        else:
            shares = (sexes * bands).ravel()
        force = self.force
        if "Male" in force:
            shares *= np.repeat([1 - force["Male"], force["Male"]], 3)
        if "Young" in force:
            shares *= np.tile([force["Young"], 1 - force["Young"], 1 - force["Young"]], 2)
        if self.correlations == "people":
            likely = shares * np.prod(
                [_chances(name) if value else 1 - _chances(name) for name, value in force.items()],
                axis=0,
            )
            # All are 0 if a beard is forced on women: then they have it nevertheless.
            shares = likely if likely.sum() > 0 else shares
        return shares / shares.sum()

    def _draw_rules(
        self, rng: np.random.Generator, of: Literal["person", "shot"], drawn: dict[str, Any]
    ) -> None:
        for rule in RULES:
            if rule.of == of:
                # Drawn even when forced: forcing one attribute changes no other.
                drawn[rule.name] = self._decide(rng.random(), rule, drawn)

    def _decide(self, chance: float, rule: Rule, drawn: Mapping[str, Any]) -> int:
        if rule.name in self.force:
            return self.force[rule.name]
        if rule.name in self._agreements:
            other, share = self._agreements[rule.name]
            return drawn[other] if chance < share else 1 - drawn[other]
        if self.correlations == "independent":
            return int(chance < _overall(rule))
        male, band = drawn["Male"], _BANDS.index(drawn["age_band"])
        flipped = REVERSED_PAIRS if self.correlations == "reversed" else ()
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

    def _settle(self, rng: np.random.Generator, drawn: dict[str, Any]) -> None:
        """Removes what excludes each other, and adds what follows."""
        force = self.force
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

    def _draw_ancestry_and_color(self, rng: np.random.Generator, drawn: dict[str, Any]) -> None:
        """Adds `ancestry` (three weights), `hair_color` (a name) and what it labels."""
        chief = int(rng.choice(3, p=ANCESTRY_SHARES))
        if drawn["Pale_Skin"] and self.correlations != "independent" and rng.random() < 0.85:
            chief = 0
        weights = np.full(3, 0.5)
        weights[chief] = 8.0
        drawn["ancestry"] = tuple(float(weight) for weight in rng.dirichlet(weights))
        drawn["hair_color"] = self._draw_hair_color(rng, drawn, ANCESTRIES[chief])
        drawn |= {name: int(drawn["hair_color"] == name) for name in HAIR_COLOR_NAMES}

    def _draw_hair_color(
        self, rng: np.random.Generator, drawn: Mapping[str, Any], ancestry: str
    ) -> str:
        force = self.force
        if drawn["Bald"]:
            return "bald"
        for name in HAIR_COLOR_NAMES:
            if force.get(name) == 1:
                return name
        if drawn["Gray_Hair"]:
            return "Gray_Hair"
        if self.correlations == "independent":
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


def _chances(name: str) -> np.ndarray:
    """(6,) shares of women young .. men old with an attribute; 1/2 where no table says."""
    if name == "No_Beard":
        return np.prod([1 - _chances(kind) for kind in (*BEARDS, "Full_Beard")], axis=0)
    if name not in _RULES:
        return np.full(6, 0.5)
    return np.array(_RULES[name].percent) / 100


def _overall(rule: Rule) -> float:
    shares = [
        sex * share[column]
        for column, sex in ((1, 1 - MALE), (2, MALE))
        for share in AGE_BANDS.values()
    ]
    return float(np.dot(shares, rule.percent)) / 100


def _log_odds(probability: float) -> float:
    probability = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(probability / (1 - probability))
