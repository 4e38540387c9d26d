"""The `far-keras` command: its commands, errors as one line, the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from far_keras import __version__
from far_keras.errors import FarError

__all__ = ["build_parser", "command", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The words after ``far-keras``; default: those of the process.

    Returns:
        The exit status: 0 done, 1 a `FarError` or `OSError` (printed in one line), 130 interrupted.
    """
    options = build_parser().parse_args(arguments)

    def fail(message: str, status: int) -> int:
        print(f"far-keras {options.command}: {message}", file=sys.stderr)
        return status

    try:
        options.run(options)
    except FarError as error:
        # An error of YAML or TensorFlow, which ours may quote, has several lines.
        return fail(" ".join(map(str.strip, str(error).splitlines())), 1)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # after the terminal's ^C
        return fail(f"interrupted; the same command {options.when_interrupted}", 130)
    except BrokenPipeError:
        # The reader of a pipe such as `| head` has ended, which is no error here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A folder without the right to write, a file in place of a folder, a full disk.
        in_the_way = isinstance(error, FileExistsError)
        reason = "a file is where a folder should be" if in_the_way else error.strerror or error
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{reason}. Check the path, the rights and the free space", 1)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``, the function that carries it out."""
    from far_keras.cli import (
        annotate,
        client,
        evaluate,
        export,
        predict,
        quickstart,
        serve,
        summary,
        synthesize,
        train,
    )

    parser = argparse.ArgumentParser(
        prog="far-keras",
        description="Face attribute recognition with mask-guided multi-task networks.",
        epilog="Start with `far-keras quickstart`.",
    )
    parser.add_argument("--version", action="version", version=f"far_keras {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # In the order of the help: from rendering to predictions, then inspection.
    for module in (
        quickstart, synthesize, annotate, train, evaluate, predict, export, serve, client,
        summary,
    ):  # fmt: skip
        module.add_command(commands)
    return parser


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
        run: Carries it out.
        text: What it does, in a few words that begin in lower case.
        when_interrupted: What the same command does after Ctrl-C: ``"continues"`` or
            ``"starts over"``.

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
