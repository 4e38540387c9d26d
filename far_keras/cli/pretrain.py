"""`far-keras pretrain`: makes the model that comes with the package."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.command import command
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "pretrain",
        run,
        "make the model that comes with far_keras: render, train, measure, and write its card",
    )
    parser.add_argument("directory", type=Path, help="where to work; give it relative")
    parser.add_argument("--pictures", type=int, help="faces to render (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, help="of faces and training (default: 0)")
    parser.add_argument(
        "--photographs",
        type=Path,
        help="labelled photographs to measure the model on: a folder with labels.csv",
    )


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.pretraining.pretrain import pretrain
    from far_keras.pretraining.recipe import Recipe

    pictures = {} if options.pictures is None else {"pictures": options.pictures}
    folder = pretrain(
        options.directory, Recipe(seed=options.seed, **pictures), photographs=options.photographs
    )
    print(f"wrote {folder}; its card is {folder / 'MODEL_CARD.md'}")
    print(f"Next: far-keras predict photo.jpg --model {folder}")
