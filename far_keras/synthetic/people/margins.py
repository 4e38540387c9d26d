"""Where an attribute that has a strength begins and ends: drawn and read by the same numbers.

`appearance` draws strengths from the ranges, `labels` reads them back. Between the ranges lies
what two people would not agree on: such a strength has no label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from far_keras.schema import MISSING

__all__ = ["DOUBTFUL", "MARGINS", "Margin"]

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
