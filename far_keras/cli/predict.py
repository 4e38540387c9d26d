"""`far-keras predict`: answers photographs and videos."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from far_keras.cli.command import command
from far_keras.console import message_console, table_console
from far_keras.errors import ImageError, VideoError
from far_keras.quiet import load_tensorflow

if TYPE_CHECKING:
    from far_keras.recognition.recognizer import Recognizer

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "predict",
        run,
        "answer photographs or a video: every face, its attributes and masks",
        when_interrupted="begins anew",
    )
    parser.add_argument(
        "photographs", nargs="+", type=Path, help="images or folders of them, or one video"
    )
    parser.add_argument(
        "--model",
        help="folder of a trained or exported model, a .tflite file, or a server's: "
        "grpc://host:8500/model (default: the model that comes with far_keras)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="TABLE",
        help="write a table instead of printing: .parquet, .jsonl or .csv; continues after a stop",
    )
    parser.add_argument(
        "--annotated", type=Path, metavar="DIR", help="folder for annotated copies of the images"
    )
    parser.add_argument(
        "--video", type=Path, metavar="FILE", help="annotated copy of a video: .mp4, .avi or .webm"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--sensitive",
        action="store_true",
        help="answer sensitive attributes too, such as Male, Young and Attractive",
    )
    parser.add_argument(
        "--children",
        action="store_true",
        help="decide about faces with a child's proportions too, though models know no children",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that share the images of --out (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    from far_keras.models.variants import pretrained_folder
    from far_keras.recognition.pictures import list_photographs
    from far_keras.recognition.video.reader import is_video

    if options.model is None:
        options.model = pretrained_folder()
    if any(map(is_video, options.photographs)):
        _answer_video(options)
        return
    if options.video is not None:
        raise VideoError("--video: expected one video to annotate. Received: images or folders")
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
        children=options.children,
        workers=options.workers,
    )
    print(summary)
    _print_foot(summary.untrained, summary.left_out)


def _print(options: argparse.Namespace, files: list[Path]) -> None:
    from far_keras.recognition.annotated import predict_files
    from far_keras.recognition.tables import tables

    console, readable = table_console(), 0
    with _load(options) as recognizer:
        for prediction in predict_files(recognizer, files, options.annotated):
            readable += prediction.readable
            if options.json:
                print(json.dumps(prediction.to_dict()), flush=True)
            else:
                console.print(*tables(prediction), sep="\n")
        _print_foot(recognizer.untrained, recognizer.left_out)
    if not readable:
        raise ImageError("none of the photographs could be read; the lines above say why")


def _answer_video(options: argparse.Namespace) -> None:
    if len(options.photographs) > 1 or options.annotated or options.workers != 1:
        raise VideoError(
            "a video is answered by itself: expected one video, without --annotated and --workers"
        )
    if not (options.video or options.out or options.json):
        raise VideoError(
            f"{options.photographs[0]}: say what to make of the video: --video FILE for an "
            "annotated copy, --out TABLE for a table, or --json"
        )
    from far_keras.recognition.video.job import predict_video

    (path,) = options.photographs
    with _load(options) as recognizer:
        if options.json and not (options.video or options.out):
            for result in recognizer.stream(path):
                print(json.dumps(result.to_dict()), flush=True)
        else:
            print(predict_video(recognizer, path, options.video, options.out))
        _print_foot(recognizer.untrained, recognizer.left_out)


def _load(options: argparse.Namespace) -> Recognizer:
    from far_keras.recognition.engines.opening import needs_tensorflow
    from far_keras.recognition.recognizer import Recognizer

    if needs_tensorflow(options.model):
        load_tensorflow()
    return Recognizer.load(options.model, sensitive=options.sensitive, children=options.children)


def _print_foot(untrained: tuple[str, ...], left_out: tuple[str, ...]) -> None:
    from far_keras.recognition.tables import foot_lines

    for line in foot_lines(untrained, left_out):
        message_console().print(line, style="dim", highlight=False)
