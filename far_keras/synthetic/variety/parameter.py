"""One thing that the renderer varies: its name, its values, and where they are set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from far_keras.synthetic.parameters import Person, Shot

__all__ = ["Parameter", "along"]


@dataclass(frozen=True)
class Parameter:
    """One thing that varies, for a contact sheet with a row for each of its values.

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
