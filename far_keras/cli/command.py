"""What all commands share: how one is declared, and where it prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["command", "console_for_messages", "console_for_tables"]


def command(
    commands,
    name: str,
    run: Callable[[argparse.Namespace], None],
    text: str,
    *,
    when_interrupted: str = "continues",
) -> argparse.ArgumentParser:
    """Declares a command.

    Args:
        commands: What `argparse.ArgumentParser.add_subparsers` returned.
        name: The word after ``far-keras``.
        run: What carries it out.
        text: What it does, in a few words that begin in lower case.
        when_interrupted: What the same command does after Ctrl-C: ``"continues"`` or
            ``"begins anew"``.

    Returns:
        The command's own parser, for its arguments.
    """
    parser = commands.add_parser(
        name,
        help=text.replace("%", "%%"),
        description=text[0].upper() + text[1:] + ".",
    )
    parser.register("type", Path, _path)
    parser.set_defaults(run=run, when_interrupted=when_interrupted)
    return parser


def _path(text: str) -> Path:
    if not text:  # which Path takes for the current folder; often a variable that is not set
        raise argparse.ArgumentTypeError("expected a path. Received: an empty text")
    return Path(text)


def console_for_tables() -> Console:
    """Where results are printed: the standard output."""
    from rich.console import Console

    # A file or pipe has no width of its own: rich would fold tables at 80 columns.
    return Console(width=None if sys.stdout.isatty() else 120, soft_wrap=False)


def console_for_messages() -> Console:
    """Where progress and warnings are printed: the standard error stream."""
    from rich.console import Console

    return Console(stderr=True)
