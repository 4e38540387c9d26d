"""Compares the speed of an exported model with that of its Keras model, in one run.

    python benchmarks/exported_speed.py                                      # default network
    python benchmarks/exported_speed.py --variant mgmtn_mobilenetv3small
    python benchmarks/exported_speed.py --model models/mgmtn                 # a trained one

Compared are the graph as `far-keras export` writes it, with batch normalisation folded into the
convolutions, and that of the Keras model. Rounds alternate, so that a busy machine slows both
alike; the ratio is that of the medians. Then what decoding adds and what warm-up saves.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from far_keras.export import ExportedModel, export_saved_model, load_saved_model
from far_keras.export.saved_model import WARMUP_FILE
from far_keras.geometry import ALIGNED_SIZE
from far_keras.models.storage import LoadedModel, load_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import CELEBA


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a trained model")
    parser.add_argument("--variant", default="mgmtn_efficientnetlite0")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    if options.model is None:
        config = ModelConfig(options.variant)
        thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
        loaded = LoadedModel(build_model(config), CELEBA, thresholds, config, {})
    else:
        loaded = load_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        version = export_saved_model(loaded, Path(folder) / "model")
        report(loaded, version, options.rounds)


def report(loaded: LoadedModel, version: Path, rounds: int) -> None:
    weights = sum(4 * int(np.prod(weight.shape)) for weight in loaded.model.weights)
    written = sum(file.stat().st_size for file in version.rglob("*") if file.is_file())
    print(f"{loaded.config.variant}, {loaded.image_size} px")
    print(f"weights {weights / 1e6:.2f} MB, exported {written / 1e6:.2f} MB")

    exported = load_saved_model(version)
    size = loaded.image_size
    unfolded = tf.function(
        lambda images: loaded.model(images, training=False),
        input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32)],
    ).get_concrete_function()
    folded = exported.signatures["serve_float"]
    rng = np.random.default_rng(0)
    for count in (1, 8, 32):
        images = tf.constant(rng.uniform(0, 255, (count, size, size, 3)).astype(np.float32))
        before, after = alternate(
            [lambda x=images: unfolded(x), lambda x=images: folded(images=x)],
            max(10, rounds // count),
        )
        print(
            f"batch {count}: as trained {before:.2f} ms, exported {after:.2f} ms, "
            f"{before / after:.2f} times as fast"
        )
    decoding(exported, rounds)
    warm_up(version)


def decoding(exported: ExportedModel, rounds: int) -> None:
    """Batch 1 by signature, of an aligned image and of one that has the network's size."""
    size = exported.description.image_size
    aligned = np.random.default_rng(0).integers(0, 256, (*ALIGNED_SIZE, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(aligned).save(buffer, "JPEG")
    names = ("uint8, its size", "uint8, aligned", "JPEG, aligned")
    inputs = (aligned[None, :size, :size], aligned[None], [buffer.getvalue()])
    times = alternate([lambda x=x: exported(x) for x in inputs], rounds)
    for name, milliseconds in zip(names, times, strict=True):
        print(f"batch 1, {name}: {milliseconds:.2f} ms")


def warm_up(version: Path) -> None:
    """The first call of a graph that was just loaded, without and with the warm-up requests."""
    size = load_saved_model(version).description.image_size
    image = np.zeros((1, size, size, 3), np.uint8)
    for warm in (False, True):
        model = load_saved_model(version)
        if warm:
            started = time.perf_counter()
            for record in tf.data.TFRecordDataset(str(version / WARMUP_FILE)).as_numpy_iterator():
                request = PredictionLog.FromString(record).predict_log.request
                name = request.model_spec.signature_name
                inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
                if name:  # not a request for Classify
                    model.signatures[name](**inputs)
            print(f"warm-up requests: {time.perf_counter() - started:.1f} s")
        first, *later = (measure(lambda m=model: m(image)) for _ in range(20))
        when = "after" if warm else "without"
        print(f"first call {when} warm-up: {first:.1f} ms, later {statistics.median(later):.1f} ms")


def alternate(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median milliseconds of each, measured in turns."""
    for call in calls:
        for _ in range(3):
            call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, own in zip(calls, times, strict=True):
            own.append(measure(call))
    return [statistics.median(own) for own in times]


def measure(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
