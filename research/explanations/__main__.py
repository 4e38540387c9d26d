"""Measures where predictions come from: `python -m research.explanations energy|occlusion`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from far_keras.console import table_console
from far_keras.quiet import load_tensorflow
from research.commands import carry_out


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the two commands; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m research.explanations",
        description="Measure where in the image a network's predictions come from.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, run, text, count in (
        ("energy", _energy, "the share of each group's evidence inside its region", 100),
        ("occlusion", _occlusion, "which probabilities change when a region is hidden", 200),
    ):
        command = commands.add_parser(
            name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.set_defaults(run=run)
        command.add_argument("models", nargs="+", type=Path, help="folders of trained models")
        command.add_argument(
            "--records", type=Path, required=True, help="folder that `far-keras annotate` wrote"
        )
        command.add_argument("--split", choices=("train", "valid", "test"), default="test")
        command.add_argument("--count", type=int, default=count, help="images, at most")
        command.add_argument("--output", type=Path, required=True, help="folder for the results")
        if name == "energy":
            command.add_argument("--examples", type=int, default=4, help="images in the grids")
            command.add_argument(
                "--method",
                choices=("activation", "gradient"),
                help="one of the two measures; None: both. gradient takes most of the time",
            )
            command.add_argument(
                "--seed", type=int, default=0, help="of the drawing and the resampling"
            )
    return carry_out(parser, lambda options: options.run(options), arguments)


def _energy(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.evaluation.evaluate import describe_data
    from research.explanations.energy import (
        METHODS,
        explain,
        explanation_tables,
        write_explanation,
    )

    explanation = explain(
        options.models,
        options.records,
        options.split,
        count=options.count,
        examples=options.examples,
        methods=tuple(METHODS) if options.method is None else (options.method,),
        seed=options.seed,
    )
    console = table_console()
    console.print(describe_data(explanation.data))
    for table in explanation_tables(explanation):
        console.print(table)
    for path in write_explanation(explanation, options.output):
        print(f"wrote {path}")


def _occlusion(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.models.storage import load_model
    from research.explanations.occlusion import occlude, occlusion_table, write_occlusion

    names = [folder.name for folder in options.models]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in options.models]
    models = {n: load_model(f) for n, f in zip(names, options.models, strict=True)}
    results = occlude(models, options.records, options.split, options.count)
    table_console().print(occlusion_table(results))
    for path in write_occlusion(results, options.output):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
