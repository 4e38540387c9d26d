import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from far_keras.datasets.augmentation import Augmentation
from far_keras.datasets.pipeline import (
    coverage_weights,
    load_records,
    steps_per_epoch,
)
from far_keras.datasets.records import (
    FaceRecord,
    Manifest,
    Shard,
    read_manifest,
    read_shard,
    read_table_of_records,
    write_shard,
)
from far_keras.errors import DatasetError
from far_keras.schema import CELEBA, REGIONS, AttributeSchema, Group
from far_keras.tf_images import resize_images

ATTRIBUTES = ("Frowning", "Tired", "Freckles", "Bearded", "Squinting", "Unused")
OWN = AttributeSchema(
    "own",
    ("Tired", "Squinting", "Freckles", "Frowning", "Bearded"),
    (
        Group("Upper", ("Tired", "Squinting", "Frowning"), ("eyes", "hair")),
        Group("Lower", ("Bearded",), ("lower_face",)),
        Group("Skin", ("Freckles",), ("cheeks", "nose", "mouth")),
    ),
)


def png(packed):
    buffer = io.BytesIO()
    Image.fromarray(packed).save(buffer, "PNG")
    return buffer.getvalue()


def make_record(index, rng):
    """An image of one colour whose number is in the label bits; every third has no masks."""
    image = np.full((218, 178, 3), (10 * index % 256, 7 * index % 256, 128), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    labels = np.array([(index >> bit) & 1 for bit in range(len(ATTRIBUTES))], np.int8)
    labels[1] = -1
    return FaceRecord(
        file=f"{index:06d}.jpg",
        image=buffer.getvalue(),
        labels=labels,
        masks=b"" if index % 3 == 0 else png(rng.integers(0, 256, (218, 178), np.uint8)),
        true_masks=png(np.full((218, 178), 1 << REGIONS.index("hair"), np.uint8)),
        identity=index // 2,
    )


def write_records(folder, counts, true_masks=True):
    """Shards of the given numbers of records: {"train": [5, 4], ...}. Returns the records."""
    rng = np.random.default_rng(0)
    numbers = itertools.count()
    records, shards = {}, []
    for split, sizes in counts.items():
        for position, count in enumerate(sizes):
            file = f"{split}-{position:05d}-of-{len(sizes):05d}.tfrecord"
            made = [make_record(next(numbers), rng) for _ in range(count)]
            shards.append(Shard(file, split, count, write_shard(folder / file, made)))
            records.setdefault(split, []).extend(made)
    Manifest("drawn", ATTRIBUTES, true_masks, "abc", tuple(shards)).write(folder)
    return records


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    return folder, write_records(folder, {"train": [13, 12, 12], "valid": [4, 3]})


def load(folder, split, **options):
    options = {"schema": OWN, "image_size": 32, "mask_size": 8, "batch_size": 4, **options}
    return load_records(folder, split, **options)


def numbers(dataset):
    """Which image each row is, from the labels that spell its number."""
    rows = np.concatenate([targets["attributes"].numpy() for _, targets in dataset])
    bits = {"Frowning": 0, "Freckles": 2, "Bearded": 3, "Squinting": 4}
    return sum(rows[:, OWN.index(name)].astype(int) << bit for name, bit in bits.items()).tolist()


def test_records_come_back_exactly(drawn):
    folder, records = drawn
    read = list(read_shard(folder / "valid-00000-of-00002.tfrecord"))
    assert len(read) == 4
    for expected, record in zip(records["valid"], read, strict=False):
        assert record.file == expected.file
        assert record.image == expected.image
        assert record.labels.tolist() == expected.labels.tolist()
        assert (record.masks, record.true_masks) == (expected.masks, expected.true_masks)
        assert record.identity == expected.identity


def test_table_of_records(drawn):
    folder, records = drawn
    table = read_table_of_records(folder, "train")
    assert table.files == tuple(record.file for record in records["train"])
    np.testing.assert_array_equal(table.labels, [record.labels for record in records["train"]])
    np.testing.assert_array_equal(table.identities, [r.identity for r in records["train"]])


@pytest.mark.parametrize("cache", [True, False])
def test_evaluation_batches_are_all_images_in_the_known_order(drawn, cache):
    folder, records = drawn
    dataset = load(folder, "valid", cache=cache)
    table = read_table_of_records(folder, "valid")
    assert table.files == tuple(record.file for record in records["valid"])
    assert dataset.cardinality() == 2 == steps_per_epoch(folder, "valid", 4, False)
    images, labels, masks = [], [], []
    for batch, targets in dataset:
        assert batch.dtype == targets["attributes"].dtype == targets["masks"].dtype == tf.float32
        images.append(batch.numpy())
        labels.append(targets["attributes"].numpy())
        masks.append(targets["masks"].numpy())
    assert [len(batch) for batch in images] == [4, 3]
    columns = [ATTRIBUTES.index(name) for name in OWN.attributes]
    expected = np.array([record.labels for record in records["valid"]])[:, columns]
    np.testing.assert_array_equal(np.concatenate(labels), expected)
    for image, record in zip(np.concatenate(images), records["valid"], strict=True):
        decoded = np.asarray(Image.open(io.BytesIO(record.image)))
        np.testing.assert_array_equal(image, np.broadcast_to(decoded[0, 0], (32, 32, 3)))
    for mask, record in zip(np.concatenate(masks), records["valid"], strict=True):
        np.testing.assert_allclose(mask, expected_masks(record), atol=0.5 / 255 + 1e-6)


def test_masks_move_along_as_an_input_too(drawn):
    folder, _ = drawn
    options = {"training": True, "seed": 3, "cache": False}
    as_targets = load(folder, "train", **options)
    as_inputs = load(folder, "train", masks_as="input", **options)
    for (images, targets), (inputs, labels) in zip(as_targets, as_inputs, strict=True):
        np.testing.assert_array_equal(images, inputs["image"])
        np.testing.assert_array_equal(targets["attributes"], labels["attributes"])
        known = (targets["masks"].numpy() >= 0).all(axis=(1, 2, 3), keepdims=True)
        np.testing.assert_array_equal(np.where(known, targets["masks"], 1.0), inputs["masks"])


@pytest.mark.parametrize("options", [{"masks_as": "guess"}, {"masks_as": "input", "masks": None}])
def test_masks_that_cannot_be_an_input_are_refused(drawn, options):
    with pytest.raises(DatasetError, match="masks_as: expected 'target', or 'input' together"):
        load(drawn[0], "valid", **options)


def expected_masks(record):
    if not record.masks:
        return np.full((8, 8, 3), -1.0)
    packed = np.asarray(Image.open(io.BytesIO(record.masks)))
    groups = []
    for group in OWN.groups:
        inside = np.zeros(packed.shape, bool)
        for region in group.regions:
            inside |= (packed >> REGIONS.index(region)) & 1 == 1
        # The area average by brute force: every pixel as 8 x 8 equal pieces (218 * 8 = 8 * 218).
        fine = np.kron(inside, np.ones((8, 8)))
        groups.append(fine.reshape(8, 218, 8, 178).mean(axis=(1, 3)))
    return np.stack(groups, axis=-1)


def test_coverage_weights_average_exactly():
    weights = coverage_weights(178, 32)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=0), 32 / 178, rtol=1e-5)
    np.testing.assert_allclose(coverage_weights(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(
        coverage_weights(3, 2), np.array([[2, 1, 0], [0, 1, 2]]) / 3, rtol=1e-6
    )


def test_resizing_is_pillows_bilinear():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (218, 178, 3), np.uint8)
    for size in (128, 227):
        expected = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        # Pillow rounds to whole grey levels after each of two passes.
        np.testing.assert_allclose(resize_images(image, size), np.asarray(expected), atol=1.01)


@pytest.mark.parametrize("cache", [True, False])
def test_training_epochs_are_shuffled_anew_and_repeatable(drawn, cache):
    folder, _ = drawn
    dataset = load(folder, "train", training=True, cache=cache, seed=5)
    assert dataset.cardinality() == 9 == steps_per_epoch(folder, "train", 4, True)
    first, second = list(dataset), list(dataset)
    again = load(folder, "train", training=True, cache=cache, seed=5)
    for epoch in (first, second):
        for (images, targets), (same_images, same_targets) in zip(epoch, again, strict=True):
            np.testing.assert_array_equal(images, same_images)
            np.testing.assert_array_equal(targets["masks"], same_targets["masks"])
            np.testing.assert_array_equal(targets["attributes"], same_targets["attributes"])
    assert numbers(first) != numbers(second)
    assert numbers(first) != sorted(numbers(first))
    other = load(folder, "train", training=True, cache=cache, seed=6)
    assert numbers(other) != numbers(first)


def test_an_epoch_has_each_image_once_and_augments_anew(drawn):
    folder, records = drawn
    dataset = load(folder, "train", training=True, batch_size=37, augment=False)
    expected = np.array(
        [np.asarray(Image.open(io.BytesIO(r.image)))[0, 0] for r in records["train"]]
    )
    (images, targets) = next(iter(dataset))
    seen = images.numpy()[:, 0, 0]
    np.testing.assert_array_equal(sorted(seen.tolist()), sorted(expected.tolist()))
    missing = (targets["masks"].numpy() == -1).all(axis=(1, 2, 3))
    assert missing.sum() == sum(not record.masks for record in records["train"])

    colors = [
        {tuple(np.round(i[0, 0], 3)) for batch, _ in dataset for i in batch.numpy()}
        for dataset in [load(folder, "train", training=True, augment=Augmentation(hue=0.1))]
        for _ in range(2)
    ]
    assert not colors[0] & colors[1]


@pytest.mark.parametrize("cache", [True, False])
def test_a_limit_keeps_the_first_images_in_every_epoch(drawn, cache):
    folder, records = drawn
    dataset = load(folder, "train", training=True, limit=14, batch_size=7, cache=cache)
    assert dataset.cardinality() == 2 == steps_per_epoch(folder, "train", 7, True, limit=14)
    known = [int(record.file[:6]) & 0b11101 for record in records["train"][:14]]
    for _ in range(2):
        assert sorted(numbers(dataset)) == sorted(known)
    assert len(numbers(load(folder, "train", limit=1000))) == 37
    with pytest.raises(DatasetError, match="limit: expected at least 1"):
        load(folder, "train", limit=0)


def test_missing_masks_stay_missing_under_augmentation(drawn):
    folder, _ = drawn
    for _, targets in load(folder, "train", training=True):
        for mask in targets["masks"].numpy():
            assert (mask == -1).all() or mask.min() >= 0


def test_true_masks_and_no_masks(drawn):
    folder, _ = drawn
    _, targets = next(iter(load(folder, "valid", masks="true")))
    upper, others = targets["masks"].numpy()[..., :1], targets["masks"].numpy()[..., 1:]
    assert (upper == 1).all()  # hair belongs to the group Upper
    assert (others == 0).all()
    _, targets = next(iter(load(folder, "train", masks=None, training=True)))
    assert set(targets) == {"attributes"}
    with pytest.raises(DatasetError, match="expected 'landmarks', 'true' or None"):
        load(folder, "valid", masks="hair")


def test_schema_that_does_not_fit(drawn):
    folder, _ = drawn
    wider = AttributeSchema(
        "wider", ("Tired", "Bald"), (Group("All", ("Tired", "Bald"), ("object",)),)
    )
    with pytest.raises(DatasetError, match=r"lack \['Bald'\] of the schema 'wider'"):
        load(folder, "valid", schema=wider)
    _, targets = next(iter(load(folder, "valid", schema=wider, allow_missing=True)))
    assert (targets["attributes"].numpy()[:, 1] == -1).all()
    with pytest.raises(DatasetError, match="lack"):
        load(folder, "valid", schema=CELEBA, allow_missing=True)  # not one attribute fits


def test_splits_that_are_empty_small_or_unknown(drawn):
    folder, _ = drawn
    with pytest.raises(DatasetError, match="'test' has no images"):
        load(folder, "test")
    with pytest.raises(DatasetError, match="37 images, fewer than one training batch of 64"):
        load(folder, "train", training=True, batch_size=64)
    with pytest.raises(DatasetError, match=r"expected one of .*Received: 'dev'"):
        load(folder, "dev")
    with pytest.raises(DatasetError, match="batch_size: expected at least 1"):
        load(folder, "valid", batch_size=0)


def test_two_replicas_see_each_image_once(drawn):
    folder, records = drawn
    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    seen = []
    for _, targets in strategy.experimental_distribute_dataset(load(folder, "valid")):
        for rows in strategy.experimental_local_results(targets["attributes"]):
            seen.extend(rows.numpy().tolist())
    columns = [ATTRIBUTES.index(name) for name in OWN.attributes]
    assert seen == [record.labels[columns].tolist() for record in records["valid"]]


def test_damaged_folders(tmp_path):
    with pytest.raises(DatasetError, match=r"no manifest\.json.*far-keras annotate"):
        load(tmp_path, "train")
    write_records(tmp_path, {"train": [6]}, true_masks=False)
    with pytest.raises(DatasetError, match="have no true masks"):
        load(tmp_path, "train", masks="true")
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(DatasetError, match=rf"{len(whole)} bytes. Received: {len(whole) - 100}"):
        load(tmp_path, "train")
    with pytest.raises(DatasetError, match="damaged"):
        list(read_shard(shard))
    shard.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    with pytest.raises(DatasetError, match="damaged"):
        read_table_of_records(tmp_path, "train")
    shard.unlink()
    with pytest.raises(DatasetError, match="no such file"):
        read_manifest(tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(DatasetError, match=r"records of version 1\. Received: 99"):
        read_manifest(tmp_path)
    manifest.write_text("{")
    with pytest.raises(DatasetError, match="cannot read the manifest"):
        read_manifest(tmp_path)


def test_manifest_comes_back_as_it_was(tmp_path):
    shard = Shard("a.tfrecord", "train", 0, 0, ("x.jpg",), 2, (("y.jpg", "truncated"),))
    (tmp_path / "a.tfrecord").touch()
    manifest = Manifest("set", ("Bald", "Male"), True, "f00", (shard,))
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
