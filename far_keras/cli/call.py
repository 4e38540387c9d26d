"""`far-keras call`: asks a model server about images of aligned faces."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from far_keras.cli.connection import add_connection, connect
from far_keras.cli.program import command
from far_keras.console import table_console
from far_keras.errors import ServingError

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "call",
        run,
        "ask a model server about images of aligned faces; needs no TensorFlow",
        when_interrupted="starts over",
    )
    parser.add_argument(
        "pictures", nargs="+", type=Path, help="JPEG or PNG files of aligned faces, or folders"
    )
    add_connection(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--sensitive",
        action="store_true",
        help="answer sensitive attributes too, such as Male, Young and Attractive",
    )


def run(options: argparse.Namespace) -> None:
    from far_keras.images import expand_folders

    files = expand_folders(options.pictures)
    answered = 0
    # Masks are shown as areas, which only JSON has.
    console = table_console()
    with connect(options, sensitive=options.sensitive) as client:
        for result in client.stream(files, masks=options.json):
            answered += result.ok
            if options.json:
                print(json.dumps(result.to_dict()), flush=True)
            else:
                from far_keras.serving.tables import result_tables

                console.print(*result_tables(result), sep="\n")
    if not answered:
        raise ServingError("none of the images was answered; the lines above say why")
