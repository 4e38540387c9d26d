"""The prediction for one face: what local recognition and the client of a server both return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FacePrediction", "attribute_table", "certainty"]


@dataclass(frozen=True, kw_only=True)
class FacePrediction:
    """Probabilities, decisions and masks of one face.

    Attributes that the model was not trained on are left out, and sensitive ones unless they are
    requested.

    Args:
        probabilities: By attribute, in [0, 1], calibrated, in the schema's order.
        thresholds: By attribute, the probability from which on the decision is "yes".
        decisions: By attribute: whether the probability reaches the threshold; None where nothing
            is decided, for instance since the attribute's region is not visible.
        masks: (G, h, w) float32 probabilities of the group masks over the aligned face, or None
            if the model has no masks or none were requested.
        groups: The G group names, in the order of `masks`; empty without masks.
        group_of: By attribute, the name of its group.
    """

    probabilities: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict, repr=False)
    decisions: dict[str, bool | None] = field(default_factory=dict)
    masks: NDArray[np.float32] | None = field(default=None, repr=False)
    groups: tuple[str, ...] = field(default=(), repr=False)
    group_of: dict[str, str] = field(default_factory=dict, repr=False)

    def certainty(self, attribute: str) -> float:
        """The probability of "yes", moved so that the threshold lies at one half.

        See `certainty`.

        Raises:
            KeyError: There is no prediction for `attribute`.
        """
        return certainty(self.probabilities[attribute], self.thresholds[attribute])

    def _attributes_to_dict(self) -> dict[str, Any]:
        return {
            name: {
                "probability": round(float(value), 4),
                "threshold": round(float(self.thresholds[name]), 4),
                "decision": self.decisions[name],
            }
            for name, value in self.probabilities.items()
        }

    def _mask_areas_to_dict(self) -> dict[str, Any]:
        """``{"mask_areas": shares by group}``; empty without masks."""
        if self.masks is None:
            return {}
        shares = (self.masks >= 0.5).mean(axis=(1, 2))
        pairs = zip(self.groups, shares, strict=True)
        return {"mask_areas": {name: round(float(share), 4) for name, share in pairs}}


def certainty(probability: float, threshold: float) -> float:
    """The probability of "yes", moved so that the threshold lies at one half.

    Thresholds of rare attributes are low: a probability of 0.1 may be a clear "yes". Show this
    number next to a decision. Where the threshold is the attribute's frequency, it is the
    probability that would hold if "yes" and "no" were equally frequent.

    Args:
        probability: In [0, 1].
        threshold: In [0, 1].

    Example:
        >>> certainty(0.1, 0.1)
        0.5
    """
    odds = []
    for share in (probability, threshold):
        share = min(max(share, 1e-6), 1 - 1e-6)
        odds.append(share / (1 - share))
    return odds[0] / (odds[0] + odds[1])


def attribute_table(prediction: FacePrediction, title: str | None = None) -> Table:
    """For `rich`: one row per group with "yes" and its certainty, "no", and what is not visible."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    table.add_column("group")
    table.add_column("yes, with certainty")
    table.add_column("no", style="dim")
    decisions = prediction.decisions
    unseen = None in decisions.values()
    if unseen:
        table.add_column("not visible", style="dim")
    for group in dict.fromkeys(prediction.group_of.values()):
        members = [name for name in decisions if prediction.group_of[name] == group]
        if not members:
            continue
        yes = [f"{name} {prediction.certainty(name):.0%}" for name in members if decisions[name]]
        no = [name for name in members if decisions[name] is False]
        hidden = [name for name in members if decisions[name] is None]
        cells = ["\n".join(yes), ", ".join(no)] + [", ".join(hidden)] * unseen
        # As Text: in plain strings, rich takes square brackets for its own markup.
        table.add_row(*map(Text, [group, *cells]))
    return table
