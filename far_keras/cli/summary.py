"""`far-keras summary`: takes a network apart."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from far_keras.cli.command import command
from far_keras.console import table_console
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands, "summary", run, "take a network apart: shapes, parameters, GFLOPs, a drawing"
    )
    parser.add_argument("variant", help="network, such as mgmtn_efficientnetlite0")
    parser.add_argument("--image-size", type=int, help="pixels a side; default: the network's")
    parser.add_argument("--schema", help="own attribute schema (.json, .yaml)")
    parser.add_argument("--svg", type=Path, metavar="SVG", help="also draw the network")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.files import atomic_path
    from far_keras.models.diagram import draw_network
    from far_keras.models.summary import summarize, tables
    from far_keras.models.variants import ModelConfig, build_model
    from far_keras.schema import CELEBA, AttributeSchema

    schema = AttributeSchema.from_file(options.schema) if options.schema else CELEBA
    size = {"image_size": options.image_size} if options.image_size is not None else {}
    model = build_model(ModelConfig(options.variant, size), schema)
    summary = summarize(model)
    if options.json:
        print(json.dumps(summary.to_dict(), indent=1))
    else:
        table_console().print(*tables(summary), sep="\n")
    if options.svg is not None:
        with atomic_path(options.svg) as temporary:
            temporary.write_text(draw_network(model, schema, summary), encoding="utf-8")
        print(f"wrote {options.svg}", file=sys.stderr)
