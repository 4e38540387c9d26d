from pathlib import Path

import numpy as np
import pytest

from far_keras.datasets.annotate import annotate
from far_keras.datasets.manifest import Manifest, Shard, read_manifest
from far_keras.datasets.opening import open_dataset
from far_keras.datasets.records import FaceRecord, read_shard, write_shard
from far_keras.synthetic.dataset import synthesize


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Records of 60 rendered faces."""
    folder = tmp_path_factory.mktemp("experiments")
    synthesize(folder / "faces", 60, seed=1, negatives=0.0)
    annotate(open_dataset(folder / "faces"), folder / "records")
    return folder / "records"


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
