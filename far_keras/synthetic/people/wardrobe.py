"""What is worn: clothes, glasses, hats and jewellery, from the attributes drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from far_keras.synthetic.parameters import Accessories
from far_keras.synthetic.people import palette

__all__ = ["draw_accessories"]


def draw_accessories(
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
        glasses_color=palette.tone(
            rng, ((15, 15, 18), (70, 40, 20), (120, 110, 100), (40, 20, 60))
        ),
        hat=str(rng.choice(hats)) if drawn["Wearing_Hat"] else None,  # type: ignore[arg-type]
        hat_color=palette.any_color(rng),
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
        jewellery_color=palette.tone(rng, palette.METALS),
        clothing=clothing,  # type: ignore[arg-type]
        necktie=necktie,
        clothing_color=palette.any_color(rng),
        necktie_color=palette.any_color(rng),
    )
