"""`far-keras occlude`: which answers move when a facial region is hidden."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.command import command
from far_keras.console import table_console
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "occlude",
        run,
        "hide one facial region at a time, and see which answers move",
        when_interrupted="begins anew",
    )
    parser.add_argument("models", nargs="+", type=Path, help="folders that `far-keras train` wrote")
    parser.add_argument(
        "--records", type=Path, required=True, help="folder that `far-keras annotate` wrote"
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test")
    parser.add_argument(
        "--count", type=int, default=200, help="images, at most (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the figures")


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.evaluation.occlusion import occlude, occlusion_table, write_occlusion
    from far_keras.models.storage import load_model

    names = [folder.name for folder in options.models]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in options.models]
    models = {n: load_model(f) for n, f in zip(names, options.models, strict=True)}
    results = occlude(models, options.records, options.split, options.count)
    table_console().print(occlusion_table(results))
    for path in write_occlusion(results, options.output):
        print(f"wrote {path}")
