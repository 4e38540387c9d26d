"""How hair and beards are worn: style, waves and kind of beard, from the attributes drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from far_keras.synthetic.parameters import RGB, Beard, Hair
from far_keras.synthetic.people import palette
from far_keras.synthetic.people.margins import DOUBTFUL, MARGINS
from far_keras.synthetic.people.table import HAIR_STYLES, WOMEN_CUT_SHORTER

__all__ = ["HAIR_COLOR_NAMES", "draw_beard", "draw_hair"]

HAIR_COLOR_NAMES = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair")


AFRO = 0.3  # share of curly-haired people of African ancestry
TIED = ("bun", "ponytail", "updo")


def draw_hair(
    rng: np.random.Generator,
    drawn: Mapping[str, Any],
    sure: frozenset[str],
    strength: Callable[[str], float],
    age: float,
) -> Hair:
    """Hair and brows with the attributes `drawn`, whose strengths `strength` draws by name."""
    male = bool(drawn["Male"])
    old = float(np.clip((age - 40) / 30, 0, 1))
    name = drawn["hair_color"]
    color = palette.hair_color(rng, name, 0.0 if sure & set(HAIR_COLOR_NAMES) else DOUBTFUL)
    style = _draw_style(rng, drawn, sure)
    bangs = strength("Bangs")
    high = rng.normal((0.1 if style in TIED else 0.0) - (0.0 if male else 0.1), 0.35)
    thin = rng.random() < 0.04 + (0.3 if male else 0.12) * old
    tips, streaks = _dye(rng, name, color, style, male, sure)
    pencilled = not male and rng.random() < 0.35
    return Hair(
        style=style,  # type: ignore[arg-type]
        color=color,
        wave=_draw_wave(rng, drawn, sure),
        receding=strength("Receding_Hairline"),
        bangs=bangs,
        parting=0.0 if rng.random() < 0.25 else float(rng.uniform(-1, 1)),
        volume=float(rng.beta(2.0, 2.2)),
        sideburns=strength("Sideburns"),
        brow_thickness=strength("Bushy_Eyebrows"),
        brow_arch=strength("Arched_Eyebrows"),
        brow_color=palette.brow_color(rng, name, color),
        brow_length=float(np.clip(rng.normal(0.5, 0.22), 0, 1)),
        brow_angle=float(np.clip(rng.normal(-0.05 if male else 0.1, 0.35), -1, 1)),
        brow_gap=float(np.clip(rng.normal(0.45 if male else 0.5, 0.22), 0, 1)),
        brow_fill=float(rng.uniform(0.4, 1.0)) if pencilled else float(rng.uniform(0, 0.4)),
        cut=str(rng.choice(("side", "forward", "back", "up", "tousled"))),  # type: ignore
        sides=float(rng.beta(1.2, 1.6)),
        hairline=float(np.clip(high, -1, 1)),
        thinning=float(rng.uniform(0.3, 1.0)) if thin else 0.0,
        fall=float(rng.beta(1.2, 2.0) if male else rng.beta(1.6, 1.8)),
        loose=float(rng.beta(1.0, 2.2)),
        tips=tips,
        streaks=streaks,
    )


def _dye(
    rng: np.random.Generator,
    name: str,
    color: RGB,
    style: str,
    male: bool,
    sure: frozenset[str],
) -> tuple[RGB | None, float]:
    """Tips and streaks: lighter than black and brown hair, darker than blond."""
    chance = 0.05 if male else 0.3
    plain = style in ("bald", "buzzed") or name in ("bald", "Gray_Hair")
    if plain or sure & set(HAIR_COLOR_NAMES) or rng.random() > chance:
        return None, 0.0
    factor = rng.uniform(0.4, 0.75) if name == "Blond_Hair" else rng.uniform(1.6, 5.0)
    tint = np.array([1.15, 1.0, 0.8]) if name != "Blond_Hair" else np.ones(3)
    tips = palette.rgb(np.clip((np.array(color) + 0.012) * factor * tint, 0, 0.65))
    return tips, float(rng.uniform(0.1, 0.5)) if rng.random() < 0.5 else 0.0


def _draw_style(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> str:
    if drawn["Bald"]:
        return "bald"
    shares = dict(HAIR_STYLES["men" if drawn["Male"] else "women"])
    if not drawn["Male"]:
        for name, factor in WOMEN_CUT_SHORTER[drawn["age_band"]].items():
            shares[name] *= factor
    if drawn["Bangs"]:
        shares.pop("buzzed", None)
        shares.pop("afro", None)
    shares["afro"] = shares.get("afro", 0) + AFRO * drawn["ancestry"][1] * drawn["Wavy_Hair"]
    if not drawn["Wavy_Hair"] or drawn["Bangs"] or sure & {"Straight_Hair"}:
        shares.pop("afro")
    if sure & {"Straight_Hair", "Wavy_Hair"}:
        shares.pop("buzzed", None)
    if sure & {"Wavy_Hair", "Straight_Hair"}:
        shares = {name: share for name, share in shares.items() if name not in TIED}
    if sure & {"Wearing_Earrings", "Sideburns", "Wearing_Necklace"}:
        shares = {name: shares.get(name, 0) for name in ("short", *TIED)}
    names = list(shares)
    total = sum(shares.values())
    return names[int(rng.choice(len(names), p=[share / total for share in shares.values()]))]


def _draw_wave(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> float:
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
        length=float(0.05 + 0.45 * rng.beta(1.0, 2.5) if full else rng.uniform(0.04, 0.16)),
        color=tuple(float(c) for c in np.array(color) * rng.uniform(0.7, 1.0)),  # type: ignore
        mustache_style=str(  # type: ignore[arg-type]
            rng.choice(("natural", "chevron", "pencil", "handlebar"), p=(0.5, 0.25, 0.15, 0.1))
        ),
        goatee_style=str(  # type: ignore[arg-type]
            rng.choice(("circle", "chin", "anchor"), p=(0.55, 0.3, 0.15))
        ),
        patchy=float(rng.uniform(0.2, 0.7)) if rng.random() < 0.25 else 0.0,
        grey=float(rng.beta(2, 2)) if drawn["age_band"] != "young" and rng.random() < 0.5 else 0.0,
    )
