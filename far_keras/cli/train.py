"""`far-keras train`: trains a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.program import command
from far_keras.extras import require
from far_keras.quiet import load_tensorflow
from far_keras.training.config import TrainConfig, add_flags, given_flags

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(commands, "train", run, "train a network on records")
    add_flags(parser)
    parser.add_argument("--config", type=Path, help="YAML or JSON of TrainConfig; flags win")
    parser.add_argument(
        "--mask-network",
        choices=("shared", "unet"),
        help="a light decoder on the backbone's features, or a separate UNet; short for "
        "--model mask_network=...",
    )


def run(options: argparse.Namespace) -> None:
    require("train", "training")
    load_tensorflow()
    from far_keras.training.trainer import train

    given = given_flags(options)
    if options.mask_network is not None:
        given["model"] = {**given.get("model", {}), "mask_network": options.mask_network}
    if options.config is None:
        config = TrainConfig.from_dict(given, source="options")
    else:
        config = TrainConfig.from_file(options.config, **given)
    result = train(config)
    print(f"best of {len(result.history)} epochs: {result.best_epoch}; model in {result.folder}")
    if result.untrained:
        names = ", ".join(result.untrained)
        print(f"not predicted, because the labels have one class or none: {names}")
    print(f"Next: far-keras evaluate {result.folder} --records {config.records}")
