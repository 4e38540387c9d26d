"""`far-keras annotate`: turns a data set into records."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.program import command
from far_keras.extras import require
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(commands, "annotate", run, "turn a data set into TFRecords with group masks")
    parser.add_argument(
        "dataset",
        type=Path,
        help="CelebA's folder, a rendered folder, or a CSV with a column 'file'",
    )
    parser.add_argument("records", type=Path, help="folder to write")
    parser.add_argument("--workers", type=int, help="processes; default: one per core")


def run(options: argparse.Namespace) -> None:
    require("train", "annotation")
    load_tensorflow()
    from far_keras.datasets.annotate import annotate
    from far_keras.datasets.dataset import open_dataset

    print(annotate(open_dataset(options.dataset), options.records, workers=options.workers))
