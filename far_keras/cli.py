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

from far_keras import __version__
from far_keras.errors import FarError

__all__ = ["main"]

VARIANTS = ("mgmtn_efficientnetlite0", "baseline_efficientnetlite0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The words after ``far-keras``; default: those of the process.

    Returns:
        The exit status: 0 done, 1 a `FarError` (printed in one line), 130 interrupted.
    """
    # TensorFlow prints start-up notices that no user can act upon.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except FarError as error:
        print(f"far-keras {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"\nfar-keras {options.command}: interrupted; the same command continues",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # The reader of a pipe such as `| head` has left: not an error of ours.
        sys.stdout = open(os.devnull, "w")
        return 0
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
    ):
        add(commands)
    return parser


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
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
    parser.add_argument("--directory", type=Path, default=Path("quickstart"), help="where to work")
    parser.add_argument("--count", type=int, default=1000, help="pictures to render")
    parser.add_argument("--seed", type=int, default=0)


def _add_synthesize(commands) -> None:
    parser = _command(
        commands, "synthesize", _synthesize, "render labelled faces in CelebA's own layout"
    )
    parser.add_argument("directory", type=Path, help="folder to write")
    parser.add_argument("--count", type=int, default=5000, help="pictures to render")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pictures")
    parser.add_argument("--workers", type=int, help="processes; default: one a core")
    parser.add_argument(
        "--negatives", type=float, default=0.03, help="share of pictures without a face"
    )
    parser.add_argument(
        "--correlations",
        choices=("people", "independent", "reversed"),
        default="people",
        help="how attributes go together",
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
    parser.add_argument("--variant", choices=VARIANTS, default=VARIANTS[0])
    parser.add_argument("--config", type=Path, help="YAML or JSON of TrainConfig; options win")
    parser.add_argument("--schema", type=Path, help="own attribute schema (.json, .yaml)")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int)


def _add_evaluate(commands) -> None:
    parser = _command(commands, "evaluate", _evaluate, "measure a model, with 95%% intervals")
    parser.add_argument("model", type=Path, help="folder that `far-keras train` wrote")
    parser.add_argument("records", type=Path, help="folder that `far-keras annotate` wrote")
    parser.add_argument("--baseline", type=Path, help="model to stand beside")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test")
    parser.add_argument("--output", type=Path, help="folder for the figures; default: the model's")


def _add_predict(commands) -> None:
    parser = _command(
        commands, "predict", _predict, "answer photographs: every face, its attributes and masks"
    )
    parser.add_argument("photographs", nargs="+", type=Path, help="pictures or folders")
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained model")
    parser.add_argument(
        "--output", type=Path, default=Path("predictions"), help="folder for annotated pictures"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _forced(text: str) -> tuple[str, int]:
    name, separator, value = text.partition("=")
    if not separator or value not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"expected ATTRIBUTE=0 or ATTRIBUTE=1, got {text!r}")
    return name, int(value)
