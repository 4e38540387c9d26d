"""`far-keras export`: writes a model as files for others to run."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.command import command, console_for_messages
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "export",
        run,
        "write a model for TF Serving: a SavedModel with signatures, names and warm-up requests",
        when_interrupted="begins anew",
    )
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the model's versions, such as saved_models/mgmtn; the next number is added",
    )
    parser.add_argument("--name", help="what the model is called (default: as the folder)")


def run(options: argparse.Namespace) -> None:
    load_tensorflow()
    from far_keras.export.saved_model import export_saved_model

    with console_for_messages().status(f"exporting {options.model}"):
        folder = export_saved_model(options.model, options.to, options.name)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"wrote {folder} ({size / 1e6:.1f} MB)")
    print(f"Next: far-keras serve {options.to.parent}")
