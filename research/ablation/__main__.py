"""Trains the network without each of its parts, and compares (`python -m research.ablation`)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from far_keras.quiet import load_tensorflow
from research.commands import carry_out


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m research.ablation",
        description="Train the network without each of its parts, and compare.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("records", type=Path, help="folder that `far-keras annotate` wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for the study")
    parser.add_argument(
        "--configurations",
        nargs="+",
        metavar="NAME",
        help="such as baseline ones concat; None: all but those that may help with another kind of "
        "image (slow_backbone ...)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[800, 3000], help="numbers of training images"
    )
    parser.add_argument("--backbone", default="efficientnetlite0", help="of all networks")
    parser.add_argument("--image-size", type=int, default=96, help="pixels")
    parser.add_argument("--epochs", type=int, default=8, help="of each training")
    parser.add_argument(
        "--shifted",
        metavar="NAME=RECORDS",
        action="append",
        type=_named,
        default=[],
        help="further records to measure on, all of their images; repeatable",
    )
    parser.add_argument(
        "--focus", nargs="+", metavar="ATTRIBUTE", default=[], help="with means of their own"
    )
    parser.add_argument(
        "--least",
        type=int,
        default=0,
        help="labels of each class that an attribute needs in a test set to count in its means",
    )
    parser.add_argument("--workers", type=int, default=1, help="trainings at once")
    return carry_out(parser, _run, arguments)


def _run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from research.ablation.comparison import study_table, write_study
    from research.ablation.study import run_study

    study = run_study(
        options.records,
        options.output,
        configurations=options.configurations,
        seeds=options.seeds,
        sizes=options.sizes,
        backbone=options.backbone,
        image_size=options.image_size,
        epochs=options.epochs,
        shifted=dict(options.shifted),
        focus=options.focus,
        least=options.least,
        workers=options.workers,
    )
    print(study_table(study))
    for path in write_study(study, options.output):
        print(f"wrote {path}")


def _named(text: str) -> tuple[str, str]:
    name, separator, folder = text.partition("=")
    if not separator or not name or not folder or name == "test":
        raise argparse.ArgumentTypeError(
            f"expected NAME=RECORDS with a name other than 'test', got {text!r}"
        )
    return name, folder


if __name__ == "__main__":
    sys.exit(main())
