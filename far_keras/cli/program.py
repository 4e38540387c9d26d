"""Chooses the command, and turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from far_keras import __version__
from far_keras.cli import (
    ablate,
    annotate,
    call,
    evaluate,
    explain,
    export,
    load,
    occlude,
    predict,
    pretrain,
    quickstart,
    serve,
    status,
    summary,
    synthesize,
    train,
)
from far_keras.errors import FarError

__all__ = ["build_parser", "main"]

# In the order of the help: the way from nothing to an answer, then what looks inside.
_COMMANDS = (
    quickstart,
    synthesize,
    annotate,
    train,
    evaluate,
    predict,
    export,
    serve,
    call,
    status,
    load,
    summary,
    explain,
    occlude,
    ablate,
    pretrain,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The words after ``far-keras``; default: those of the process.

    Returns:
        The exit status: 0 done, 1 a `FarError` or `OSError` (printed in one line), 130 interrupted.
    """
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except FarError as error:
        # What YAML and TensorFlow say of an error, which ours may quote, goes over several lines.
        message = " ".join(map(str.strip, str(error).splitlines()))
        print(f"far-keras {options.command}: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"\nfar-keras {options.command}: interrupted; "
            f"the same command {options.when_interrupted}",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # The reader of a pipe such as `| head` has left: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A folder without the right to write, a file where a folder should be, a full disk.
        in_the_way = isinstance(error, FileExistsError)
        reason = "a file is where a folder should be" if in_the_way else error.strerror or error
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"far-keras {options.command}: {where}{reason}. Check the path, the rights and the "
            "free space",
            file=sys.stderr,
        )
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``, the function that carries it out."""
    parser = argparse.ArgumentParser(
        prog="far-keras",
        description="Face attribute recognition with mask-guided multi-task networks.",
        epilog="Start with `far-keras quickstart`.",
    )
    parser.add_argument("--version", action="version", version=f"far_keras {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_command(commands)
    return parser
