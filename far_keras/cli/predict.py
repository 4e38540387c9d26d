"""`far-keras predict`: predicts images and videos."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far_keras.cli.program import command
from far_keras.console import message_console, table_console
from far_keras.errors import ImageError, VideoError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from far_keras.recognition.results import FaceResult, ImageResult

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "predict",
        run,
        "predict every face, its attributes and masks in images or a video",
        when_interrupted="starts over",
    )
    parser.add_argument(
        "images", nargs="+", type=Path, help="images or folders of them, or one video"
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
        help="write a table instead of printing: .parquet, .jsonl or .csv; resumes after a stop",
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
        help="include sensitive attributes, such as Male, Young and Attractive",
    )
    parser.add_argument(
        "--children",
        action="store_true",
        help="decide about faces with a child's proportions too, though models know no children",
    )
    parser.add_argument(
        "--min-confidence",
        type=_number(0, 1),
        help="of a detected face, 0 to 1; lower finds more faces and more false ones "
        "(default: 0.6)",
    )
    parser.add_argument(
        "--min-face-size",
        type=_number(0, math.inf),
        metavar="PIXELS",
        help="width below which faces are not searched for; smaller takes longer (default: 24)",
    )
    parser.add_argument(
        "--rotate",
        choices=("auto", "always", "never"),
        help="search the image turned by 90, 180 and 270 degrees: auto if no face is clearly "
        "upright; always takes four times as long (default: auto)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes that share the images of --out (default: %(default)s)",
    )


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low < value < high:
            raise argparse.ArgumentTypeError(
                f"expected a number between {low:g} and {high:g}. Received: {text!r}"
            )
        return value

    return parse


def run(options: argparse.Namespace) -> None:
    from far_keras.images import expand_folders, is_video
    from far_keras.models.variants import pretrained_folder

    if options.model is None:
        options.model = pretrained_folder()
    if any(map(is_video, options.images)):
        _predict_video(options)
        return
    if options.video is not None:
        raise VideoError("--video: expected one video to annotate. Received: images or folders")
    files = expand_folders(options.images)
    if options.out is not None:
        options.when_interrupted = "continues"
        _write_table(options, files)
    else:
        _print_results(options, files)


def _write_table(options: argparse.Namespace, files: list[Path]) -> None:
    from far_keras.recognition.batch import predict_to_file

    summary = predict_to_file(
        options.model,
        files,
        options.out,
        annotated=options.annotated,
        workers=options.workers,
        **_settings(options),
    )
    print(summary)
    _print_left_out(summary.untrained, summary.left_out)


def _print_results(options: argparse.Namespace, files: list[Path]) -> None:
    from far_keras.recognition.batch import load_recognizer, predict_images

    console, readable = table_console(), 0
    with load_recognizer(options.model, **_settings(options)) as recognizer:
        for result, copy in predict_images(recognizer, files, options.annotated):
            readable += result.size is not None
            if options.json:
                data = {**result.to_dict(), "annotated": None if copy is None else str(copy)}
                print(json.dumps(data), flush=True)
            else:
                console.print(*result_tables(result, copy), sep="\n")
        _print_left_out(recognizer.untrained, recognizer.left_out)
    if not readable:
        raise ImageError("none of the images could be read; the lines above say why")


def _predict_video(options: argparse.Namespace) -> None:
    if len(options.images) > 1 or options.annotated or options.workers != 1:
        raise VideoError(
            "videos are predicted one at a time: expected one video, without --annotated and "
            "--workers"
        )
    (path,) = options.images
    if not (options.video or options.out or options.json):
        raise VideoError(
            f"{path}: choose what to make of the video: --video FILE for an annotated copy, "
            "--out TABLE for a table, or --json"
        )
    from far_keras.recognition.batch import load_recognizer, predict_video

    with load_recognizer(options.model, **_settings(options)) as recognizer:
        if options.json and not (options.video or options.out):
            for result in recognizer.stream(path):
                print(json.dumps(result.to_dict()), flush=True)
        else:
            print(predict_video(recognizer, path, options.video, options.out))
        _print_left_out(recognizer.untrained, recognizer.left_out)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    detection = {
        "min_confidence": options.min_confidence,
        "min_size": options.min_face_size,
        "rotate": options.rotate,
    }
    return {
        "sensitive": options.sensitive,
        "children": options.children,
        "detection": {name: value for name, value in detection.items() if value is not None},
    }


def result_tables(result: ImageResult, copy: Path | None = None) -> list[RenderableType]:
    """For `rich`: a line about the image and its annotated copy, then a table per face."""
    from rich.text import Text

    line = Text(result.printable_file, style="bold")
    if result.ok:
        count = len(result.faces)
        line.append(f": {count} face" + ("s" if count > 1 else ""), style="not bold")
    else:
        line.append(f": {result.status}", style="not bold red")
    if copy is not None:
        line.append(f" -> {copy}", style="not bold")
    return [line, *(_face_table(i, face) for i, face in enumerate(result.faces, 1))]


def _face_table(number: int, face: FaceResult) -> RenderableType:
    from rich.text import Text

    from far_keras.results import attribute_table

    left, top, right, bottom = (round(float(side)) for side in face.box)
    title = f"face {number} at x {left}-{right}, y {top}-{bottom}"
    if face.is_child:
        return Text(f"{title}: a child's proportions, nothing decided (unless --children is given)")
    return attribute_table(face, title)


def _print_left_out(untrained: Sequence[str], left_out: Sequence[str]) -> None:
    for reason, names in (
        ("left out, since the model was not trained on them", untrained),
        ("sensitive, left out unless --sensitive is given", left_out),
    ):
        if names:
            line = f"{reason}: {', '.join(names)}"
            message_console().print(line, style="dim", highlight=False)
