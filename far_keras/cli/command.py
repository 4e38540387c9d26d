"""What all commands share: how one is declared."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["command"]


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
