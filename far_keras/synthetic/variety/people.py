"""What varies in a person: skin, face, hair, and what is worn."""

from __future__ import annotations

from typing import get_args, get_type_hints

from far_keras.synthetic.parameters import Hair
from far_keras.synthetic.variety.parameter import Parameter, along

__all__ = ["PEOPLE"]

PEOPLE: tuple[Parameter, ...] = (
    along("hair_style", "person.hair.style", get_args(get_type_hints(Hair)["style"])),
    along("smile", "shot.expression.smile", (0.0, 0.25, 0.5, 0.75, 1.0)),
)
