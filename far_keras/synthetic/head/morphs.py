"""Weights of the mesh's morph targets for a person and an expression; the fit of the eyelids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from far_keras.synthetic.head.mesh import HeadMesh, load_head
from far_keras.synthetic.parameters import Expression, Face, Person

__all__ = [
    "ANCESTRIES",
    "expression_weights",
    "lid_opening",
    "lid_rims",
    "morph",
    "old_fraction",
    "shape_weights",
]

# Points of the lids' edges on the rest head's eye at x > 0, from the nose outwards.
UPPER = (
    *((0.202, 7.288, 1.380), (0.235, 7.310, 1.395), (0.272, 7.323, 1.406), (0.311, 7.332, 1.411)),
    *((0.349, 7.330, 1.408), (0.384, 7.324, 1.401), (0.410, 7.317, 1.390), (0.428, 7.307, 1.379)),
    (0.439, 7.287, 1.358),
)
LOWER = (
    *((0.202, 7.280, 1.375), (0.210, 7.255, 1.380), (0.241, 7.248, 1.392), (0.276, 7.243, 1.399)),
    *((0.311, 7.240, 1.405), (0.352, 7.241, 1.402), (0.386, 7.248, 1.387), (0.409, 7.257, 1.377)),
    (0.430, 7.271, 1.361),
)
UPPER_MIDDLE, LOWER_MIDDLE = 3, 4

# As shares of the distance between the eyes' centres; a man's fissure measures 30 by 10 mm of 63.
OPENING = ((-1.1, -0.6, -0.2, 0.6, 1.2), (0.086, 0.110, 0.146, 0.182, 0.205))
WIDTH = 0.415
ABOVE = 0.48  # share of the opening above the eyeball's centre
HEIGHTS = ("eye-height1", "eye-height2", "eye-height3")


def lid_opening(person: Person) -> float:
    """Height of the relaxed eye's opening, as a share of the distance between the eyes' centres.

    `Face.eye_opening` decides whether eyes are narrow; age takes a little from everyone.
    """
    sag = 0.022 * min(max((person.age - 40) / 30, 0.0), 1.0)
    feminine = 0.044 * (1 - person.face.masculinity) - 0.008
    return float(np.interp(person.face.eye_opening, *OPENING)) + feminine - sag


@lru_cache(maxsize=1)
def lid_rims() -> np.ndarray:
    """(2, 2, 9) int: vertices along the lids' edges: eye (x < 0 first), edge, nose to temple."""
    vertices = load_head().vertices

    def nearest(point: tuple[float, float, float], side: int) -> int:
        return int(np.argmin(np.linalg.norm(vertices - np.array(point) * (side, 1, 1), axis=1)))

    rims = (UPPER, LOWER)
    return np.array([[[nearest(p, side) for p in rim] for rim in rims] for side in (-1, 1)])


@lru_cache(maxsize=1)
def _measures() -> tuple[np.ndarray, np.ndarray]:
    """Four measures of each eye, (2, 4), and their change by each morph target (targets, 2, 4).

    Height of the upper and of the lower edge above the eyeball's centre, length of the fissure,
    and distance of the eyeball's centre from the middle of the face.
    """
    mesh = load_head()
    every = np.concatenate([mesh.vertices[None], mesh.target_deltas]).astype(np.float64)
    rows = []
    for side, eye, (upper, lower) in zip((-1, 1), mesh.eye_vertices, lid_rims(), strict=True):
        center = every[:, eye].mean(1)
        above = every[:, upper[UPPER_MIDDLE], 1] - center[:, 1]
        below = every[:, lower[LOWER_MIDDLE], 1] - center[:, 1]
        width = side * (every[:, upper[-1], 0] - every[:, upper[0], 0])
        rows.append(np.stack([above, below, width, side * center[:, 0]], axis=1))
    values = np.stack(rows, axis=1)
    return values[0], values[1:]


def fit_lids(mesh: HeadMesh, weights: Mapping[str, float], person: Person) -> dict[str, float]:
    """Weights to add to a whole shape at rest, so that its eyes get their own width and opening.

    The mesh's men and old people would squint: their shapes press the lids together.
    """
    rest, change = _measures()
    number = mesh.target_number
    value = rest + sum(weight * change[number[name]] for name, weight in weights.items())
    distance = float(value[:, 3].sum())
    opening = lid_opening(person) * distance
    own = np.random.default_rng([person.face.variation_seed, 3]).normal(0, 0.035)
    share = WIDTH + 0.035 * (1 - person.face.masculinity)
    width = share * (1 + float(np.clip(own, -0.07, 0.07))) * distance
    added: dict[str, float] = {}
    for eye, (prefix, suffix) in enumerate((("r-", "Right"), ("l-", "Left"))):
        wider = width - value[eye, 2]
        name = f"{prefix}eye-scale-{'incr' if wider > 0 else 'decr'}"
        scale = change[number[name], eye]
        added[name] = wider / scale[2]
        upper = ABOVE * opening - value[eye, 0] - added[name] * scale[0]
        lower = (ABOVE - 1) * opening - value[eye, 1] - added[name] * scale[1]
        lift = 0.0
        if lower > 0:
            squint = change[number[f"eyeSquint{suffix}"], eye]
            added[f"eyeSquint{suffix}"] = lower / squint[1]
        else:
            both = sum(change[number[f"{prefix}{height}-incr"], eye] for height in HEIGHTS)
            added |= {f"{prefix}{height}-incr": lower / both[1] for height in HEIGHTS}
            lift = lower / both[1] * both[0]
        rise = upper - lift
        lid = f"eyeWide{suffix}" if rise > 0 else f"eyeBlink{suffix}"
        added[lid] = rise / change[number[lid], eye, 0]
    return added


ANCESTRIES = ("caucasian", "african", "asian")
# Small differences between people that no attribute describes: deviations of morph targets.
VARIATIONS = {
    "nose": {"hump": 0.3, "scale-vert": 0.25, "scale-depth": 0.2, "curve": 0.25, "flaring": 0.25},
    "mouth": {"scale-horiz": 0.3, "trans": 0.2, "cupidsbow": 0.4},
    "chin": {"height": 0.2, "width": 0.35, "prominent": 0.3, "cleft": 0.3},
    "forehead": {"scale-vert": 0.25, "temple": 0.3},
    "head": {"scale-horiz": 0.15, "scale-vert": 0.12, "back-scale-depth": 0.3},
    "eyebrows": {"trans": 0.2, "angle": 0.25},
    "eye": {"trans": 0.15, "corner1": 0.3, "corner2": 0.3, "eyefold": 0.4},
    "cheek": {"inner": 0.3},
    "ear": {"scale": 0.3, "wing": 0.3, "lobe": 0.4},
}
PAIRED = ("eye", "cheek", "ear")  # the same on both sides of the face
OPPOSITES = (
    *(("incr", "decr"), ("up", "down"), ("convex", "concave")),
    *(("in", "out"), ("forward", "backward")),
)
ASYMMETRIES = ("brown", "cheek", "eye", "jaw", "mouth", "nose")
ASYMMETRY = 0.25
# Age in years, and how far a face has changed from a young to a very old one.
AGING = ((30, 39, 48, 58, 75), (0.0, 0.1, 0.65, 1.0, 1.3))

Weights = defaultdict[str, float]


def old_fraction(age: float) -> float:
    """How far a face of this age (years) has changed from 30 to a very old face, 0 .. 1.3."""
    return float(np.interp(age, *AGING))


def _signed(weights: Weights, known: Mapping[str, int], name: str, strength: float) -> None:
    """Adds a signed strength to the pair of opposite targets that share `name`.

    Stems with several pairs, such as "eye-trans", mean the first of `OPPOSITES`; a full name, such
    as "eye-trans-out", means its own pair, and negative strengths its opposite.
    """
    stem, _, end = name.rpartition("-")
    for plus, minus in OPPOSITES:
        if end in (plus, minus):
            opposite = minus if end == plus else plus
            weights[name if strength > 0 else f"{stem}-{opposite}"] += abs(strength)
            return
    for plus, minus in OPPOSITES:
        if f"{name}-{plus}" in known:
            weights[f"{name}-{plus if strength > 0 else minus}"] += abs(strength)
            return
    raise KeyError(f"{name}: expected the stem of two opposite morph targets.")


def _base_shape(weights: Weights, face: Face, age: float) -> None:
    """Ancestry, sex, age and weight: the mesh's macro targets, each set's weights sum to 1."""
    old = min(old_fraction(age), 1.0)
    male = face.masculinity
    muscle = 0.5 * male
    stout = max(0.0, face.weight - 0.5) * 2
    thin = max(0.0, 0.5 - face.weight) * 2
    sizes = (("maxweight", stout), ("averageweight", 1 - stout - thin), ("minweight", thin))
    for sex, sex_weight in (("male", male), ("female", 1 - male)):
        for stage, stage_weight in (("young", 1 - old), ("old", old)):
            share = sex_weight * stage_weight
            for ancestry, part in zip(ANCESTRIES, face.ancestry, strict=True):
                weights[f"{ancestry}-{sex}-{stage}"] += share * part
            for build, build_weight in (("averagemuscle", 1 - muscle), ("maxmuscle", muscle)):
                for size, amount in sizes:
                    name = f"universal-{sex}-{stage}-{build}-{size}"
                    weights[name] += share * build_weight * amount


def _sex_traits(face: Face) -> dict[str, float]:
    """What makes a face a man's or a woman's beyond the macro targets; signed strengths."""
    m = 2 * face.masculinity - 1  # -1 feminine .. 1 masculine
    man, woman = max(m, 0.0), 1.35 * max(-m, 0.0)
    return {
        "chin-width": 0.5 * man - 0.7 * woman,
        "chin-prominent": 0.35 * man,
        "chin-bones": 0.6 * man - 0.6 * woman,
        "forehead-nubian": -0.25 * man + 0.25 * woman,
        "forehead-trans": -0.3 * man,
        "eyebrows-trans": -0.6 * man - 0.4 * woman,
        # The mesh's men have longer faces and closer eyes than people have.
        "head-scale-vert": -0.22 * man,
        "eye-trans-out": 0.05 + 0.3 * man,
        "chin-height": 0.05 * man,
        "mouth-trans": 0.05 + 0.3 * man,
        "eye-corner2": 0.25 * woman,
        "nose-scale-horiz": 0.35 * man - 0.7 * woman,
        "nose-volume": -0.45 * woman,
        "nose-scale-depth": 0.15 * man - 0.15 * woman,
        "nose-hump": 0.3 * man - 0.1 * woman,
        "nose-curve": 0.15 * man - 0.1 * woman,
        "mouth-upperlip-height": -0.3 * man + 0.36 * woman,
        "mouth-lowerlip-height": -0.25 * man + 0.36 * woman,
        "cheek-bones": 0.2 * woman,
        "cheek-volume": -0.3 * woman,
        "mouth-scale-horiz": 0.2 * man - 0.1 * woman,
        "nose-scale-vert": -0.3 * woman,
        "ear-scale": -0.12 * woman,
        "measure-neck-height": -0.2 - 0.65 * man,
        "neck-scale-horiz": 0.7 * man - 0.5 * woman,
        "neck-scale-depth": 0.4 * man - 0.2 * woman,
    }


def _age_traits(face: Face, age: float) -> dict[str, float]:
    """Sagging, thinner lips, longer nose and ears: what years do beyond the macro targets."""
    old = old_fraction(age)
    # Noses, ears and brows coarsen in men only; otherwise a model trained on photographs takes
    # every second old woman for a man.
    coarse = old * face.masculinity
    return {
        "head-age": 1.4 * old - 0.15,
        "mouth-upperlip-height": -0.1 * old - 0.3 * coarse,
        "mouth-lowerlip-height": -0.05 * old - 0.3 * coarse,
        "mouth-angles": 0.15 - 0.25 * old - 0.2 * coarse,
        "nose-scale-vert": 0.15 * coarse,
        "nose-point": -0.2 * coarse,
        "neck-double": 0.35 * old,
        "cheek-trans": -1.0 * old,
        "cheek-volume": -1.0 * old * (1 - face.weight),
        "eye-bag": (0.2 + 0.4 * face.masculinity) * old,
        "eye-eyefold": -0.2 * old,
        "eyebrows-trans": -0.3 * coarse,
        "ear-scale": 0.35 * coarse,
        "ear-lobe": 0.5 * coarse,
    }


def _childhood(age: float) -> dict[str, float]:
    """Large eyes and forehead, small nose and chin: below 18 years, whom no population draws."""
    young = min(max((18.0 - age) / 12.0, 0.0), 1.0)
    return {
        "head-age": -1.1 * young,
        "head-fat": 0.35 * young,
        "eye-scale": 1.0 * young,
        "forehead-scale-vert": 0.6 * young,
        "nose-scale-vert": -0.8 * young,
        "nose-volume": -0.4 * young,
        "chin-height": -0.7 * young,
        "chin-width": -0.4 * young,
        "cheek-volume": 0.8 * young,
        "neck-scale-horiz": -0.6 * young,
    }


def _stated_traits(face: Face) -> dict[str, float]:
    """The parameters of `Face` that stand for attributes."""
    return {
        "nose-scale-horiz": 0.8 * face.nose_size,
        "nose-volume": 0.6 * face.nose_size,
        "nose-width2": 0.6 * face.nose_size,
        "nose-point-width": -face.nose_point,
        "nose-base": 0.3 * face.nose_point,
        "mouth-upperlip-height": 0.5 * face.lip_volume,
        "mouth-lowerlip-height": 0.5 * face.lip_volume,
        "mouth-upperlip-volume": 0.55 * face.lip_volume,
        "mouth-lowerlip-volume": 0.55 * face.lip_volume,
        "cheek-bones": face.cheekbones,
        "cheek-volume": 0.7 * face.cheek_volume,
        "eye-bag": 1.8 * face.eye_bags,
        "neck-double": 1.6 * face.double_chin,
        "head-fat": 0.5 * max(0.0, face.weight - 0.6) / 0.4,
    }


def _variation(face: Face) -> dict[str, float]:
    """This person's own small differences."""
    rng = np.random.default_rng(face.variation_seed)
    return {
        f"{part}-{name}": deviation * float(np.clip(rng.normal(), -1.8, 1.8))
        for part, spread in VARIATIONS.items()
        for name, deviation in spread.items()
    }


def _asymmetry(weights: Weights, mesh: HeadMesh, face: Face) -> None:
    rng = np.random.default_rng([face.variation_seed, 1])
    for part in ASYMMETRIES:
        names = [name for name in mesh.target_names if name.startswith(f"asym-{part}-")]
        for name in rng.choice(names, min(2, len(names)), replace=False):
            weights[str(name)] += ASYMMETRY * float(rng.random())


def shape_weights(mesh: HeadMesh, person: Person) -> dict[str, float]:
    """Morph weights of a person's face at rest, by target name."""
    face, known = person.face, mesh.target_number
    weights: Weights = defaultdict(float)
    _base_shape(weights, face, person.age)
    total: Weights = defaultdict(float)
    for traits in (
        _sex_traits(face),
        _age_traits(face, person.age),
        _childhood(person.age),
        _stated_traits(face),
        _variation(face),
    ):
        for name, strength in traits.items():
            total[name] += strength
    for name, strength in total.items():
        sides = ("l-", "r-") if name.split("-")[0] in PAIRED else ("",)
        for side in sides:
            _signed(weights, known, side + name, strength)
    outline = "head-oval" if face.outline == "oval" else f"head-{face.outline}"
    # A woman's outline is softer.
    weights[outline] += (0.2 + 0.12 * face.masculinity) if face.outline != "oval" else 0.0
    weights["head-oval"] += 0.9 * face.oval
    _asymmetry(weights, mesh, face)
    for name, value in fit_lids(mesh, weights, person).items():
        weights[name] += value
    return {name: value for name, value in weights.items() if value}


def expression_weights(expression: Expression, opening: float = 0.15) -> dict[str, float]:
    """Morph weights of an expression, by target name; a neutral face is relaxed, not frowning.

    `opening` is that of the relaxed eyes, from `lid_opening`: narrow ones have less to close.
    """
    e = expression
    both = {
        "mouthSmile": e.smile,
        "mouthDimple": 0.1 * e.smile,
        "mouthUpperUp": 0.1 * e.smile + 0.95 * e.grin,
        "mouthLowerDown": 0.5 * e.grin,
        "cheekSquint": 0.5 * e.smile,
        "eyeLookDown": max(0.0, -e.gaze[1]) / 25,
        "eyeLookUp": max(0.0, e.gaze[1]) / 25,
        "eyeSquint": 0.18 * e.smile + 0.5 * e.squint,
        # Lids follow the gaze; the mesh turns no eyeballs.
        "eyeBlink": opening / 0.18 * min(1.0, e.blink + 0.025 * max(0.0, -e.gaze[1] - 4)),
        "eyeWide": 0.35 * max(0.0, e.brow_raise),
        "browDown": max(0.0, -e.brow_raise),
        "browOuterUp": max(0.0, e.brow_raise),
    }
    weights = {f"{name}{side}": value for name, value in both.items() for side in ("Left", "Right")}
    weights["browInnerUp"] = 0.2 + 0.8 * max(0.0, e.brow_raise)
    weights["jawOpen"] = e.jaw_open
    # Drawn back, lips are stretched thin.
    weights["mouthRollUpper"] = 0.1 * e.grin
    weights["mouthRollLower"] = 0.1 * e.grin
    weights["mouthPucker"] = e.pucker
    return {name: value for name, value in weights.items() if value}


def morph(mesh: HeadMesh, weights: Mapping[str, float]) -> np.ndarray:
    """The mesh's vertices (N, 3) float32 with weighted targets added; linear in the weights.

    Raises:
        KeyError: a weight's name is not a target of the mesh.
    """
    rows = [mesh.target_number[name] for name in weights]
    values = np.array(list(weights.values()), np.float32)
    flat = mesh.target_deltas.reshape(len(mesh.target_names), -1)
    moved = values @ flat[rows] if rows else np.zeros(mesh.vertices.size, np.float32)
    return mesh.vertices + moved.reshape(mesh.vertices.shape)
