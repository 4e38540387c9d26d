"""How fast batches come out of the pipeline, beside the bare JPEG decoder, in one run.

    python benchmarks/pipeline.py                  # 1,024 drawn images
    python benchmarks/pipeline.py --records DIR    # the training split of your own records

Every figure is the median of alternating rounds, so that a busy machine slows all alike. The
ratio to the decoder, which only reads records and decodes their JPEGs, says what resizing, masks,
augmentation and batching cost. Processor time an image, over all cores, is what training loses
to the pipeline; unlike the speed it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from PIL import Image
from skimage.data import astronaut
from skimage.draw import ellipse

from far_keras.datasets.manifest import Manifest, Shard, read_manifest
from far_keras.datasets.pipeline import load_records
from far_keras.datasets.records import FaceRecord, parse_record, write_shard
from far_keras.schema import CELEBA


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

    def decode(serialized: tf.Tensor) -> tf.Tensor:
        record = parse_record(serialized, len(manifest.attributes))
        return tf.io.decode_jpeg(record["image"], channels=3)

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

    raw = tf.data.TFRecordDataset(shards).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    candidates: dict[str, tf.data.Dataset] = {
        "JPEG decoder alone": raw.prefetch(tf.data.AUTOTUNE),
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
    print(f"{'':20} images/s   / decoder   processor ms an image")
    for name, done in rounds.items():
        speed = statistics.median(count / wall for wall, _ in done)
        ratio = statistics.median(
            decoder / wall
            for (decoder, _), (wall, _) in zip(rounds["JPEG decoder alone"], done, strict=True)
        )
        processor = statistics.median(1000 * cpu / count for _, cpu in done)
        print(f"{name:<20} {speed:8.0f} {ratio:11.2f} {processor:12.2f}")


def epoch(dataset: tf.data.Dataset) -> tuple[float, float]:
    """Seconds by the clock and of the processor for all batches."""
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
