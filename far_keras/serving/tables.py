"""Answers, versions and signatures as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from rich.table import Table
from rich.text import Text

from far_keras.serving.results import ServedResult, Signature, TensorSpec, VersionStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["attribute_table", "result_tables", "signature_table", "version_table"]


class Answered(Protocol):
    """What a table of attributes is made of; None is the decision about what is not visible."""

    @property
    def probabilities(self) -> Mapping[str, float]: ...

    @property
    def decisions(self) -> Mapping[str, bool | None]: ...

    @property
    def group_of(self) -> Mapping[str, str]: ...

    def certainty(self, attribute: str) -> float: ...


def attribute_table(answer: Answered, title: str | None = None) -> Table:
    """A row a group: what is a yes, and how surely; what is a no; what is not visible."""
    table = Table(title=title, title_justify="left")
    table.add_column("group")
    table.add_column("yes, and how sure")
    table.add_column("no", style="dim")
    unseen = any(decision is None for decision in answer.decisions.values())
    if unseen:
        table.add_column("not visible", style="dim")
    for group in dict.fromkeys(answer.group_of.values()):
        members = [name for name in answer.probabilities if answer.group_of[name] == group]
        if not members:
            continue
        yes = [f"{n} {answer.certainty(n):.0%}" for n in members if answer.decisions[n]]
        no = [n for n in members if answer.decisions[n] is False]
        hidden = [n for n in members if answer.decisions[n] is None]
        cells = ["\n".join(yes), ", ".join(no)] + [", ".join(hidden)] * unseen
        # As Text: in plain strings, rich takes square brackets for its own markup.
        table.add_row(*map(Text, [group, *cells]))
    return table


def result_tables(result: ServedResult) -> list[RenderableType]:
    """A line about the image, then its table."""
    line = Text(_printable(result.file), style="bold")
    if result.error is not None:
        reason = str(result.error).removeprefix(f"{result.file}: ")
        line.append(f": {_printable(reason)}", style="not bold red")
        return [line]
    line.append(f": {result.model}, version {result.version}", style="not bold")
    return [line, attribute_table(result)]


def version_table(versions: Sequence[VersionStatus]) -> Table:
    """A row a version: whether it answers, and why not."""
    table = Table("version", "state", "message")
    for entry in versions:
        style = "green" if entry.available else "red" if entry.code else None
        code = f"code {entry.code}: " if entry.code else ""
        state = Text(entry.state, style=style or "")
        table.add_row(str(entry.version), state, Text(f"{code}{entry.message}"))
    return table


def signature_table(signatures: Mapping[str, Signature]) -> Table:
    """A row a signature: what it takes and gives."""
    table = Table("signature", "inputs", "outputs")
    for name, signature in signatures.items():
        table.add_row(Text(name), _specs(signature.inputs), _specs(signature.outputs))
    return table


def _printable(text: str) -> str:
    """With a sign in place of what is no text: names of files may hold any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _specs(specs: Mapping[str, TensorSpec]) -> Text:
    lines = []
    for name, spec in specs.items():
        sizes = ["?" if size < 0 else str(size) for size in spec.shape or ()]
        shape = "(...)" if spec.shape is None else f"({', '.join(sizes)})"
        lines.append(f"{name}: {spec.dtype} {shape}")
    return Text("\n".join(lines))
