import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from far_keras.datasets.records import (
    FaceRecord,
    Manifest,
    Shard,
    read_manifest,
    read_shard,
    write_shard,
)
from far_keras.schema import CELEBA, REGIONS

sys.path.insert(0, str(Path(__file__).parents[2]))  # `research` is not installed


def encode(array, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def noise_record(name, rng):
    """A record of noise with random labels; each region is a random rectangle."""
    coarse = rng.integers(0, 256, (11, 9, 3), np.uint8)
    regions = np.zeros((218, 178), np.uint8)
    for bit in range(len(REGIONS)):
        top, left = rng.integers(0, 120), rng.integers(0, 100)
        regions[top : top + 60, left : left + 50] |= 1 << bit
    return FaceRecord(
        f"{name}.jpg",
        encode(np.asarray(Image.fromarray(coarse).resize((178, 218))), "JPEG"),
        rng.integers(0, 2, CELEBA.num_attributes).astype(np.int8),
        masks=encode(regions),
        true_masks=encode(np.roll(regions, 3, axis=0)),
        identity=name // 2,
    )


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Records of 60 images of noise with all attributes and both kinds of masks."""
    folder, rng, shards = tmp_path_factory.mktemp("records"), np.random.default_rng(0), []
    first = 0
    for split, count in (("train", 36), ("valid", 12), ("test", 12)):
        faces = [noise_record(first + k, rng) for k in range(count)]
        first += count
        shards.append(
            Shard(f"{split}.rec", split, count, write_shard(folder / f"{split}.rec", faces))
        )
    Manifest("noise", CELEBA.attributes, True, "0", tuple(shards)).write(folder)
    return folder


@pytest.fixture(scope="session")
def photographs(records, tmp_path_factory):
    """Records as of labelled photographs: 20, persons unknown, labels of few attributes."""
    folder = tmp_path_factory.mktemp("photographs")
    manifest, rng = read_manifest(records), np.random.default_rng(0)
    labelled = [manifest.attributes.index(name) for name in ("Male", "Smiling", "Young", "Bald")]
    faces = []
    for record in list(read_shard(Path(records) / manifest.split_shards("train")[0].file))[:20]:
        labels = np.full(len(manifest.attributes), -1, np.int8)
        labels[labelled[:3]] = rng.permutation([0, 1, rng.integers(0, 2)])
        labels[labelled[3]] = 0
        faces.append(FaceRecord(record.file, record.image, labels, record.masks))
    name = "test-00000-of-00001.tfrecord"
    size = write_shard(folder / name, faces)
    shard = Shard(name, "test", len(faces), size)
    Manifest("photographs", manifest.attributes, False, "toy", (shard,)).write(folder)
    return folder
