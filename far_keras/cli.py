"""The `far-keras` command: parses arguments, calls the Python API, prints what it returns.

No logic lives here. Heavy packages are imported by the commands that need them, so that
``far-keras --help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from far_keras import __version__
from far_keras.errors import FarError, ImageError
from far_keras.quiet import load_tensorflow

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The words after ``far-keras``; default: those of the process.

    Returns:
        The exit status: 0 done, 1 a `FarError` or `OSError` (printed in one line), 130 interrupted.
    """
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except FarError as error:
        # What YAML and TensorFlow say of an error, which ours may quote, goes over several lines.
        message = " ".join(map(str.strip, str(error).splitlines()))
        print(f"far-keras {options.command}: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "begins anew" if options.command in ("evaluate", "predict") else "continues"
        print(
            f"\nfar-keras {options.command}: interrupted; the same command {again}",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # The reader of a pipe such as `| head` has left: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A folder without the right to write, a file where a folder should be, a full disk.
        in_the_way = isinstance(error, FileExistsError)
        reason = "a file is where a folder should be" if in_the_way else error.strerror or error
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"far-keras {options.command}: {where}{reason}. Check the path, the rights and the "
            "free space",
            file=sys.stderr,
        )
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``, the function that carries it out."""
    parser = argparse.ArgumentParser(
        prog="far-keras",
        description="Face attribute recognition with mask-guided multi-task networks.",
        epilog="Start with `far-keras quickstart`.",
    )
    parser.add_argument("--version", action="version", version=f"far_keras {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (
        _add_quickstart,
        _add_synthesize,
        _add_annotate,
        _add_train,
        _add_evaluate,
        _add_predict,
        _add_summary,
    ):
        add(commands)
    return parser


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text.replace("%", "%%"),
        description=text[0].upper() + text[1:] + ".",
    )
    parser.set_defaults(run=run)
    return parser


def _add_quickstart(commands) -> None:
    parser = _command(
        commands,
        "quickstart",
        _quickstart,
        "render faces, train, evaluate, answer a photograph, and write one page about it",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("quickstart"),
        help="where to work (default: %(default)s)",
    )
    parser.add_argument(
        "--count", type=int, default=1000, help="pictures to render (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)


def _add_synthesize(commands) -> None:
    parser = _command(
        commands, "synthesize", _synthesize, "render labelled faces in CelebA's own layout"
    )
    parser.add_argument("directory", type=Path, help="folder to write")
    parser.add_argument(
        "--count", type=int, default=5000, help="pictures to render (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="same seed, same pictures (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, help="processes; default: one a core")
    parser.add_argument(
        "--negatives",
        type=float,
        default=0.03,
        help="share of pictures without a face (default: %(default)s)",
    )
    parser.add_argument(
        "--correlations",
        choices=("people", "independent", "reversed"),
        default="people",
        help="how attributes go together (default: %(default)s)",
    )
    parser.add_argument(
        "--force",
        metavar="ATTRIBUTE=0|1",
        action="append",
        type=_forced,
        default=[],
        help="give every person this attribute (1) or take it away (0); repeatable",
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="also write a contact sheet")


def _add_annotate(commands) -> None:
    parser = _command(
        commands, "annotate", _annotate, "turn a data set into TFRecords with group masks"
    )
    parser.add_argument(
        "dataset",
        type=Path,
        help="CelebA's folder, a rendered folder, or a CSV with a column 'file'",
    )
    parser.add_argument("records", type=Path, help="folder to write")
    parser.add_argument("--workers", type=int, help="processes; default: one a core")


def _add_train(commands) -> None:
    parser = _command(commands, "train", _train, "train a network on records")
    parser.add_argument("records", type=Path, help="folder that `far-keras annotate` wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--variant", help="network, such as mgmtn_efficientnetlite0 (default)")
    parser.add_argument("--config", type=Path, help="YAML or JSON of TrainConfig; options win")
    parser.add_argument("--schema", help="own attribute schema (.json, .yaml)")
    parser.add_argument(
        "--masks", choices=("landmarks", "true"), help="what teaches the mask network"
    )
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--image-size", type=int, help="pixels a side")
    parser.add_argument("--batch-size", type=int, help="pictures a step, over all devices")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int)


def _add_evaluate(commands) -> None:
    parser = _command(commands, "evaluate", _evaluate, "measure models, with 95% intervals")
    parser.add_argument("models", nargs="+", type=Path, help="folders that `far-keras train` wrote")
    parser.add_argument(
        "--records", type=Path, required=True, help="folder that `far-keras annotate` wrote"
    )
    parser.add_argument("--baseline", type=Path, help="model to stand beside")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test")
    parser.add_argument(
        "--output", type=Path, help="folder for the figures; default: the first model's"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the resampling (default: %(default)s)"
    )


def _add_predict(commands) -> None:
    parser = _command(
        commands, "predict", _predict, "answer photographs: every face, its attributes and masks"
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


def _add_summary(commands) -> None:
    parser = _command(
        commands, "summary", _summary, "take a network apart: shapes, parameters, GFLOPs, a drawing"
    )
    parser.add_argument("variant", help="network, such as mgmtn_efficientnetlite0")
    parser.add_argument("--image-size", type=int, help="pixels a side; default: the network's")
    parser.add_argument("--schema", help="own attribute schema (.json, .yaml)")
    parser.add_argument("--svg", type=Path, metavar="SVG", help="also draw the network")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _forced(text: str) -> tuple[str, int]:
    name, separator, value = text.partition("=")
    if not separator or value not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"expected ATTRIBUTE=0 or ATTRIBUTE=1, got {text!r}")
    return name, int(value)


def _quickstart(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.quickstart.quickstart import quickstart

    quickstart(options.directory, count=options.count, seed=options.seed)


def _synthesize(options: argparse.Namespace) -> None:
    from far_keras.synthetic.dataset import synthesize
    from far_keras.synthetic.sheet import contact_sheet

    done = synthesize(
        options.directory,
        options.count,
        options.seed,
        workers=options.workers,
        force=dict(options.force),
        negatives=options.negatives,
        correlations=options.correlations,
        console=_messages(),
    )
    print(
        f"{done.count} pictures of {done.identities} persons in {done.directory} "
        f"({done.without_face} without a face); {done.rendered} rendered in {done.seconds:.0f} s"
    )
    if options.sheet is not None:
        print(f"contact sheet: {contact_sheet(done.directory, options.sheet)}")
    print(f"Next: far-keras annotate {done.directory} RECORDS")


def _annotate(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.datasets.annotate import annotate
    from far_keras.datasets.opening import open_dataset

    print(annotate(open_dataset(options.dataset), options.records, workers=options.workers))


def _train(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.training.config import TrainConfig
    from far_keras.training.trainer import train

    given = {
        name: getattr(options, name)
        for name in (
            "variant", "schema", "masks", "epochs", "image_size", "batch_size", "learning_rate",
            "seed",
        )
        if getattr(options, name) is not None
    }  # fmt: skip
    given |= {"records": str(options.records), "output": str(options.output)}
    if options.config is None:
        config = TrainConfig.from_dict(given, source="options")
    else:
        config = TrainConfig.from_file(options.config, **given)
    result = train(config)
    print(f"best of {len(result.history)} epochs: {result.best_epoch}; model in {result.folder}")
    if result.untaught:
        print("not answered, since one class or no label was seen: " + ", ".join(result.untaught))
    print(f"Next: far-keras evaluate {result.folder} --records {config.records}")


def _evaluate(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.evaluation.evaluate import evaluate
    from far_keras.evaluation.report import tables, write_report

    evaluation = evaluate(
        options.models, options.records, options.split, options.baseline, seed=options.seed
    )
    console = _console()
    for table in tables(evaluation):
        console.print(table)
    for path in write_report(evaluation, options.output or options.models[0]):
        print(f"wrote {path}")


def _predict(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.recognition.prediction import list_photographs, predict_files, tables
    from far_keras.recognition.recognizer import Recognizer

    files = list_photographs(options.photographs)
    console, answered = _console(), 0
    with Recognizer.load(options.model) as recognizer:
        for prediction in predict_files(recognizer, files, options.output):
            answered += prediction.readable
            if options.json:
                print(json.dumps(prediction.to_dict()), flush=True)
            else:
                console.print(*tables(prediction), sep="\n")
    if not answered:
        raise ImageError("none of the photographs could be read; the lines above say why")


def _summary(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.atomic import atomic_path
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
        _console().print(*tables(summary), sep="\n")
    if options.svg is not None:
        with atomic_path(options.svg) as temporary:
            temporary.write_text(draw_network(model, schema, summary), encoding="utf-8")
        print(f"wrote {options.svg}", file=sys.stderr)


def _console() -> Console:
    from rich.console import Console

    # A file or pipe has no width of its own: rich would fold tables at 80 columns.
    return Console(width=None if sys.stdout.isatty() else 120, soft_wrap=False)


def _messages() -> Console:
    from rich.console import Console

    return Console(stderr=True)


if __name__ == "__main__":
    sys.exit(main())
