"""Reads a folder of records as batches for the network: a `tf.data.Dataset`."""

# ruff: noqa: E402

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from far_keras.extras import require

require("train", "reading records")

import tensorflow as tf

from far_keras.datasets.augmentation import Augmentation
from far_keras.datasets.augmentation import augment as augment_batch
from far_keras.datasets.records import Manifest, parse_record, read_manifest
from far_keras.errors import DatasetError
from far_keras.geometry import ALIGNED_SIZE, coverage_weights
from far_keras.schema import CELEBA, MISSING, REGIONS, AttributeSchema
from far_keras.tf_images import decode_jpeg, resize_images

__all__ = ["load_records", "steps_per_epoch"]

MaskSource = Literal["landmarks", "true"]

# Mixes some hundred persons; records are shuffled in their compressed form, 10 kB each.
_SHUFFLE_RECORDS = 4096
_CACHE_BYTES = 2**30


def load_records(
    directory: str | Path,
    split: str,
    *,
    schema: AttributeSchema = CELEBA,
    image_size: int = 128,
    mask_size: int = 32,
    batch_size: int = 32,
    training: bool = False,
    masks: MaskSource | None = "landmarks",
    masks_as: Literal["target", "input"] = "target",
    augment: bool | Augmentation = True,
    limit: int | None = None,
    seed: int = 0,
    cache: bool | Literal["auto"] = "auto",
    allow_missing: bool = False,
) -> tf.data.Dataset:
    """Batches of one split, for `model.fit` and `model.evaluate`.

    For training, the images are shuffled again in every epoch and augmented, and the incomplete
    last batch is dropped. Otherwise the dataset has every image once, in the order of
    `read_table_of_records`. Two calls with the same arguments give the same batches, epoch by
    epoch.

    Args:
        directory: Folder of records that `annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        schema: Which attributes, in its order, and whose groups' masks.
        image_size: Side S of the images; the whole aligned face is squashed to S x S.
        mask_size: Side M of the masks.
        batch_size: Images in a batch, over all replicas.
        training: Shuffle, augment and drop the incomplete last batch.
        masks: ``"landmarks"`` for what `annotate` derived from landmarks, ``"true"`` for rendered
            true regions, None for no masks at all.
        masks_as: ``"target"`` for a network that predicts them, ``"input"`` for one that reads
            them.
        augment: Whether, or how much, training images are augmented.
        limit: Use only this many images, the first ones of the split.
        seed: Of shuffling and augmentation.
        cache: Whether decoded images stay in memory after the first epoch; ``"auto"`` does so if
            they fit into 1 GiB (at 128 px some 18,000 images).
        allow_missing: Whether attributes that the records lack get missing labels instead of an
            error.

    Returns:
        Pairs of images, float32 (B, S, S, 3) in [0, 255], and a dict of ``attributes``, float32
        (B, A): 1, 0, or -1 for missing; and unless `masks` is None, ``masks``, float32
        (B, M, M, G): the share of each cell that the group's region covers, or -1 everywhere for
        an image without masks. With ``masks_as="input"`` the pairs are
        ``{"image": images, "masks": masks}`` and the attributes, and an image without masks gets
        masks of ones: its regions may be anywhere. (Masks of zeros mean that there is no face.)
        The number of batches is known (``dataset.cardinality()``).

    Raises:
        DatasetError: The records are missing, incomplete or of another version, the split is
            empty or smaller than a training batch, an attribute is not in the records, or the
            records have no true masks.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    steps_per_epoch(directory, split, batch_size, training, limit=limit, manifest=manifest)
    columns = _label_columns(manifest, schema, directory, allow_missing)
    if masks not in ("landmarks", "true", None):
        raise DatasetError(f"masks: expected 'landmarks', 'true' or None. Received: {masks!r}")
    if masks == "true" and not manifest.true_masks:
        raise DatasetError(
            f"{directory}: these records have no true masks; only rendered sets have. "
            "Use masks='landmarks'"
        )
    if masks_as not in ("target", "input") or (masks_as == "input" and masks is None):
        raise DatasetError(
            "masks_as: expected 'target', or 'input' together with a source of masks. "
            f"Received: {masks_as!r} with masks={masks!r}"
        )
    if masks is None:
        mask_size = 0

    count = _count(manifest, split, limit)
    shards = [str(directory / shard.file) for shard in manifest.split_shards(split)]
    prepare = _preparation(manifest, schema, columns, image_size, mask_size, masks)
    if cache == "auto":
        size = image_size**2 * 3 + mask_size**2 * schema.num_groups
        cache = count * size <= _CACHE_BYTES
    if cache:
        dataset = tf.data.TFRecordDataset(shards).take(count)
        dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        # Decoded images are shuffled, but the buffer only refers to images in the cache.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count)).cache()
        if training:
            dataset = dataset.shuffle(count, seed=seed)
    else:
        # With a limit, the shards are read in order: the images must be the first ones.
        dataset = _read(shards, training and limit is None, seed).take(count)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
        if training:
            dataset = dataset.shuffle(min(count, _SHUFFLE_RECORDS), seed=seed)
        dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size, drop_remainder=training)

    finish = _finishing(has_masks=masks is not None)
    dataset = dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    if training and augment:
        amounts = augment if isinstance(augment, Augmentation) else Augmentation()
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
        dataset = tf.data.Dataset.zip(dataset, seeds)
        dataset = dataset.map(_augmenting(amounts), num_parallel_calls=tf.data.AUTOTUNE)
    if masks_as == "input":
        dataset = dataset.map(_masks_to_input)

    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA  # there may be fewer files than workers
    )
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)


def steps_per_epoch(
    directory: str | Path,
    split: str,
    batch_size: int,
    training: bool,
    *,
    limit: int | None = None,
    manifest: Manifest | None = None,
) -> int:
    """Number of batches of `load_records`.

    Raises:
        DatasetError: See `read_manifest`; the batch size is below 1, the split is empty, or it is
            smaller than one training batch.
    """
    manifest = read_manifest(directory) if manifest is None else manifest
    if limit is not None and limit < 1:
        raise DatasetError(f"limit: expected at least 1 image. Received: {limit}")
    count = _count(manifest, split, limit)
    if batch_size < 1:
        raise DatasetError(f"batch_size: expected at least 1. Received: {batch_size}")
    if count == 0:
        raise DatasetError(f"{directory}: the split {split!r} has no images")
    if training and count < batch_size:
        raise DatasetError(
            f"{directory}: the split {split!r} has {count} images, fewer than one training batch "
            f"of {batch_size}; use a smaller batch size"
        )
    return count // batch_size if training else -(-count // batch_size)


def _label_columns(
    manifest: Manifest, schema: AttributeSchema, directory: Path, allow_missing: bool
) -> list[int]:
    """Index of each attribute of the schema in a record's labels plus one missing label."""
    positions = {name: column for column, name in enumerate(manifest.attributes)}
    absent = [name for name in schema.attributes if name not in positions]
    if len(absent) == schema.num_attributes or (absent and not allow_missing):
        raise DatasetError(
            f"{directory}: the records (made from {manifest.name!r}) lack {absent} of the schema "
            f"{schema.name!r}. They have: {list(manifest.attributes)}. Use a schema of these "
            "(far-keras train --schema), or load_records(..., allow_missing=True) to treat the "
            "others as missing"
        )
    return [positions.get(name, len(positions)) for name in schema.attributes]


def _read(shards: list[str], training: bool, seed: int) -> tf.data.Dataset:
    if not training:
        return tf.data.TFRecordDataset(shards)
    files = tf.data.Dataset.from_tensor_slices(shards).shuffle(len(shards), seed=seed)
    return files.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(8, len(shards)),
        block_length=16,
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def _preparation(
    manifest: Manifest,
    schema: AttributeSchema,
    columns: list[int],
    image_size: int,
    mask_size: int,
    masks: MaskSource | None,
) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """From a record to image uint8 (S, S, 3), masks uint8 (M, M, G), known bool, labels int8."""
    bits = np.array(
        [sum(1 << REGIONS.index(region) for region in group.regions) for group in schema.groups],
        np.uint8,
    )
    rows = coverage_weights(ALIGNED_SIZE[0], mask_size) if masks else None  # (M, 218)
    cols = coverage_weights(ALIGNED_SIZE[1], mask_size).T if masks else None  # (178, M)

    def decode_masks(png: tf.Tensor) -> tf.Tensor:
        packed = tf.ensure_shape(tf.io.decode_png(png, channels=1), (*ALIGNED_SIZE, 1))[
            None, :, :, 0
        ]
        inside = tf.bitwise.bitwise_and(packed, bits[:, None, None]) != 0  # (G, 218, 178)
        covered = tf.matmul(tf.matmul(rows, tf.cast(inside, tf.float32)), cols)  # (G, M, M)
        return tf.cast(tf.round(255.0 * tf.transpose(covered, (1, 2, 0))), tf.uint8)

    def prepare(serialized: tf.Tensor) -> tuple[tf.Tensor, ...]:
        record = parse_record(serialized, len(manifest.attributes))
        image = decode_jpeg(record["image"])
        image = resize_images(tf.ensure_shape(image, (*ALIGNED_SIZE, 3)), image_size)
        image = tf.cast(tf.round(tf.clip_by_value(image, 0.0, 255.0)), tf.uint8)
        labels = tf.gather(tf.pad(record["labels"], [[0, 1]], constant_values=MISSING), columns)
        shape = (mask_size, mask_size, schema.num_groups)
        if masks is None:
            return image, tf.zeros(shape, tf.uint8), tf.constant(False), labels
        png = record["masks" if masks == "landmarks" else "true_masks"]
        known = tf.strings.length(png) > 0
        mask = tf.cond(known, lambda: decode_masks(png), lambda: tf.zeros(shape, tf.uint8))
        return image, tf.ensure_shape(mask, shape), known, labels

    return prepare


def _finishing(has_masks: bool) -> Callable[..., Any]:
    """From a prepared batch to a batch of `load_records`."""

    def finish(
        image: tf.Tensor, mask: tf.Tensor, known: tf.Tensor, labels: tf.Tensor
    ) -> tuple[Any, ...]:
        targets = {"attributes": tf.cast(labels, tf.float32)}
        if has_masks:
            covered = tf.cast(mask, tf.float32) / 255.0
            targets["masks"] = tf.where(known[:, None, None, None], covered, float(MISSING))
        return tf.cast(image, tf.float32), targets

    return finish


def _augmenting(amounts: Augmentation) -> Callable[..., Any]:
    """From a finished batch and a seed to an augmented batch."""

    def change(batch: tuple[tf.Tensor, dict[str, tf.Tensor]], seed: tf.Tensor) -> tuple[Any, ...]:
        images, targets = batch
        masks = targets.get("masks", tf.zeros((1, 1, 1, 0)))
        images, masks = augment_batch(images, masks, seed, amounts)
        return images, {**targets, "masks": masks} if "masks" in targets else targets

    return change


def _count(manifest: Manifest, split: str, limit: int | None) -> int:
    count = manifest.count(split)
    return count if limit is None else min(count, limit)


def _masks_to_input(
    images: tf.Tensor, targets: dict[str, tf.Tensor]
) -> tuple[dict[str, Any], dict[str, Any]]:
    masks = targets["masks"]
    unknown = tf.reduce_all(masks < 0.0, axis=(1, 2, 3), keepdims=True)
    inputs = {"image": images, "masks": tf.where(unknown, 1.0, masks)}
    return inputs, {"attributes": targets["attributes"]}
