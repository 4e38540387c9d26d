"""`far-keras ablate`: what each part of the network is worth."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.command import command
from far_keras.console import message_console
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "ablate",
        run,
        "train the network without each of its parts, and compare",
    )
    parser.add_argument("records", type=Path, help="folder that `far-keras annotate` wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for the study")
    parser.add_argument(
        "--arms",
        nargs="+",
        metavar="ARM",
        help="such as baseline ones concat (default: all but those of docs/training.md that may "
        "help with another kind of image: ema smoothing ...)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: %(default)s)"
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[800, 3000],
        help="numbers of training images (default: %(default)s)",
    )
    parser.add_argument("--backbone", default="efficientnetlite0", help="(default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=96, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument(
        "--shifted",
        metavar="NAME=RECORDS",
        action="append",
        type=_named,
        default=[],
        help="further records to measure on, all of their images; repeatable",
    )
    parser.add_argument(
        "--focus", nargs="+", metavar="ATTRIBUTE", default=[], help="figures of their own for these"
    )
    parser.add_argument(
        "--least",
        type=int,
        default=0,
        help="labels of each class that an attribute needs in a test set to count in its means "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="trainings at once (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.experiments.ablation import ablate
    from far_keras.experiments.report import ablation_table, write_ablation

    ablation = ablate(
        options.records,
        options.output,
        arms=options.arms,
        seeds=options.seeds,
        sizes=options.sizes,
        backbone=options.backbone,
        image_size=options.image_size,
        epochs=options.epochs,
        shifted=dict(options.shifted),
        focus=options.focus,
        least=options.least,
        workers=options.workers,
        console=message_console(),
    )
    print(ablation_table(ablation))
    for path in write_ablation(ablation, options.output):
        print(f"wrote {path}")


def _named(text: str) -> tuple[str, str]:
    name, separator, folder = text.partition("=")
    if not separator or not name or not folder or name == "test":
        raise argparse.ArgumentTypeError(
            f"expected NAME=RECORDS with a name other than 'test', got {text!r}"
        )
    return name, folder
