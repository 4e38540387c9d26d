"""`far-keras evaluate`: measures models."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.program import command
from far_keras.console import table_console
from far_keras.extras import require
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "evaluate",
        run,
        "measure models, or mask networks alone, with 95% intervals",
        when_interrupted="starts over",
    )
    parser.add_argument("models", nargs="+", type=Path, help="folders that `far-keras train` wrote")
    parser.add_argument(
        "--records", type=Path, required=True, help="folder that `far-keras annotate` wrote"
    )
    parser.add_argument("--baseline", type=Path, help="model to compare with")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test")
    parser.add_argument(
        "--output", type=Path, help="folder for the report; default: the first model's"
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
    require("train", "evaluation")
    load_tensorflow()
    from far_keras.evaluation.evaluate import describe_data, evaluate, evaluate_masks
    from far_keras.evaluation.report import mask_tables, tables, write_mask_report, write_report
    from far_keras.models.storage import read_model_config

    console, output = table_console(), options.output or options.models[0]
    if any(read_model_config(folder).task == "masks" for folder in options.models):
        # One of the models predicts only masks, so all are compared by their masks.
        folders = [*options.models, *([] if options.baseline is None else [options.baseline])]
        evaluation = evaluate_masks(folders, options.records, options.split, seed=options.seed)
        console.print(describe_data(evaluation.data))
        shown, written = mask_tables(evaluation.models), [write_mask_report(evaluation, output)]
    else:
        evaluation = evaluate(
            options.models,
            options.records,
            options.split,
            options.baseline,
            least=options.least,
            seed=options.seed,
        )
        shown, written = tables(evaluation), write_report(evaluation, output)
    for table in shown:
        console.print(table)
    for path in written:
        print(f"wrote {path}")
