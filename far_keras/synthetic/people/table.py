"""How often attributes occur among people, by sex and age, and which go together.

Where the numbers come from. The overall frequencies and the direction of every dependence follow
the published label table of CelebA (Liu et al., ICCV 2015: 202,599 images of celebrities), for
instance Male 0.42, Young 0.77, Smiling 0.48, Mouth_Slightly_Open 0.48, Wearing_Lipstick 0.47,
No_Beard 0.83. The split into three age bands, the sizes of the log odds ratios and everything
about ancestry, hair texture and hair length are our choice: CelebA has no such labels.
We depart from CelebA on purpose in three ways: the sexes are nearly even (45% men); attributes
that are rarer there than about one image in twenty (Bald, Gray_Hair, Mustache, Chubby,
Pale_Skin ...) are drawn more often, so that each can be learned from a few thousand images;
ancestry is spread evenly enough that no group is rare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "AGE_BANDS",
    "EXCLUSIONS",
    "HAIR_COLORS",
    "HAIR_STYLES",
    "HIDERS",
    "MALE",
    "REVERSED_PAIRS",
    "RULES",
    "WOMEN_CUT_SHORTER",
    "Rule",
]

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
    percent: tuple[float, float, float, float, float, float]
    given: dict[str, float] = field(default_factory=dict)
    of: Literal["person", "shot"] = "person"


def _shot(name: str, *percent: float, **given: float) -> Rule:
    return Rule(name, _six(percent), given, "shot")


def _person(name: str, *percent: float, **given: float) -> Rule:
    return Rule(name, _six(percent), given)


def _six(percent: tuple[float, ...]) -> tuple[float, float, float, float, float, float]:
    a, b, c, d, e, f = percent
    return a, b, c, d, e, f


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
        "long": 0.48,
        "medium": 0.25,
        "bun": 0.06,
        "ponytail": 0.07,
        "updo": 0.06,
        "short": 0.07,
        "afro": 0.01,
    },
    "men": {
        "short": 0.74,
        "buzzed": 0.17,
        "medium": 0.05,
        "long": 0.02,
        "bun": 0.01,
        "ponytail": 0.01,
        "afro": 0.005,
    },
}

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
"""Sets of which one image shows at most one: a second cannot be, or cannot be seen.

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
    ("Male", "Wearing_Lipstick"),
    ("Male", "Wearing_Earrings"),
    ("Male", "Wearing_Necklace"),
    ("Male", "Wearing_Necktie"),
    ("Male", "Arched_Eyebrows"),
    ("Male", "Bushy_Eyebrows"),
    ("Male", "Big_Nose"),
    ("Young", "Eyeglasses"),
    ("Young", "Bags_Under_Eyes"),
)
"""The strong dependences whose sign ``correlations="reversed"`` turns."""
