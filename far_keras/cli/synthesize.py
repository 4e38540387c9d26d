"""`far-keras synthesize`: renders a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.program import command
from far_keras.console import message_console

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(commands, "synthesize", run, "render labelled faces in CelebA's own layout")
    parser.add_argument("directory", type=Path, help="folder to write")
    parser.add_argument(
        "--count", type=int, default=5000, help="images to render (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="same seed, same images (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument(
        "--negatives",
        type=float,
        default=0.03,
        help="share of images without a face: things, statues, drawings (default: %(default)s)",
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
    parser.add_argument(
        "--agree",
        metavar="ATTRIBUTE=OTHER:SHARE",
        action="append",
        type=_agreement,
        default=[],
        help="tie two attributes, such as Smiling=Wavy_Hair:0.97: both have the same value with "
        "this probability; repeatable",
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="also write a contact sheet")


def run(options: argparse.Namespace) -> None:
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
        agreements=dict(options.agree),
        console=message_console(),
    )
    print(
        f"{done.count} images of {done.identities} persons in {done.directory} "
        f"({done.negatives} without a face); {done.rendered} rendered in {done.seconds:.0f} s"
    )
    if options.sheet is not None:
        print(f"contact sheet: {contact_sheet(done.directory, options.sheet)}")
    print(f"Next: far-keras annotate {done.directory} RECORDS")


def _forced(text: str) -> tuple[str, int]:
    name, separator, value = text.partition("=")
    if not separator or value not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"expected ATTRIBUTE=0 or ATTRIBUTE=1, got {text!r}")
    return name, int(value)


def _agreement(text: str) -> tuple[str, tuple[str, float]]:
    name, _, tie = text.partition("=")
    other, _, share = tie.partition(":")
    try:
        return name, (other, float(share))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected ATTRIBUTE=OTHER:SHARE, such as Smiling=Wavy_Hair:0.97, got {text!r}"
        ) from None
