"""Measures the input pipeline relative to the JPEG decoder alone.

    python benchmarks/pipeline.py                  # 1,024 drawn images
    python benchmarks/pipeline.py --records DIR    # the training split of your own records

Every number is the median of alternating rounds, so a busy machine slows all rows equally. The
ratio to the decoder, which only reads records and decodes their JPEGs, is the cost of resizing,
masks, augmentation and batching. Processor time per image, over all cores, is what training loses
to the pipeline; unlike the speed it hardly depends on other processes. TensorFlow's fast DCT, which
nothing in the package uses, is measured as well: its speed and its error in gray levels.
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
from skimage.data import astronaut
from skimage.draw import ellipse

from far_keras.datasets.pipeline import load_records
from far_keras.datasets.records import (
    FaceRecord,
    Manifest,
    Shard,
    parse_record,
    read_manifest,
    write_shard,
)
from far_keras.schema import CELEBA
from far_keras.tf_images import decode_jpeg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, help="folder of records (default: drawn ones)")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--mask-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.records is not None:
        compare(options.records, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        draw_records(Path(folder), 1024)
        compare(Path(folder), options)


def compare(directory: Path, options: argparse.Namespace) -> None:
    manifest = read_manifest(directory)
    count = manifest.count("train")
    shards = [str(directory / shard.file) for shard in manifest.split_shards("train")]

    def jpeg(serialized: tf.Tensor) -> tf.Tensor:
        return parse_record(serialized, len(manifest.attributes))["image"]

    def decode(serialized: tf.Tensor) -> tf.Tensor:
        return decode_jpeg(jpeg(serialized))

    def decode_fast(serialized: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_jpeg(jpeg(serialized), channels=3, dct_method="INTEGER_FAST")

    def error(serialized: tf.Tensor) -> tf.Tensor:
        images = tf.cast([decode(serialized), decode_fast(serialized)], tf.float32)
        return tf.abs(images[0] - images[1])

    def pipeline(cache: bool, training: bool) -> tf.data.Dataset:
        return load_records(
            directory,
            "train",
            image_size=options.image_size,
            mask_size=options.mask_size,
            training=training,
            cache=cache,
            allow_missing=True,
        )

    def decoder(function: Callable) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(shards)
        return records.map(function, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    candidates: dict[str, tf.data.Dataset] = {
        "JPEG decoder alone": decoder(decode),
        "with fast DCT": decoder(decode_fast),
        "training": pipeline(cache=False, training=True),
        "training, cached": pipeline(cache=True, training=True),
        "evaluation": pipeline(cache=False, training=False),
    }
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for number in range(options.rounds + 1):
        for name, dataset in candidates.items():
            seconds = epoch(dataset)
            if number:  # the first one fills caches and traces functions
                rounds[name].append(seconds)
    print(f"{count} images, {os.cpu_count()} cores, {options.image_size} px")
    print(f"{'':20} images/s   / decoder   processor ms per image")
    for name, done in rounds.items():
        speed = statistics.median(count / wall for wall, _ in done)
        ratio = statistics.median(
            decoder / wall
            for (decoder, _), (wall, _) in zip(rounds["JPEG decoder alone"], done, strict=True)
        )
        processor = statistics.median(1000 * cpu / count for _, cpu in done)
        print(f"{name:<20} {speed:8.0f} {ratio:11.2f} {processor:12.2f}")
    errors = np.concatenate([image.numpy().ravel() for image in decoder(error).take(256)])
    print(
        f"fast DCT, gray levels: mean error {errors.mean():.3f}, maximum {errors.max():.0f}, "
        f"{np.mean(errors > 2):.2%} of the values by more than 2"
    )


def epoch(dataset: tf.data.Dataset) -> tuple[float, float]:
    """Wall-clock and processor seconds for all batches."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in dataset:
        pass
    return time.perf_counter() - wall, time.process_time() - cpu


def draw_records(directory: Path, count: int) -> None:
    """Records with shifted crops of a portrait, as large in bytes as CelebA's (about 10 kB)."""
    rng = np.random.default_rng(0)
    portrait = Image.fromarray(astronaut()[:260, 110:340])
    records = []
    for index in range(count):
        left, top = rng.uniform(0, 30, 2)
        image = portrait.resize((178, 218), box=(left, top, left + 180, top + 220))
        jpeg, png = io.BytesIO(), io.BytesIO()
        image.save(jpeg, "JPEG", quality=92)
        packed = np.zeros((218, 178), np.uint8)
        for bit in range(8):
            y, x = rng.uniform((60, 50), (160, 130))
            packed[ellipse(y, x, *rng.uniform(10, 60, 2), shape=packed.shape)] |= 1 << bit
        Image.fromarray(packed).save(png, "PNG")
        labels = rng.integers(0, 2, CELEBA.num_attributes).astype(np.int8)
        records.append(FaceRecord(f"{index}.jpg", jpeg.getvalue(), labels, png.getvalue()))
    shards = []
    for number, start in enumerate(range(0, count, 256)):
        part = records[start : start + 256]
        file = f"train-{number:05d}.tfrecord"
        shards.append(Shard(file, "train", len(part), write_shard(directory / file, part)))
    Manifest("drawn", CELEBA.attributes, False, "", tuple(shards)).write(directory)


if __name__ == "__main__":
    main()
