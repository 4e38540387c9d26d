"""Makes the model that comes with far_keras: `python -m research.pretraining DIRECTORY`."""

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
        prog="python -m research.pretraining",
        description="Make the model that comes with far_keras: render, train, measure, write its "
        "card. The same command resumes after an interruption.",
    )
    parser.add_argument("directory", type=Path, help="where to work; a relative path")
    parser.add_argument("--images", type=int, help="faces to render (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, help="of faces and training (default: 0)")
    parser.add_argument(
        "--photographs",
        type=Path,
        help="labelled photographs to measure the model on: a folder with labels.csv",
    )
    return carry_out(parser, _run, arguments)


def _run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from research.pretraining.pretrain import Recipe, pretrain

    images = {} if options.images is None else {"images": options.images}
    folder = pretrain(
        options.directory, Recipe(seed=options.seed, **images), photographs=options.photographs
    )
    print(f"wrote {folder}; its card is {folder / 'MODEL_CARD.md'}")
    print(f"Next: far-keras predict photo.jpg --model {folder}")


if __name__ == "__main__":
    sys.exit(main())
