"""What a model says about faces that it was not made for, shown on rendered stand-ins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from far_keras.files import atomic_path
from far_keras.recognition.recognizer import Recognizer
from far_keras.recognition.results import FaceResult
from far_keras.synthetic.children import as_child
from far_keras.synthetic.negatives import DRAWINGS, STATUES, drawing, statue
from far_keras.synthetic.parameters import Occluder, Person, Shot
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render

__all__ = ["STAND_INS", "StandInFigures", "draw_stand_ins", "measure_stand_ins"]

PICTURES = 24  # of each kind
SEED = 90_000  # no data set is rendered with it
_COLUMNS = 6


@dataclass(frozen=True)
class StandInFigures:
    """What was said about the faces of one kind.

    Args:
        kind: A key of `STAND_INS`.
        images: How many were shown.
        found: In how many a face was found.
        boldness: Mean over faces and decided attributes of how far the certainty is from one
            half, times two: 0 undecided .. 1 sure. None if nothing was decided.
        decided: Mean share of attributes that were decided, see `FaceResult.decisions`. None if no
            face was found.
        not_visible: By group, in how many faces it was called not visible.
        examples: The first images, uint8 RGB (218, 178, 3), each with what was said, None if no
            face was found.
    """

    kind: str
    pictures: int
    found: int
    boldness: float | None
    decided: float | None
    not_visible: dict[str, int]
    examples: list[tuple[np.ndarray, FaceResult | None]]


def _ordinary(person: Person, shot: Shot) -> np.ndarray:
    return render(person, shot).image


def _masked(person: Person, shot: Shot) -> np.ndarray:
    return render(person, replace(shot, occluder=Occluder("mask", nearness=0.9))).image


def _profile(person: Person, shot: Shot) -> np.ndarray:
    return render(person, replace(shot, camera=replace(shot.camera, yaw=80.0))).image


def _child(person: Person, shot: Shot) -> np.ndarray:
    return render(*as_child(person, shot)).image


def _statue(person: Person, shot: Shot) -> np.ndarray:
    rng = np.random.default_rng(person.identity)
    return statue(render(person, shot), str(rng.choice(list(STATUES))), rng)


def _drawing(person: Person, shot: Shot) -> np.ndarray:
    rng = np.random.default_rng(person.identity)
    return drawing(render(person, shot), str(rng.choice(DRAWINGS)), rng)


STAND_INS: dict[str, Callable[[Person, Shot], np.ndarray]] = {
    "ordinary face": _ordinary,
    "masked face": _masked,
    "child": _child,
    "statue": _statue,
    "drawing": _drawing,
    "profile": _profile,
}
"""By kind, what turns a person and a shot into an image; the first is there to compare with."""


def measure_stand_ins(model: str | Path) -> list[StandInFigures]:
    """Shows a model `PICTURES` rendered stand-ins of each kind, of the same people.

    Args:
        model: Folder of a trained model.
    """
    people = list(_people(PICTURES))
    figures = []
    with Recognizer.load(model, sensitive=True) as recognizer:
        for kind, draw in STAND_INS.items():
            pictures = [draw(person, shot) for person, shot in people]
            said = [result.faces[:1] for result in recognizer(pictures)]
            faces = [face[0] if face else None for face in said]
            figures.append(_figures(kind, pictures, faces))
    return figures


def _people(count: int) -> Iterator[tuple[Person, Shot]]:
    population, identity = Population(SEED), 0
    while count:
        identity += 1
        subject = population.identity(identity)
        if subject.person is None:
            continue
        count -= 1
        shot = subject.shots[0]
        sharp = replace(shot.camera, blur=0.0)
        yield subject.person, replace(shot, occluder=None, border=None, camera=sharp)


def _figures(
    kind: str, pictures: list[np.ndarray], faces: list[FaceResult | None]
) -> StandInFigures:
    found = [face for face in faces if face is not None]
    sure = [
        abs(2 * face.certainty(name) - 1)
        for face in found
        for name, decision in face.decisions.items()
        if decision is not None
    ]
    asked = sum(len(face.decisions) for face in found)
    return StandInFigures(
        kind,
        len(pictures),
        len(found),
        float(np.mean(sure)) if sure else None,
        len(sure) / asked if asked else None,
        dict(Counter(group for face in found for group in face.not_visible).most_common()),
        list(zip(pictures, faces, strict=True))[:_COLUMNS],
    )


def draw_stand_ins(figures: list[StandInFigures], path: str | Path) -> Path:
    """Draws examples of each kind, a row a kind, with what was said.

    Args:
        figures: From `measure_stand_ins`.
        path: Of the image; the ending chooses the format, such as ``.jpg``.
    """
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(1.9 * _COLUMNS, 3.0 * len(figures)), layout="constrained")
    places = canvas.subplots(len(figures), _COLUMNS, squeeze=False)
    for row, figure in zip(places, figures, strict=True):
        for axes in row:
            axes.axis("off")
        for axes, (picture, face) in zip(row, figure.examples, strict=False):
            axes.imshow(picture)
            axes.set_title(_caption(figure.kind, face), fontsize=7)
    path = Path(path)
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, format=path.suffix[1:], dpi=100)
    return path


def _caption(kind: str, face: FaceResult | None) -> str:
    if face is None:
        return f"{kind}\nno face found"
    if face.is_child:
        return f"{kind}\na child's proportions:\nnothing decided"
    decided: list[tuple[str, Any]] = [(n, d) for n, d in face.decisions.items() if d is not None]
    yes = sorted((n for n, d in decided if d), key=lambda name: -face.certainty(name))[:3]
    return "\n".join((kind, *yes, "not visible:", _named(face)))


def _named(face: FaceResult) -> str:
    unseen = face.not_visible
    if unseen and len(unseen) == len(face.groups):
        return "anything"
    more = f" and {len(unseen) - 2} more" if len(unseen) > 3 else ""
    return ", ".join(unseen[: 2 if more else 3]) + more or "nothing"
