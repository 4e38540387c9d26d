"""An explanation as a table for the terminal, as JSON and as images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far_keras.evaluation.explain import Explanation
from far_keras.evaluation.explanation_grid import explanation_grid
from far_keras.evaluation.formatting import format_figure, format_signed, plain_figures
from far_keras.files import atomic_path

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["EXPLANATION_FILE", "tables", "to_dict", "write_report"]

EXPLANATION_FILE = "explanation.json"
_TITLES = {"activation": "class activation", "gradient": "gradients by the pixels"}


def tables(explanation: Explanation) -> list[RenderableType]:
    """One table a method, a row a group; for `rich`."""
    from rich.table import Table

    parts: list[RenderableType] = []
    for method in next(iter(explanation.inside.values())):
        table = Table(
            title=f"share of energy inside the group's mask: {_TITLES[method]}",
            title_justify="left",
        )
        table.add_column("group")
        table.add_column("area of\nthe mask", justify="right")
        for name in explanation.inside:
            table.add_column(name, justify="right")
        for name in explanation.differences:
            table.add_column(name.replace(" - ", "\n- "), justify="right")
        for group in (*explanation.groups, "mean"):
            table.add_row(
                group,
                f"{explanation.area[group].value:.3f}",
                *(format_figure(each[method][group]) for each in explanation.inside.values()),
                *(format_signed(each[method][group]) for each in explanation.differences.values()),
            )
        parts.append(table)
    return parts


def to_dict(explanation: Explanation) -> dict[str, Any]:
    """Plain data for JSON; what is undefined is None."""

    def by_method(each: dict) -> dict[str, Any]:
        return {method: plain_figures(figures) for method, figures in each.items()}

    return {
        "data": explanation.data,
        "area": plain_figures(explanation.area),
        "inside": {name: by_method(each) for name, each in explanation.inside.items()},
        "differences": {name: by_method(each) for name, each in explanation.differences.items()},
    }


def write_report(explanation: Explanation, folder: str | Path) -> list[Path]:
    """Writes ``explanation.json`` and a grid ``explanation-METHOD.png`` for each method."""
    folder = Path(folder)
    paths = [folder / EXPLANATION_FILE]
    with atomic_path(paths[0]) as temporary:
        text = json.dumps(to_dict(explanation), indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    if not len(next(iter(explanation.shown.values())).pictures):
        return paths
    kind = "synthetic (rendered) faces" if explanation.data.get("synthetic") else "faces"
    for method in next(iter(explanation.inside.values())):
        title = f"Where the answers come from, by {_TITLES[method]}: {kind}"
        paths.append(folder / f"explanation-{method}.png")
        with atomic_path(paths[-1]) as temporary:
            explanation_grid(explanation, method, title).save(temporary, "PNG")
    return paths
