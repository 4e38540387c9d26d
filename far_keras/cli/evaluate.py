"""`far-keras evaluate`: measures models."""

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
        "evaluate",
        run,
        "measure models, or mask networks alone, with 95% intervals",
        when_interrupted="begins anew",
    )
    parser.add_argument("models", nargs="+", type=Path, help="folders that `far-keras train` wrote")
    parser.add_argument(
        "--records", type=Path, required=True, help="folder that `far-keras annotate` wrote"
    )
    parser.add_argument("--baseline", type=Path, help="model to stand beside")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test")
    parser.add_argument(
        "--output", type=Path, help="folder for the figures; default: the first model's"
    )
    parser.add_argument(
        "--least",
        type=int,
        default=0,
        help="labels of each class that an attribute needs to count in the means "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the resampling (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.evaluation.evaluate import evaluate
    from far_keras.evaluation.report import tables, write_report
    from far_keras.models.storage import read_model_config

    if any(read_model_config(folder).task == "masks" for folder in options.models):
        _measure_masks(options)
        return
    evaluation = evaluate(
        options.models,
        options.records,
        options.split,
        options.baseline,
        least=options.least,
        seed=options.seed,
    )
    console = table_console()
    for table in tables(evaluation):
        console.print(table)
    for path in write_report(evaluation, options.output or options.models[0]):
        print(f"wrote {path}")


def _measure_masks(options: argparse.Namespace) -> None:
    """One of the models has nothing but masks: they are what all are measured by."""
    from far_keras.evaluation.evaluate_masks import evaluate_masks
    from far_keras.evaluation.figures import describe_data
    from far_keras.evaluation.mask_report import mask_tables, write_mask_report

    folders = [*options.models, *([] if options.baseline is None else [options.baseline])]
    evaluation = evaluate_masks(folders, options.records, options.split, seed=options.seed)
    console = table_console()
    console.print(describe_data(evaluation))
    for table in mask_tables(evaluation.models):
        console.print(table)
    print(f"wrote {write_mask_report(evaluation, options.output or options.models[0])}")
