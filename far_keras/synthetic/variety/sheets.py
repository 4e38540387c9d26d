"""Draws the contact sheet of each parameter: every row a value, every column a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from far_keras.errors import DatasetError
from far_keras.synthetic.parameters import Background, Camera, Finish, Light, Person, Shot
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render
from far_keras.synthetic.sheet import draw_rows, save_sheet
from far_keras.synthetic.variety.parameter import Parameter
from far_keras.synthetic.variety.people import PEOPLE
from far_keras.synthetic.variety.stage import STAGE

__all__ = ["PARAMETERS", "plain_shots", "write_variety"]

PARAMETERS = {parameter.name: parameter for parameter in (*STAGE, *PEOPLE)}


def plain_shots(parameter: Parameter, people: int, seed: int) -> list[tuple[Person, Shot]]:
    """People with a shot in plain light, seen by a plain camera from the front."""
    population = Population(seed, {"Wearing_Hat": 0, "Eyeglasses": 0, **parameter.force})
    pairs = []
    for identity in range(1, people + 1):
        subject = population.subject(identity)
        assert subject.person is not None
        shot = replace(
            subject.shots[0],
            camera=Camera(),
            light=Light(),
            background=Background(),
            finish=Finish(),
            occluder=None,
            border=None,
        )
        pairs.append((subject.person, shot))
    return pairs


def write_variety(
    directory: str | Path, names: Sequence[str] = (), *, people: int = 6, seed: int = 0
) -> list[Path]:
    """Writes `NAME.png` for each parameter: a row for each value, the same people in each.

    Args:
        directory: Made if it does not exist.
        names: Keys of `PARAMETERS`; all of them if empty.
        people: Columns of a sheet, at least 1.
        seed: Another seed, other people.

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
        rows: dict[str, list[np.ndarray]] = {
            caption: [render(*parameter.applied(caption, *pair)).image for pair in pairs]
            for caption in parameter.values
        }
        files.append(save_sheet(draw_rows(rows), directory / f"{name}.png"))
    return files
