"""`far-keras export`: writes a model as files that other programs run."""

from __future__ import annotations

import argparse
from pathlib import Path

from far_keras.cli.program import command
from far_keras.console import message_console, table_console
from far_keras.errors import ModelError
from far_keras.extras import require
from far_keras.models.variants import PRETRAINED, pretrained_folder
from far_keras.quiet import load_tensorflow

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    parser = command(
        commands,
        "export",
        run,
        "write a model for other programs: a SavedModel for TF Serving, .tflite files for phones",
        when_interrupted="starts over",
    )
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        help="folder of a trained model (default: the model that comes with far_keras, into "
        f"saved_models/{PRETRAINED} and its folder tflite)",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="SavedModel: the model's versions, such as saved_models/mgmtn; the next number is "
        "added",
    )
    parser.add_argument(
        "--tflite",
        type=Path,
        metavar="FOLDER",
        help="write NAME-float32.tflite, -float16, -dynamic and -int8 there, and compare them with "
        "the model",
    )
    parser.add_argument(
        "--records",
        type=Path,
        help="for --tflite: folder that `far-keras annotate` wrote; its training images "
        "calibrate int8, its test images compare (default: those of the training, if present; for "
        "the model that comes with far_keras, faces are rendered to calibrate)",
    )
    parser.add_argument(
        "--licence",
        default="",
        metavar="TEXT",
        help="the model's licence, such as Apache-2.0, which the files state",
    )
    parser.add_argument("--name", help="the model's name (default: that of the folder)")


def run(options: argparse.Namespace) -> None:
    require("export", "exporting")
    packaged = options.model is None
    if packaged:
        options.model = pretrained_folder()
    if options.to is None and options.tflite is None:
        if not packaged:
            raise ModelError("expected --to FOLDER, --tflite FOLDER or both. Received: neither")
        options.to = Path("saved_models") / PRETRAINED
        options.tflite = options.to / "tflite"  # servers read folders with numbers only
    load_tensorflow()
    if options.to is not None:
        _saved_model(options)
    if options.tflite is not None:
        _tflite(options, packaged)


def _saved_model(options: argparse.Namespace) -> None:
    from far_keras.export.saved_model import export_saved_model

    with message_console().status(f"exporting {options.model}"):
        folder = export_saved_model(
            options.model, options.to, options.name, licence=options.licence
        )
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"wrote {folder} ({size / 1e6:.1f} MB)")
    print(f"Next: far-keras serve {options.to.parent}")


def _tflite(options: argparse.Namespace, packaged: bool) -> None:
    from far_keras.evaluation.parity import measure_parity, parity_table, write_parity
    from far_keras.export.tflite import (
        CALIBRATION_IMAGES,
        PRECISIONS,
        calibration_images,
        export_tflite,
        name_of_records,
        rendered_images,
        training_records,
    )
    from far_keras.models.storage import load_model

    loaded = load_model(options.model)
    records = options.records or training_records(loaded)
    with message_console().status(f"converting {options.model}"):
        images, origin = None, ""
        if records is not None:
            images = calibration_images(records, loaded.image_size, loaded.schema)
            origin = name_of_records(records)
        elif packaged:
            images = rendered_images(loaded.image_size, CALIBRATION_IMAGES)
            origin = "rendered faces"
        files = export_tflite(
            loaded,
            options.tflite,
            options.name or options.model.absolute().name,
            precisions=PRECISIONS[:-1] if images is None else PRECISIONS,
            images=images,
            images_from=origin,
            licence=options.licence,
        )
    for path in files.values():
        print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
    if records is not None:
        parity = measure_parity(loaded, files, records)
        table_console().print(parity_table(parity))
        print(f"wrote {write_parity(parity, options.tflite)}")
    elif packaged:
        print("int8 was calibrated on rendered faces; --records compares all with the model")
    else:
        print(
            "int8 was not written and nothing was compared: both need images. Give --records, "
            "a folder that `far-keras annotate` wrote"
        )
