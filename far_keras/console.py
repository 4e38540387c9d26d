"""What the package shows in a terminal: progress bars, consoles, numbers with intervals.

Results go to standard output, progress and warnings to standard error.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = [
    "format_duration",
    "format_interval",
    "format_number",
    "json_number",
    "message_console",
    "printable",
    "progress_bar",
    "table_console",
]


def table_console() -> Console:
    """The console for results: standard output."""
    from rich.console import Console

    # A file or pipe has no width; rich would fold tables at 80 columns.
    return Console(width=None if sys.stdout.isatty() else 120, soft_wrap=False)


def message_console() -> Console:
    """The console for progress and warnings: standard error."""
    from rich.console import Console

    return Console(stderr=True)


def progress_bar(shown: bool = True, console: Console | None = None) -> Progress:
    """A progress bar: description, bar, items done of all, items per second, time left.

    Args:
        shown: False shows nothing, with the same interface.
        console: Standard error if None.

    Example:
        >>> with progress_bar(shown=False) as bar:
        ...     task = bar.add_task("Annotating", total=3)
        ...     bar.advance(task)
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f}/s" if speed else "")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=console or message_console(),
        disable=not shown,
    )


def format_number(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """Such as ``0.912`` or ``+0.012``; ``-`` for NaN."""
    if not math.isfinite(value):
        return "-"
    return f"{value:{'+' if signed else ''}.{digits}f}"


def format_interval(
    value: float, low: float, high: float, digits: int = 3, *, signed: bool = False
) -> str:
    """Such as ``0.912 [0.901, 0.922]``; without brackets if the interval is NaN."""
    text = format_number(value, digits, signed=signed)
    if text == "-" or not (math.isfinite(low) and math.isfinite(high)):
        return text
    bounds = (format_number(bound, digits, signed=signed) for bound in (low, high))
    return f"{text} [{', '.join(bounds)}]"


def format_duration(seconds: float) -> str:
    """Such as ``8 s`` or ``3 min 05 s``."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def printable(text: str) -> str:
    """With a sign in place of what is no text: names of files may hold any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def json_number(value: float) -> float | None:
    """Rounded to six digits; None for NaN, which JSON cannot hold."""
    return round(float(value), 6) if math.isfinite(value) else None
