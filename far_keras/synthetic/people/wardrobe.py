"""What is worn: clothes, glasses, hats and jewellery, from the attributes drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from far_keras.synthetic.parameters import Accessories
from far_keras.synthetic.people.appearance import METALS, choose, draw_cloth_color, pick_tone

__all__ = ["draw_accessories"]

# Shares in percent; `docs/synthetic.md` repeats them.
CLOTHING = {
    "women": {
        "crew": 20, "vneck": 17, "shirt": 9, "suit": 5, "turtleneck": 5, "scoop": 15, "boat": 7,
        "straps": 13, "strapless": 5, "hoodie": 4,
    },
    "men": {"crew": 36, "vneck": 13, "shirt": 23, "suit": 12, "turtleneck": 5, "hoodie": 11},
}  # fmt: skip
PATTERNS = {"plain": 62, "stripes": 12, "checks": 9, "dots": 6, "floral": 11}
GLASSES = {
    "round": 14, "oval": 12, "rectangular": 30, "square": 18, "cat-eye": 7, "aviator": 6,
    "browline": 8, "rimless": 5,
}  # fmt: skip
SUNGLASSES = {"round": 12, "rectangular": 12, "square": 36, "cat-eye": 12, "aviator": 28}
DARK, TINTED = 0.15, 0.05  # shares of lenses; a third of the dark ones are mirrored
HATS = {"cap": 34, "beanie": 28, "brimmed": 26, "bucket": 12}
EARRINGS = {"stud": 28, "hoop": 30, "drop": 20, "long": 12, "chandelier": 10}
NECKLACES = {
    "women": {
        "chain": 24, "pendant": 26, "beads": 14, "choker": 12, "cord": 5, "layered": 11,
        "statement": 8,
    },
    "men": {"chain": 50, "pendant": 25, "cord": 25},
}  # fmt: skip
COVERS = ("hood", "headscarf")
COVERED = 0.012  # share of bare heads under a hood or a headscarf
FRAMES = ((15, 15, 18), (70, 40, 20), (120, 110, 100), (40, 20, 60), (120, 20, 30), (190, 185, 175))


def draw_accessories(
    rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]
) -> Accessories:
    """What a person wears in an image with the attributes `drawn`; nothing hides those `sure`."""
    sex = "men" if drawn["Male"] else "women"
    hat = _draw_hat(rng, drawn, sure)
    clothing: Any = _draw_clothing(rng, drawn, sure, sex) if hat != "hood" else "hoodie"
    glasses, lenses = _draw_glasses(rng, drawn, sure)
    earrings = choose(rng, EARRINGS) if drawn["Wearing_Earrings"] and hat not in COVERS else None
    return Accessories(
        glasses=glasses,
        glasses_size=float(rng.beta(2, 2)),
        glasses_color=pick_tone(rng, FRAMES),
        lenses=lenses,
        hat=hat,
        hat_color=draw_cloth_color(rng),
        earrings=earrings,
        earring_size=float(rng.beta(1.5, 1.7)),
        necklace=choose(rng, NECKLACES[sex]) if drawn["Wearing_Necklace"] else None,
        jewellery_color=pick_tone(rng, METALS),
        clothing=clothing,
        pattern=choose(rng, PATTERNS),
        pattern_color=draw_cloth_color(rng),
        necktie=bool(drawn["Wearing_Necktie"]),
        clothing_color=draw_cloth_color(rng),
        necktie_color=draw_cloth_color(rng),
    )


def _draw_clothing(
    rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str], sex: str
) -> Any:
    if drawn["Wearing_Necktie"]:
        return "suit" if rng.random() < 0.7 else "shirt"
    shares = dict(CLOTHING[sex])
    if sure & {"Wearing_Necklace", "Double_Chin"}:
        for name in ("turtleneck", "hoodie"):
            shares.pop(name)
    return choose(rng, shares)


def _draw_glasses(
    rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]
) -> tuple[Any, Any]:
    """Shape and lenses."""
    if not drawn["Eyeglasses"]:
        return None, "clear"
    chance = rng.random()
    if chance < DARK and not sure & {"Bags_Under_Eyes", "Narrow_Eyes", "Heavy_Makeup"}:
        return choose(rng, SUNGLASSES), "mirrored" if rng.random() < 1 / 3 else "dark"
    kinds = dict(GLASSES)
    if "Eyeglasses" in sure:
        kinds.pop("rimless")  # too thin to be seen by all
    return choose(rng, kinds), "tinted" if DARK < chance < DARK + TINTED else "clear"


def _draw_hat(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> Any:
    if drawn["Wearing_Hat"]:
        return choose(rng, HATS)
    # A forced attribute must not be hidden, and what covers a head is no hat.
    if sure or drawn["Bangs"] or drawn["Wearing_Necktie"] or rng.random() >= COVERED:
        return None
    return "headscarf" if not drawn["Male"] and rng.random() < 0.7 else "hood"
