"""`far-keras explain`: where a network's answers come from."""

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
        "explain",
        run,
        "measure how much of each group's answers comes from its region",
        when_interrupted="begins anew",
    )
    parser.add_argument("models", nargs="+", type=Path, help="folders that `far-keras train` wrote")
    parser.add_argument("--baseline", type=Path, help="model to stand beside")
    parser.add_argument(
        "--records", type=Path, required=True, help="folder that `far-keras annotate` wrote"
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test")
    parser.add_argument(
        "--count", type=int, default=100, help="images to look at (default: %(default)s)"
    )
    parser.add_argument(
        "--shown", type=int, default=4, help="of them in the grids (default: %(default)s)"
    )
    parser.add_argument(
        "--method",
        choices=("activation", "gradient"),
        help="one of the two measures; default: both. gradient takes most of the time",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for tables and grids")
    parser.add_argument(
        "--seed", type=int, default=0, help="of drawing and resampling (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.evaluation.explain import explain
    from far_keras.evaluation.explanation_report import tables, write_report
    from far_keras.evaluation.explanations import METHODS
    from far_keras.evaluation.figures import describe_data

    explanation = explain(
        [*options.models, *([] if options.baseline is None else [options.baseline])],
        options.records,
        options.split,
        count=options.count,
        shown=options.shown,
        methods=METHODS if options.method is None else (options.method,),
        seed=options.seed,
    )
    console = table_console()
    console.print(describe_data(explanation))
    for table in tables(explanation):
        console.print(table)
    for path in write_report(explanation, options.output):
        print(f"wrote {path}")
