"""Eyelids: how wide the eyes of a person are, whatever else shapes the face, and where lids end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from far_keras.synthetic.head.mesh import HeadMesh, load_head
from far_keras.synthetic.parameters import Person

__all__ = ["fit_lids", "lid_opening", "lid_rims"]

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

    `Face.eye_opening` alone decides whether eyes are narrow; years take a little from everyone.
    """
    sag = 0.022 * min(max((person.age - 40) / 30, 0.0), 1.0)
    feminine = 0.044 * (1 - person.face.masculinity) - 0.008
    return float(np.interp(person.face.eye_opening, *OPENING)) + feminine - sag


@lru_cache(maxsize=1)
def lid_rims() -> np.ndarray:
    """(2, 2, 9) int: vertices along the lids' edges: eye (x < 0 first), edge, nose to temple."""
    vertices = load_head().vertices
    rims = [
        [
            [
                int(np.argmin(np.linalg.norm(vertices - np.array(p) * (side, 1, 1), axis=1)))
                for p in rim
            ]
            for rim in (UPPER, LOWER)
        ]
        for side in (-1, 1)
    ]
    return np.array(rims)


@lru_cache(maxsize=1)
def _measures() -> tuple[np.ndarray, np.ndarray]:
    """Rest values (2, 5) and their change by each morph target (targets, 2, 5).

    Of each eye: height of the upper and of the lower edge above the eyeball's centre, length of
    the fissure, and the distance of the eyeball's centre from the middle of the face.
    """
    mesh = load_head()
    every = np.concatenate([mesh.vertices[None], mesh.target_deltas]).astype(np.float64)
    rows = []
    for side, eye, (upper, lower) in zip((-1, 1), mesh.eye_vertices, lid_rims(), strict=True):
        center = every[:, eye].mean(1)
        rows.append(
            np.stack(
                [
                    every[:, upper[UPPER_MIDDLE], 1] - center[:, 1],
                    every[:, lower[LOWER_MIDDLE], 1] - center[:, 1],
                    side * (every[:, upper[-1], 0] - every[:, upper[0], 0]),
                    side * center[:, 0],
                ],
                axis=1,
            )
        )
    values = np.stack(rows, axis=1)
    return values[0], values[1:]


def fit_lids(mesh: HeadMesh, weights: Mapping[str, float], person: Person) -> dict[str, float]:
    """Morph weights that give the eyes of a shaped face their own width and opening.

    The mesh's men and old people would squint: their shapes press lids together.

    Args:
        mesh: the head.
        weights: of the whole shape at rest, by target name; left as they are.
        person: whose eyes.

    Returns:
        Weights to add.
    """
    rest, change = _measures()
    number = mesh.target_number
    value = rest + sum(weight * change[number[name]] for name, weight in weights.items())
    distance = float(value[:, 3].sum())
    opening = lid_opening(person) * distance
    own = np.random.default_rng([person.face.variation_seed, 3]).normal(0, 0.035)
    width = (
        (WIDTH + 0.035 * (1 - person.face.masculinity))
        * (1 + float(np.clip(own, -0.07, 0.07)))
        * distance
    )
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
