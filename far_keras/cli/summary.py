"""`far-keras summary`: prints the parts of a network and what they cost."""

from __future__ import annotations

import argparse
import json

from far_keras.cli.program import command
from far_keras.console import table_console
from far_keras.extras import require
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands, "summary", run, "print the parts of a network: shapes, parameters, GFLOPs"
    )
    parser.add_argument("variant", help="network, such as mgmtn_efficientnetlite0")
    parser.add_argument("--image-size", type=int, help="pixels per side; default: the network's")
    parser.add_argument("--schema", help="attribute schema (.json, .yaml); default: CelebA's")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> None:
    require("train", "the summary of a network")
    load_tensorflow()
    from far_keras.models.summary import summarize, tables
    from far_keras.models.variants import ModelConfig, build_model
    from far_keras.schema import AttributeSchema

    schema = AttributeSchema.resolve(options.schema)
    size = {"image_size": options.image_size} if options.image_size is not None else {}
    summary = summarize(build_model(ModelConfig(options.variant, size), schema))
    if options.json:
        print(json.dumps(summary.to_dict(), indent=1))
    else:
        table_console().print(*tables(summary), sep="\n")
