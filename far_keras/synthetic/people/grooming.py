"""How hair and beards are worn: style, waves and kind of beard, from the attributes drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from far_keras.synthetic.parameters import RGB, Beard
from far_keras.synthetic.people.margins import DOUBTFUL, MARGINS
from far_keras.synthetic.people.table import HAIR_STYLES

__all__ = ["draw_beard", "draw_style", "draw_wave"]


def draw_style(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> str:
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


def draw_wave(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> float:
    margin = MARGINS["Wavy_Hair"]
    if not sure & {"Straight_Hair", "Wavy_Hair"} and rng.random() < 2 * DOUBTFUL:
        return float(rng.uniform(margin.no[1], margin.yes[0]))
    if not drawn["Wavy_Hair"]:
        return margin.draw(rng, False)
    african = drawn["ancestry"][1]
    curly = rng.random() < 0.15 + 0.7 * african
    return float(rng.uniform(0.65, 1.0) if curly else rng.uniform(margin.yes[0], 0.65))


def draw_beard(rng: np.random.Generator, drawn: Mapping[str, Any], strength, color: RGB) -> Beard:
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
