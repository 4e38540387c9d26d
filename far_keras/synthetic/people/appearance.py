"""Colours, skin, hair, beard, expression and make-up of a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from far_keras.synthetic.parameters import RGB, Beard, Expression, Hair, Makeup, Person, Skin
from far_keras.synthetic.people.attributes import DOUBTFUL, HAIR_STYLES, MARGINS, WOMEN_CUT_SHORTER

__all__ = [
    *("METALS", "choose", "clipped_normal", "draw_beard", "draw_cloth_color", "draw_expression"),
    *("draw_hair", "draw_iris_color", "draw_makeup", "draw_skin", "lip_color", "pick_tone", "rgb"),
    "skin_tone",
]

# sRGB, 0 .. 255, darkest and lightest hair of a name; a person's lies on the line between.
HAIR_TONES = {
    "Black_Hair": ((22, 19, 18), (42, 36, 34)),
    "Brown_Hair": ((70, 46, 32), (122, 84, 56)),
    "Blond_Hair": ((176, 138, 90), (226, 196, 146)),
    "auburn": ((110, 48, 28), (158, 76, 42)),
    "Gray_Hair": ((122, 120, 119), (216, 214, 212)),
}
# Tones that two people would name differently: the darker of the two names, and the tone.
DOUBTFUL_TONES = {
    "Black_Hair": (57, 42, 34),
    "Brown_Hair": (150, 112, 74),
    "Gray_Hair": (114, 101, 92),
}
DYES = ((200, 60, 120), (70, 90, 170), (110, 60, 150), (60, 140, 130), (225, 130, 165))
LIPSTICKS = (
    *((170, 20, 40), (190, 30, 45), (140, 25, 50), (120, 25, 35)),  # reds
    *((205, 75, 95), (215, 100, 125), (190, 60, 110), (200, 110, 110)),  # pinks
    *((190, 60, 50), (205, 95, 75)),  # corals
    *((110, 30, 70), (85, 22, 45), (95, 35, 95), (60, 20, 30)),  # berries and plums
    *((165, 95, 85), (145, 80, 70), (120, 62, 52)),  # browns
)
EYESHADOWS = (
    *((90, 58, 64), (112, 78, 50), (70, 50, 45), (60, 45, 42), (40, 34, 36)),
    *((66, 66, 104), (50, 80, 80), (110, 70, 105), (150, 110, 80), (190, 165, 140)),
)
IRISES = {
    "dark": ((46, 30, 22), (84, 56, 36)),
    "light": ((70, 104, 140), (112, 128, 92)),
}
METALS = ((212, 175, 100), (200, 200, 205), (190, 140, 110))


def draw_hair_color(rng: np.random.Generator, name: str, doubtful: float) -> RGB:
    """Hair of a named colour, or with probability `doubtful` between two names."""
    if name in DOUBTFUL_TONES and rng.random() < doubtful:
        return linear_rgb(np.array(DOUBTFUL_TONES[name]))
    if name == "dyed":
        return pick_tone(rng, DYES)
    dark, light = np.array(HAIR_TONES.get(name, HAIR_TONES["Brown_Hair"]), float)
    return linear_rgb(dark + (light - dark) * rng.random())


def draw_brow_color(rng: np.random.Generator, name: str, hair: RGB) -> RGB:
    """Brows are darker than the hair, but for black hair; those of blond people browner too."""
    brown = np.array(linear_rgb(np.array((72, 50, 36))))
    if name == "dyed":
        return rgb(brown * rng.uniform(0.3, 1.0))
    factor = {"Gray_Hair": 0.5, "Blond_Hair": 0.42, "Black_Hair": 1.2}.get(name, 0.8)
    mixed = factor * np.array(hair)
    if name == "Blond_Hair":
        mixed = 0.5 * mixed + 0.5 * brown
    return rgb(mixed * rng.uniform(0.85, 1.15))


def draw_iris_color(rng: np.random.Generator, melanin: float, hair: str) -> RGB:
    """Brown, or with fair skin sometimes blue, grey or green."""
    light = melanin < 0.35 and rng.random() < (0.6 if hair in ("Blond_Hair", "auburn") else 0.35)
    low, high = np.array(IRISES["light" if light else "dark"], float)
    return linear_rgb(low + (high - low) * rng.random())


def draw_lipstick_color(rng: np.random.Generator, lips: RGB) -> RGB:
    """A lipstick; one in five is nude: near the wearer's own `lips`."""
    if rng.random() < 0.2:
        return rgb(np.clip(np.array(lips) * rng.uniform(0.85, 1.25, 3) * (1.1, 0.9, 0.9), 0, 1))
    return pick_tone(rng, LIPSTICKS)


def pick_tone(rng: np.random.Generator, tones: tuple[tuple[int, int, int], ...]) -> RGB:
    """One of `tones` (sRGB, 0 .. 255), a little darker or lighter."""
    return linear_rgb(np.array(tones[int(rng.integers(len(tones)))]) * rng.uniform(0.85, 1.1))


def draw_cloth_color(rng: np.random.Generator) -> RGB:
    """Cloth: greys and dark colours more often than bright ones."""
    gray = rng.uniform(20, 225)
    saturation = rng.beta(1.2, 2.5)
    return linear_rgb(gray * (1 - saturation) + saturation * rng.uniform(10, 230, size=3))


def linear_rgb(srgb: np.ndarray) -> RGB:
    """sRGB in 0 .. 255 to linear RGB in [0, 1], by the power 2.2."""
    return rgb(np.clip(srgb / 255, 0, 1) ** 2.2)


def rgb(values: np.ndarray) -> RGB:
    """Three numbers as a tuple of plain floats."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def choose(rng: np.random.Generator, shares: Mapping[str, float]) -> Any:
    """A key, drawn with its share of the sum; Any, since it is one of a field's literals."""
    total = sum(shares.values())
    return str(rng.choice(list(shares), p=[share / total for share in shares.values()]))


def clipped_normal(
    rng: np.random.Generator, mean: float, deviation: float, low: float, high: float
) -> float:
    return float(np.clip(rng.normal(mean, deviation), low, high))


# sRGB of evenly lit skin, by melanin from none to most.
MELANIN = (0.0, 0.15, 0.35, 0.55, 0.75, 0.9, 1.0)
TONES = (
    (230, 194, 177), (220, 176, 150), (203, 155, 122), (168, 117, 83), (124, 81, 55),
    (88, 56, 40), (64, 41, 31),
)  # fmt: skip


def _srgb_to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB values in [0, 1] to linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def skin_tone(melanin: float, redness: float = 0.4) -> np.ndarray:
    """Linear albedo (3,) float32 of the skin of a forehead.

    Args:
        melanin: 0 very pale .. 1 very dark.
        redness: 0 sallow .. 1 ruddy.
    """
    tone = np.array([np.interp(melanin, MELANIN, channel) for channel in zip(*TONES, strict=True)])
    ruddy = redness - 0.4
    tint = np.array([1 + 0.02 * ruddy, 1 - 0.10 * ruddy, 1 - 0.06 * ruddy])
    return (_srgb_to_linear(tone / 255) * tint).astype(np.float32)


def lip_color(tone: np.ndarray, depth: float) -> np.ndarray:
    """Linear albedo (3,) of bare lips on skin of a tone (3,).

    Args:
        tone: from `skin_tone`.
        depth: 0 hardly redder than the skin .. 1 deep red.
    """
    faint, deep = np.array([0.90, 0.70, 0.69]), np.array([0.72, 0.36, 0.38])
    # Where melanin darkens the skin, lips are pinker than it.
    pink = depth * max(0.0, 0.35 - float(tone[0])) * np.array([0.20, 0.06, 0.07])
    return np.asarray(tone * (faint + (deep - faint) * depth) + pink, np.float32)


LOOKS_AWAY, LOOKS_DOWN = 0.06, 0.06  # shares of images
SMILING = 0.5  # strength from which an open mouth shows its teeth


def draw_skin(rng: np.random.Generator, male: bool) -> Skin:
    """A person's skin; `docs/synthetic.md` has the distributions."""
    shaded = rng.random() < 0.25
    blemished = rng.random() < 0.15
    return Skin(
        pores=clipped_normal(rng, 0.5 if male else 0.35, 0.2, 0, 1),
        shine=float(rng.beta(1.6, 2.0)),
        moles=float(rng.beta(1.0, 3.0)),
        blemishes=float(rng.uniform(0.3, 1.0)) if blemished else 0.0,
        mouth_shade=float(rng.uniform(0.3, 1.0)) if shaded else float(rng.uniform(0, 0.15)),
        lip_depth=clipped_normal(rng, 0.15 if male else 0.85, 0.2, 0, 1),
        smile_folds=float(rng.beta(1.3, 1.8 if male else 2.4)),
        teeth=float(rng.beta(3.0, 1.6)),
    )


def draw_expression(
    rng: np.random.Generator, smile: float, mouth_open: bool, sure: frozenset[str]
) -> Expression:
    """An expression with a smile of strength 0 .. 1; nothing hides the forced attributes `sure`.

    Lips that part in a smile mostly bare the teeth, else the jaw drops.
    """
    grin = jaw_open = 0.0
    if mouth_open and smile >= SMILING:
        grin = float(rng.uniform(0.55, 1.0))
        jaw_open = float(0.05 + 0.28 * rng.beta(1.0, 3.0))
    elif mouth_open:
        grin = float(rng.uniform(0.0, 0.5))
        jaw_open = float(0.10 + 0.33 * rng.beta(1.2, 2.4))
    gaze = np.clip(rng.normal((0, -1), (7, 4)), -18, 9)
    chance, eyes_needed = rng.random(), bool(sure & {"Narrow_Eyes", "Bags_Under_Eyes"})
    blink = rng.uniform(0.0, 0.08)
    if chance < LOOKS_AWAY:
        gaze[0] = rng.choice((-1, 1)) * rng.uniform(18, 30)
    elif chance < LOOKS_AWAY + LOOKS_DOWN and not eyes_needed:
        gaze[1] = -rng.uniform(14, 26)
        blink = rng.uniform(0.1, 0.9)
    pouts = smile < 0.1 and not mouth_open and rng.random() < 0.05
    return Expression(
        smile=smile,
        grin=grin,
        jaw_open=jaw_open,
        brow_raise=clipped_normal(rng, 0.12, 0.16, -0.2, 0.6),
        squint=float(np.clip(0.3 * smile * rng.random() + rng.uniform(0, 0.15), 0, 1)),
        blink=float(blink),
        pucker=float(rng.uniform(0.2, 0.5)) if pouts else 0.0,
        gaze=(float(gaze[0]), float(gaze[1])),
    )


def draw_makeup(
    rng: np.random.Generator,
    person: Person,
    drawn: Mapping[str, Any],
    strength: Callable[[str], float],
) -> Makeup:
    """Make-up with the attributes `drawn`, whose strengths `strength` draws by name."""
    heavy = strength("Heavy_Makeup")
    # Who wears lipstick mostly wears some mascara: that alone is no heavy makeup.
    light = rng.uniform(0.0, 0.6) if drawn["Wearing_Lipstick"] else 0.0
    skin = skin_tone(person.melanin, person.skin_redness)
    lips = rgb(lip_color(skin, person.skin.lip_depth))
    # Women's own lashes are darker and longer, too: eyes and lips stand out more from their skin
    # than men's (Russell, Perception 38, 2009).
    own = 0.0 if person.male else rng.uniform(0.35, 0.75)
    winged = drawn["Heavy_Makeup"] and rng.random() < 0.4
    return Makeup(
        lipstick=strength("Wearing_Lipstick"),
        lipstick_color=draw_lipstick_color(rng, lips),
        lip_gloss=float(rng.beta(1.0, 1.6)),
        eyeshadow=heavy,
        eyeshadow_color=pick_tone(rng, EYESHADOWS),
        eyeliner=float(np.clip(max(heavy * rng.uniform(0.5, 1.2), light), 0, 1)),
        wing=float(rng.uniform(0.3, 1.0)) if winged else 0.0,
        lashes=float(np.clip(max(heavy * rng.uniform(0.4, 1.2), light, own), 0, 1)),
        blush=strength("Rosy_Cheeks"),
        foundation=float(np.clip(heavy * rng.uniform(0.6, 1.1), 0, 1)),
        contour=float(heavy * rng.uniform(0.0, 1.0)),
    )


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
    color = draw_hair_color(rng, name, 0.0 if sure & set(HAIR_COLOR_NAMES) else DOUBTFUL)
    style = _draw_style(rng, drawn, sure)
    bangs = strength("Bangs")
    high = rng.normal((0.1 if style in TIED else 0.0) - (0.0 if male else 0.1), 0.35)
    thin = rng.random() < 0.04 + (0.3 if male else 0.12) * old
    tips, streaks = _dye(rng, name, color, style, male, sure)
    pencilled = not male and rng.random() < 0.35
    return Hair(
        style=style,
        color=color,
        wave=_draw_wave(rng, drawn, sure),
        receding=strength("Receding_Hairline"),
        bangs=bangs,
        parting=0.0 if rng.random() < 0.25 else float(rng.uniform(-1, 1)),
        volume=float(rng.beta(2.0, 2.2)),
        sideburns=strength("Sideburns"),
        brow_thickness=strength("Bushy_Eyebrows"),
        brow_arch=strength("Arched_Eyebrows"),
        brow_color=draw_brow_color(rng, name, color),
        brow_length=clipped_normal(rng, 0.5, 0.22, 0, 1),
        brow_angle=clipped_normal(rng, -0.05 if male else 0.1, 0.35, -1, 1),
        brow_gap=clipped_normal(rng, 0.45 if male else 0.5, 0.22, 0, 1),
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
    tips = rgb(np.clip((np.array(color) + 0.012) * factor * tint, 0, 0.65))
    return tips, float(rng.uniform(0.1, 0.5)) if rng.random() < 0.5 else 0.0


def _draw_style(rng: np.random.Generator, drawn: Mapping[str, Any], sure: frozenset[str]) -> Any:
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
    return choose(rng, shares)


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
