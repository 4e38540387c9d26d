"""Children, whom no population draws: made of its adults."""

from __future__ import annotations

from dataclasses import replace

from far_keras.synthetic.parameters import Beard, Makeup, Person, Shot, Skin

__all__ = ["OLDEST", "YOUNGEST", "as_child"]

YOUNGEST, OLDEST = 6.0, 10.0  # years
_BROWN = (0.07, 0.035, 0.017)  # linear RGB


def as_child(person: Person, shot: Shot, age: float = YOUNGEST) -> tuple[Person, Shot]:
    """A person and their image as a child: no beard, no make-up, no grey or thinning hair.

    Args:
        person: An adult.
        shot: An image of them.
        age: Years, `YOUNGEST` .. `OLDEST`.
    """
    face = replace(
        person.face, masculinity=0.2, weight=0.5, nose_size=-0.5, eye_bags=0.0, double_chin=0.0
    )
    style = "short" if person.hair.style in ("bald", "afro", "updo") else person.hair.style
    # Grey is what has hardly a colour and is not black.
    grey = min(person.hair.color) > 0.6 * max(person.hair.color) > 0.06
    color = _BROWN if grey else person.hair.color
    hair = replace(
        person.hair,
        style=style,
        color=color,
        brow_color=color,
        receding=0.0,
        thinning=0.0,
        sideburns=0.0,
        brow_thickness=0.2,
    )
    child = replace(person, age=age, face=face, hair=hair, beard=Beard(), skin=Skin(pores=0.0))
    return child, replace(shot, makeup=Makeup())
