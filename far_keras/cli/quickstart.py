"""`far-keras quickstart`: the whole way in one command."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.program import command
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "quickstart",
        run,
        "render faces, train, evaluate, answer a photograph, and write one page about it",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("quickstart"),
        help="where to work (default: %(default)s)",
    )
    parser.add_argument(
        "--count", type=int, default=1000, help="images to render (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.quickstart.quickstart import quickstart

    quickstart(options.directory, count=options.count, seed=options.seed)
