"""`far-keras predict`: answers photographs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from far_keras.cli.command import command, console_for_tables
from far_keras.errors import ImageError
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "predict",
        run,
        "answer photographs: every face, its attributes and masks",
        when_interrupted="begins anew",
    )
    parser.add_argument("photographs", nargs="+", type=Path, help="pictures or folders")
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained model")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("predictions"),
        help="folder for annotated pictures (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.recognition.prediction import list_photographs, predict_files, tables
    from far_keras.recognition.recognizer import Recognizer

    files = list_photographs(options.photographs)
    console, answered = console_for_tables(), 0
    with Recognizer.load(options.model) as recognizer:
        for prediction in predict_files(recognizer, files, options.output):
            answered += prediction.readable
            if options.json:
                print(json.dumps(prediction.to_dict()), flush=True)
            else:
                console.print(*tables(prediction), sep="\n")
    if not answered:
        raise ImageError("none of the photographs could be read; the lines above say why")
