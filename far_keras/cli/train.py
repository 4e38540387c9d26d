"""`far-keras train`: trains a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.program import command
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(commands, "train", run, "train a network on records")
    parser.add_argument("records", type=Path, help="folder that `far-keras annotate` wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--variant", help="network, such as mgmtn_efficientnetlite0 (default)")
    parser.add_argument(
        "--task",
        choices=("attributes", "masks"),
        help="attributes (default), or masks: the mask network alone",
    )
    parser.add_argument("--config", type=Path, help="YAML or JSON of TrainConfig; options win")
    parser.add_argument("--schema", help="own attribute schema (.json, .yaml)")
    parser.add_argument(
        "--masks", choices=("landmarks", "true"), help="what teaches the mask network"
    )
    parser.add_argument(
        "--mask-mode",
        choices=("joint", "two_stage", "given"),
        help="masks are learned beside the attributes (joint, default), before them and then "
        "frozen (two_stage), or given by the records, as an upper bound",
    )
    parser.add_argument(
        "--mask-network",
        choices=("shared", "unet"),
        help="a light decoder on the backbone's features, or a UNet of its own",
    )
    parser.add_argument("--mask-epochs", type=int, help="of the first of two stages")
    parser.add_argument(
        "--masks-from",
        metavar="MODEL",
        help="folder of a model with a UNet that takes the place of the first of two stages",
    )
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--image-size", type=int, help="pixels a side")
    parser.add_argument("--batch-size", type=int, help="images a step, over all devices")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument(
        "--photometric",
        choices=("standard", "strong"),
        help="how far the look of training images is changed",
    )
    parser.add_argument(
        "--ema", type=float, help="momentum of an average of the weights, such as 0.995"
    )
    parser.add_argument(
        "--label-smoothing", type=float, help="0.1 makes the attributes' targets 0.05 and 0.95"
    )
    parser.add_argument(
        "--backbone-rate",
        type=float,
        help="factor of the learning rate of an ImageNet backbone; 0 freezes it",
    )
    parser.add_argument(
        "--mix-style",
        type=float,
        metavar="PROBABILITY",
        help="of an image to be given another one's style in the backbone",
    )
    parser.add_argument("--seed", type=int)


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.training.config import TrainConfig
    from far_keras.training.trainer import train

    given = {
        name: getattr(options, name)
        for name in (
            "variant", "task", "schema", "masks", "mask_mode", "mask_epochs", "masks_from",
            "epochs", "image_size", "batch_size", "learning_rate", "photometric",
            "ema", "label_smoothing", "backbone_rate", "seed",
        )
        if getattr(options, name) is not None
    }  # fmt: skip
    if options.mask_network is not None:
        given["model"] = {"mask_network": options.mask_network}
    given |= {"records": str(options.records), "output": str(options.output)}
    if options.config is None:
        config = TrainConfig.from_dict(given, source="options")
    else:
        config = TrainConfig.from_file(options.config, **given)
    result = train(config)
    print(f"best of {len(result.history)} epochs: {result.best_epoch}; model in {result.folder}")
    if result.untrained:
        print("not answered, since one class or no label was seen: " + ", ".join(result.untrained))
    print(f"Next: far-keras evaluate {result.folder} --records {config.records}")
