"""Answers, versions and signatures as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from far_keras.results import attribute_table
from far_keras.serving.results import ServedResult, Signature, TensorSpec, VersionStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["result_tables", "signature_table", "version_table"]


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
