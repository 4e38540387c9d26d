"""`far-keras predict`: answers photographs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from far_keras.cli.command import command, console_for_messages, console_for_tables
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
        "--out",
        type=Path,
        help="write a table instead of printing: .parquet, .jsonl or .csv; can be interrupted",
    )
    parser.add_argument(
        "--annotated", type=Path, metavar="DIR", help="folder for annotated copies of the pictures"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--sensitive",
        action="store_true",
        help="answer sensitive attributes too, such as Male, Young and Attractive",
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes, with --out (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    from far_keras.recognition.pictures import list_photographs

    files = list_photographs(options.photographs)
    if options.out is not None:
        options.when_interrupted = "continues"
        _write_table(options, files)
    else:
        _print(options, files)


def _write_table(options: argparse.Namespace, files: list[Path]) -> None:
    from far_keras.recognition.batch.job import predict_to_file

    summary = predict_to_file(
        options.model,
        files,
        options.out,
        annotated=options.annotated,
        sensitive=options.sensitive,
        workers=options.workers,
    )
    print(summary)


def _print(options: argparse.Namespace, files: list[Path]) -> None:
    load_tensorflow()
    from far_keras.recognition.annotated import predict_files
    from far_keras.recognition.recognizer import Recognizer
    from far_keras.recognition.tables import foot_lines, tables

    console, readable = console_for_tables(), 0
    with Recognizer.load(options.model, sensitive=options.sensitive) as recognizer:
        for prediction in predict_files(recognizer, files, options.annotated):
            readable += prediction.readable
            if options.json:
                print(json.dumps(prediction.to_dict()), flush=True)
            else:
                console.print(*tables(prediction), sep="\n")
        for line in foot_lines(recognizer):
            console_for_messages().print(line, style="dim", highlight=False)
    if not readable:
        raise ImageError("none of the photographs could be read; the lines above say why")
