"""Compares every trained variant with its exported model.

    far-keras synthesize faces --count 500
    far-keras annotate faces records
    python benchmarks/photographs.py photographs
    python benchmarks/export_parity.py records photographs --variants \
        mgmtn_efficientnetlite0 mgmtn_mobilenetv3small \
        baseline_efficientnetlite0 baseline_mobilenetv3small
    # Small images, to train the large networks in minutes; odd like their own 227 pixels.
    python benchmarks/export_parity.py records photographs --image-size 113 --variants \
        mgmtn_resnest50 mgmtn_resnet50 baseline_resnest50 baseline_resnet50

Each variant is trained for a short while on the records, exported, loaded again and asked for the
photographs, 1, 2 and 17 at once, through its three signatures. Printed, by variant and output, are
the largest difference to `model.predict` on the same images and, in brackets, how far
`model.predict` itself is from the same weights in float64: two orders of the same float32 sums
cannot be expected to be closer to each other than to the truth. The exit status is 1 if an output
differs by more than 1e-5 and by more than three times its rounding, or if all images are predicted
alike, which would prove nothing.

Trained models stay in the folder of --output, where a second run continues.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from far_keras.errors import FarError
from far_keras.export import ExportedModel, export_saved_model, load_saved_model
from far_keras.files import atomic_path
from far_keras.images import read_image
from far_keras.models.storage import LoadedModel, load_model
from far_keras.models.variants import VARIANTS, build_model
from far_keras.quiet import quiet
from far_keras.tf_images import resize_images
from far_keras.training.config import TrainConfig
from far_keras.training.trainer import train

BATCHES = (1, 2, 17)
TOLERANCE = 1e-5
ROUNDINGS = 3  # the exported sums, twice as far off, on the other side
LEAST_SPREAD = 0.01
BATCH_SIZE = 8  # of the training: many steps of few images settle fresh weights soonest


@dataclass(frozen=True)
class Differences:
    """The largest differences of one variant's outputs, by output.

    Args:
        variant: Its name.
        image_size: Side of its input in pixels.
        images: Number of photographs that were asked for in each batch size and signature.
        exported: Exported model less `model.predict`.
        rounding: `model.predict` in float32 less the same in float64.
        spread: Mean over attributes of the probabilities' standard deviation over photographs.
    """

    variant: str
    image_size: int
    images: int
    exported: dict[str, float]
    rounding: dict[str, float]
    spread: float

    @property
    def within(self) -> bool:
        """Whether the exported model predicts as the network does, and differently by image."""
        return self.spread >= LEAST_SPREAD and all(
            difference <= max(TOLERANCE, ROUNDINGS * self.rounding[name])
            for name, difference in self.exported.items()
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path, help="what to train on")
    parser.add_argument("photographs", type=Path, help="folder of images of aligned faces")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--image-size", type=int, help="pixels a side (default: the variant's)")
    parser.add_argument("--limit", type=int, default=360, help="training images (%(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--images", type=int, default=51, help="at most (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("export-parity"))
    options = parser.parse_args()
    console = Console(width=110)
    try:
        rows = []
        for variant in options.variants:
            config = TrainConfig(
                records=str(options.records),
                output=str(options.output / "models" / variant),
                variant=variant,
                image_size=options.image_size,
                limit=options.limit,
                epochs=options.epochs,
                batch_size=BATCH_SIZE,
            )
            loaded = load_model(train(config).folder)
            versions = options.output / "exported" / variant
            exported = load_saved_model(export_saved_model(loaded, versions))
            images = read_photographs(options.photographs, loaded.image_size)[: options.images]
            rows.append(compare(variant, loaded, exported, images))
            console.print(draw(rows[-1:]))
    except FarError as error:
        sys.exit(f"error: {error}")
    console.print(draw(rows))
    with atomic_path(options.output / "parity.json") as temporary:
        temporary.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    sys.exit(0 if all(row.within for row in rows) else 1)


def read_photographs(folder: Path, size: int) -> np.ndarray:
    """uint8 (N, size, size, 3): the folder's images, resized as training does."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg"))
    if len(files) < max(BATCHES):
        sys.exit(f"{folder}: expected at least {max(BATCHES)} images. Received: {len(files)}")
    resized = [resize_images(read_image(file)[None], size)[0] for file in files]
    return np.round(np.clip(resized, 0, 255)).astype(np.uint8)


def compare(
    variant: str, loaded: LoadedModel, exported: ExportedModel, images: np.ndarray
) -> Differences:
    """Asks the network, the same in float64, and the exported file for the same images."""
    exact = in_float64(loaded)
    apart: dict[str, float] = {}
    rounding: dict[str, float] = {}
    probabilities = []
    for count in BATCHES:
        for start in range(0, len(images), count):
            # The last batch is filled up with the first images.
            batch = np.take(images, range(start, start + count), axis=0, mode="wrap")
            expected = predict(loaded, batch.astype(np.float32))
            for results in by_each_signature(exported, batch):
                record_largest(apart, results, expected)
            if count == BATCHES[-1]:
                probabilities.append(expected["attributes"])
                with quiet():  # TensorFlow warns for each operation that oneDNN has no float64
                    record_largest(rounding, expected, predict(exact, batch.astype(np.float64)))
    spread = float(np.concatenate(probabilities).std(axis=0).mean())
    return Differences(variant, loaded.image_size, len(images), apart, rounding, spread)


def record_largest(
    largest: dict[str, float], results: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> None:
    """Raises each output's largest difference so far."""
    for name, values in expected.items():
        difference = float(np.abs(results[name] - values).max())
        largest[name] = max(largest.get(name, 0.0), difference)


def in_float64(loaded: LoadedModel) -> LoadedModel:
    """The same weights in a network that calculates with twice the digits."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = build_model(loaded.config, loaded.schema)
    finally:
        keras.config.set_dtype_policy(policy)
    model.set_weights(loaded.model.get_weights())
    return replace(loaded, model=model)


def predict(loaded: LoadedModel, batch: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of `model.predict` and the calibration, named like the exported ones."""
    outputs = loaded.model.predict(batch, verbose=0)
    logits = outputs["attributes"]
    results = {
        "attributes": loaded.calibration.probabilities(logits, loaded.schema.attributes),
        "logits": logits,
    }
    if "masks" in outputs:
        results["masks"] = 1 / (1 + np.exp(-outputs["masks"].astype(np.float64)))
    return results


def by_each_signature(
    exported: ExportedModel, batch: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    """The outputs of `serve_uint8`, `serve_float` and `serving_default`."""
    yield exported(batch)
    yield exported(batch.astype(np.float32))
    yield exported([encode(image) for image in batch])


def encode(image: np.ndarray) -> bytes:
    """As PNG, which loses nothing."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def draw(rows: list[Differences]) -> Table:
    table = Table(title=f"largest differences over {rows[0].images} photographs (rounding)")
    table.add_column("variant")
    for column in ("pixels", "attributes", "masks", "logits", "spread"):
        table.add_column(column, justify="right")
    for row in rows:
        cells = [
            f"{row.exported[name]:.1e} ({row.rounding[name]:.1e})" if name in row.exported else ""
            for name in ("attributes", "masks", "logits")
        ]
        table.add_row(row.variant, str(row.image_size), *cells, f"{row.spread:.2f}")
    return table


if __name__ == "__main__":
    main()
