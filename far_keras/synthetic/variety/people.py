"""What varies in a person: skin, expression, make-up, hair, beard, and what is worn."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from far_keras.synthetic.parameters import Accessories, Beard, Hair
from far_keras.synthetic.variety.parameter import Parameter, along

__all__ = ["PEOPLE"]

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
FROM_ENDS = (-1.0, -0.5, 0.0, 0.5, 1.0)
WOMEN, MEN = {"Male": 0}, {"Male": 1}
SHAVEN = {"Male": 1, "No_Beard": 1}
BARE_FOREHEAD = {"Bangs": 0, "Bald": 0}
LIPSTICKS = {
    "red": (0.45, 0.01, 0.03),
    "pink": (0.6, 0.12, 0.2),
    "coral": (0.6, 0.1, 0.06),
    "plum": (0.13, 0.01, 0.06),
    "brown": (0.25, 0.09, 0.06),
    "nude": (0.45, 0.2, 0.15),
}
METALS = {"gold": (0.66, 0.42, 0.12), "silver": (0.58, 0.58, 0.6), "copper": (0.5, 0.25, 0.15)}


def _choices(part: Any, name: str) -> tuple[Any, ...]:
    """The names that a field of a dataclass may have."""
    hint = get_type_hints(part)[name]
    kinds = [kind for kind in get_args(hint) if get_args(kind)]
    return get_args(kinds[0]) if kinds else get_args(hint)


def _worn(name: str, force: dict[str, int], **extra: Any) -> Parameter:
    """A sheet of everything that a field of `Accessories` may be."""
    more = {f"shot.accessories.{key}": value for key, value in extra.items()}
    field = f"shot.accessories.{name}"
    return Parameter(
        name, {str(kind): {field: kind, **more} for kind in _choices(Accessories, name)}, force
    )


def _skin(name: str, force: dict[str, int] | None = None) -> Parameter:
    return along(f"skin_{name}", f"person.skin.{name}", STEPS, force)


def _makeup(name: str) -> Parameter:
    return along(f"makeup_{name}", f"shot.makeup.{name}", STEPS, WOMEN)


def _brow(name: str, values: tuple[float, ...] = STEPS) -> Parameter:
    return along(f"brow_{name}", f"person.hair.brow_{name}", values, BARE_FOREHEAD)


GRIN = {"shot.expression.smile": 0.9, "shot.expression.jaw_open": 0.08}

PEOPLE: tuple[Parameter, ...] = (
    along("melanin", "person.melanin", (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    along("freckles", "person.freckles", STEPS, {"Male": 0}),
    along("age", "person.age", (20.0, 35.0, 50.0, 65.0, 80.0)),
    *(_skin(name) for name in ("pores", "shine", "moles", "blemishes", "lip_depth")),
    _skin("mouth_shade", WOMEN),
    Parameter(
        "skin_smile_folds",
        {str(depth): {**GRIN, "person.skin.smile_folds": depth} for depth in STEPS},
        {"Young": 1},
    ),
    Parameter(
        "skin_teeth",
        {
            str(white): {**GRIN, "shot.expression.grin": 0.9, "person.skin.teeth": white}
            for white in STEPS
        },
    ),
    along("smile", "shot.expression.smile", STEPS),
    Parameter(
        "grin",
        {str(grin): {**GRIN, "shot.expression.grin": grin} for grin in STEPS},
        {"Smiling": 1},
    ),
    along("blink", "shot.expression.blink", STEPS),
    along(
        "gaze",
        "shot.expression.gaze",
        ((-25.0, 0.0), (25.0, 0.0), (0.0, 9.0), (0.0, -12.0), (0.0, -25.0)),
    ),
    *(_makeup(name) for name in ("eyeshadow", "eyeliner", "wing", "lashes", "contour", "blush")),
    Parameter(
        "makeup_lipstick",
        {
            name: {"shot.makeup.lipstick": 0.9, "shot.makeup.lipstick_color": color}
            for name, color in LIPSTICKS.items()
        },
        WOMEN,
    ),
    Parameter(
        "makeup_lip_gloss",
        {
            str(gloss): {"shot.makeup.lipstick": 0.9, "shot.makeup.lip_gloss": gloss}
            for gloss in STEPS
        },
        WOMEN,
    ),
    along("hair_style", "person.hair.style", _choices(Hair, "style")),
    Parameter(
        "hair_cut",
        {
            cut: {"person.hair.style": "short", "person.hair.cut": cut}
            for cut in _choices(Hair, "cut")
        },
        MEN,
    ),
    Parameter(
        "hair_sides",
        {str(sides): {"person.hair.style": "short", "person.hair.sides": sides} for sides in STEPS},
        MEN,
    ),
    along("hair_wave", "person.hair.wave", STEPS, {"Bald": 0}),
    along("hair_volume", "person.hair.volume", STEPS, {"Bald": 0}),
    along("hair_parting", "person.hair.parting", FROM_ENDS, {**WOMEN, **BARE_FOREHEAD}),
    along("hair_fall", "person.hair.fall", STEPS, {**WOMEN, **BARE_FOREHEAD}),
    along("hair_loose", "person.hair.loose", STEPS, {**WOMEN, "Bald": 0}),
    along("hair_bangs", "person.hair.bangs", STEPS, {"Bald": 0}),
    along("hair_hairline", "person.hair.hairline", FROM_ENDS, BARE_FOREHEAD),
    along("hair_receding", "person.hair.receding", STEPS, {**MEN, **BARE_FOREHEAD}),
    along("hair_thinning", "person.hair.thinning", STEPS, {**MEN, **BARE_FOREHEAD}),
    Parameter(
        "hair_tips",
        {
            "none": {"person.hair.tips": None},
            "faded": {"person.hair.tips": (0.45, 0.3, 0.14), "person.hair.streaks": 0.0},
            "streaks": {"person.hair.tips": (0.45, 0.3, 0.14), "person.hair.streaks": 0.4},
            "pink": {"person.hair.tips": (0.5, 0.08, 0.2), "person.hair.streaks": 0.0},
        },
        {**WOMEN, "Bald": 0},
    ),
    *(_brow(name) for name in ("thickness", "arch", "length", "gap", "fill")),
    _brow("angle", FROM_ENDS),
    along("beard_shadow", "person.beard.shadow", STEPS, SHAVEN),
    Parameter(
        "mustache_style",
        {
            style: {"person.beard.mustache": 0.9, "person.beard.mustache_style": style}
            for style in _choices(Beard, "mustache_style")
        },
        SHAVEN,
    ),
    Parameter(
        "goatee_style",
        {
            style: {
                "person.beard.goatee": 0.9,
                "person.beard.length": 0.1,
                "person.beard.goatee_style": style,
            }
            for style in _choices(Beard, "goatee_style")
        },
        SHAVEN,
    ),
    *(
        Parameter(
            f"beard_{name}",
            {
                str(value): {
                    **dict.fromkeys(
                        (f"person.beard.{kind}" for kind in ("mustache", "goatee", "cheeks")), 0.9
                    ),
                    "person.beard.length": 0.12,
                    f"person.beard.{name}": value,
                }
                for value in values
            },
            SHAVEN,
        )
        for name, values in (
            ("length", (0.05, 0.12, 0.25, 0.5)),
            ("patchy", STEPS),
            ("grey", STEPS),
        )
    ),
    _worn("glasses", {}, glasses_size=0.5, lenses="clear"),
    _worn("lenses", {}, glasses="square"),
    along("glasses_size", "shot.accessories.glasses_size", STEPS, {"Eyeglasses": 1}),
    _worn("hat", {}),
    _worn("clothing", WOMEN),
    _worn("pattern", {}),
    _worn("earrings", {**WOMEN, "Wearing_Earrings": 1}),
    Parameter(
        "earring_size",
        {
            str(size): {"person.hair.style": "bun", "shot.accessories.earring_size": size}
            for size in STEPS
        },
        {"Wearing_Earrings": 1},
    ),
    _worn("necklace", {**WOMEN, "Wearing_Necklace": 1}, clothing="scoop"),
    Parameter(
        "jewellery_color",
        {
            name: {"shot.accessories.jewellery_color": color, "person.hair.style": "bun"}
            for name, color in METALS.items()
        },
        {"Wearing_Earrings": 1, "Wearing_Necklace": 1},
    ),
)
