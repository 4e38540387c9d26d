"""`far-keras quickstart`: the whole pipeline in one command."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.program import command
from far_keras.extras import require
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "quickstart",
        run,
        "render faces, train, evaluate, recognise a photograph, and write a report",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("quickstart"),
        help="folder of the run (default: %(default)s)",
    )
    parser.add_argument(
        "--count", type=int, default=1000, help="images to render (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of faces and training (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    require("train", "the quickstart")
    require("synthetic", "the quickstart")
    load_tensorflow()
    from far_keras.quickstart.quickstart import quickstart

    quickstart(options.directory, count=options.count, seed=options.seed)
