"""Contact sheets of what the renderer varies: one row per value, one column per person.

python -m research.variety DIR            # every parameter
python -m research.variety DIR yaw hat    # some
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np

from far_keras.errors import DatasetError
from far_keras.synthetic.parameters import (
    Accessories,
    Background,
    Beard,
    Border,
    Camera,
    Finish,
    Hair,
    Light,
    Occluder,
    Person,
    Shot,
)
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.people.staging import BACKGROUNDS, LIGHT_SHARES, draw_light
from far_keras.synthetic.renderer import render
from far_keras.synthetic.sheet import draw_sheet, save_sheet

__all__ = ["PARAMETERS", "Parameter", "along", "plain_shots", "write_variety"]


@dataclass(frozen=True)
class Parameter:
    """One thing that varies, for a contact sheet with one row per value.

    Args:
        name: The sheet's file name without a suffix.
        values: By caption, what is set: paths such as ``"shot.camera.yaw"`` or
            ``"person.hair.style"``, and what each is set to.
        force: Attributes that the people of the sheet have (1) or lack (0), as for `Population`.

    Example:
        >>> Parameter("turn", {"to the left": {"shot.camera.yaw": -30.0}})
        Parameter(name='turn', values={'to the left': {'shot.camera.yaw': -30.0}}, force={})
    """

    name: str
    values: Mapping[str, Mapping[str, Any]]
    force: Mapping[str, int] = field(default_factory=dict)

    def applied(self, caption: str, person: Person, shot: Shot) -> tuple[Person, Shot]:
        """`person` and `shot` with one of the values."""
        for path, value in self.values[caption].items():
            root, *names = path.split(".")
            if root == "person":
                person = _replaced(person, names, value)
            else:
                shot = _replaced(shot, names, value)
        return person, shot


def along(name: str, path: str, values: Iterable[Any], force: Mapping[str, int] | None = None):
    """A parameter that is one field; its values are their own captions."""
    return Parameter(name, {str(value): {path: value} for value in values}, force or {})


def _replaced(part: Any, names: list[str], value: Any) -> Any:
    if not names:
        return value
    inner = _replaced(getattr(part, names[0]), names[1:], value)
    return replace(part, **{names[0]: inner})


def _light(kind: str, example: int) -> dict[str, Any]:
    return {"shot.light": draw_light(np.random.default_rng(example), kind)}


BACKGROUND_KINDS = sorted({kind for shares in BACKGROUNDS.values() for kind in shares})

STAGE: tuple[Parameter, ...] = (
    Parameter("light", {f"{kind}, {n}": _light(kind, n) for kind in LIGHT_SHARES for n in (1, 2)}),
    along("distance", "shot.camera.distance", (4.5, 6.0, 9.0, 14.0, 40.0)),
    along("yaw", "shot.camera.yaw", (-45.0, -30.0, -15.0, 15.0, 30.0, 45.0)),
    Parameter(
        "pose",
        {
            "looks down": {"shot.camera.pitch": -22.0},
            "looks up": {"shot.camera.pitch": 12.0},
            "head to a side": {"shot.camera.roll": 18.0},
            "image left tilted": {"shot.camera.tilt": 2.5},
        },
    ),
    Parameter(
        "background",
        {kind: {"shot.background": Background(kind)} for kind in BACKGROUND_KINDS},  # type: ignore[arg-type]
    ),
    Parameter(
        "background_blur",
        {
            f"{blur} pixels": {"shot.background": Background("people", blur=blur)}
            for blur in (0.6, 2.0, 4.0, 7.0)
        },
    ),
    Parameter(
        "occluder",
        {
            f"{kind}, {nearness}": {"shot.occluder": Occluder(kind, side, nearness)}
            for kind in ("hand", "microphone", "head", "mask")
            for nearness, side in ((0.0, -1.0), (0.5, 1.0), (1.0, -1.0))
        },
    ),
    Parameter(
        "border",
        {
            "repeated, above": {"shot.border": Border("repeated", top=55)},
            "repeated, left": {"shot.border": Border("repeated", left=45)},
            "blank, below": {"shot.border": Border("blank", bottom=40)},
            "mirrored, right": {"shot.border": Border("mirrored", right=25)},
        },
    ),
    along("exposure", "shot.camera.exposure", (0.4, 0.7, 1.0, 1.35, 1.9)),
    along("white_balance", "shot.camera.white_balance", (-1.0, -0.5, 0.5, 1.0)),
    Parameter(
        "blur",
        {
            "out of focus, 0.7": {"shot.camera": Camera(blur=0.7)},
            "out of focus, 2.5": {"shot.camera": Camera(blur=2.5)},
            "moved, 8 pixels": {"shot.camera": Camera(motion=8, motion_angle=20)},
            "half the pixels": {"shot.camera": Camera(resolution=0.5)},
            "a fifth of the pixels": {"shot.camera": Camera(resolution=0.2)},
        },
    ),
    along("noise", "shot.camera.noise", (0.0, 0.009, 0.04)),
    Parameter(
        "finish",
        {
            "contrast 0.8": {"shot.finish": Finish(contrast=0.8)},
            "contrast 1.9": {"shot.finish": Finish(contrast=1.9)},
            "saturation 0.55": {"shot.finish": Finish(saturation=0.55)},
            "saturation 1.4": {"shot.finish": Finish(saturation=1.4)},
            "black and white": {"shot.finish": Finish(saturation=0)},
            "brown": {"shot.finish": Finish(saturation=0, toning=1.0)},
            "haze": {"shot.finish": Finish(fade=0.2)},
            "dark corners": {"shot.finish": Finish(vignette=0.7)},
            "sharpened": {"shot.finish": Finish(sharpening=0.8)},
        },
    ),
)


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


PARAMETERS = {parameter.name: parameter for parameter in (*STAGE, *PEOPLE)}


def plain_shots(parameter: Parameter, people: int, seed: int) -> list[tuple[Person, Shot]]:
    """People with a shot in plain light, seen by a plain camera from the front."""
    population = Population(seed, {"Wearing_Hat": 0, "Eyeglasses": 0, **parameter.force})
    pairs = []
    for number in range(1, people + 1):
        identity = population.identity(number)
        assert identity.person is not None
        shot = replace(
            identity.shots[0],
            camera=Camera(),
            light=Light(),
            background=Background(),
            finish=Finish(),
            occluder=None,
            border=None,
        )
        pairs.append((identity.person, shot))
    return pairs


def write_variety(
    directory: str | Path, names: Sequence[str] = (), *, people: int = 6, seed: int = 0
) -> list[Path]:
    """Writes `NAME.png` for each parameter: one row per value, the same people in each.

    Args:
        directory: Created if it does not exist.
        names: Keys of `PARAMETERS`; all of them if empty.
        people: Columns of a sheet, at least 1.
        seed: Another seed gives other people.

    Returns:
        The files, in the order of the parameters.

    Raises:
        DatasetError: An unknown name, or no people.
    """
    if unknown := [name for name in names if name not in PARAMETERS]:
        raise DatasetError(
            f"variety: expected names among {', '.join(PARAMETERS)}. Received: {', '.join(unknown)}"
        )
    if people < 1:
        raise DatasetError(f"people: expected at least 1. Received: {people!r}")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name in names or PARAMETERS:
        parameter = PARAMETERS[name]
        pairs = plain_shots(parameter, people, seed)
        images, captions = [], []
        for value in parameter.values:
            images += [render(*parameter.applied(value, *pair)).image for pair in pairs]
            captions += [value, *[""] * (people - 1)]
        files.append(save_sheet(draw_sheet(images, captions, people), directory / f"{name}.png"))
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", help=f"all by default; {', '.join(PARAMETERS)}")
    parser.add_argument("--people", type=int, default=6, help="columns (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        print(*write_variety(**vars(options)), sep="\n")
    except DatasetError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
