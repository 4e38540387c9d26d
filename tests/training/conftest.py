"""A small set of records with something to learn, in the format that `annotate` writes."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from far_keras.datasets.manifest import Manifest, Shard
from far_keras.datasets.records import FaceRecord, write_shard
from far_keras.schema import REGIONS, AttributeSchema, Group

SCHEMA = AttributeSchema(
    "three",
    ("Bright", "Red", "Unknown"),
    (Group("Top", ("Red", "Unknown"), ("hair",)), Group("All", ("Bright",), ("object", "mouth"))),
)


def make_record(rng: np.random.Generator, index: int) -> FaceRecord:
    """A picture that is bright or dark and reddish or bluish, with its hair in the upper third."""
    bright, red = rng.integers(0, 2, 2)
    image = rng.normal(100 + 60 * bright, 20, (218, 178, 3))
    image[:70, :, 0 if red else 2] += 60
    pixels = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype("uint8")).save(pixels, "JPEG")
    masks = np.zeros((218, 178), "uint8")
    masks[:70] |= 1 << REGIONS.index("hair")
    masks[20:200, 20:160] |= 1 << REGIONS.index("object")
    png = io.BytesIO()
    Image.fromarray(masks).save(png, "PNG")
    labels = np.array([bright, red, -1], "int8")
    # Every fifth picture has no mask, as if no face had been found.
    return FaceRecord(
        f"{index}.jpg", pixels.getvalue(), labels, b"" if index % 5 == 4 else png.getvalue()
    )


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Folder with 24 training, 10 validation and 4 test pictures of `SCHEMA`, and its file."""
    folder = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    shards = []
    for split, count in (("train", 24), ("valid", 10), ("test", 4)):
        name = f"{split}-00000-of-00001.tfrecord"
        size = write_shard(folder / name, [make_record(rng, index) for index in range(count)])
        shards.append(Shard(name, split, count, size))
    Manifest("toy", SCHEMA.attributes, False, "toy", tuple(shards)).write(folder)
    return folder


@pytest.fixture(scope="session")
def schema_file(tmp_path_factory):
    """`SCHEMA` as a file."""
    import json

    path = tmp_path_factory.mktemp("schema") / "schema.json"
    path.write_text(json.dumps(SCHEMA.to_dict()))
    return path


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for all tests: TensorFlow's CPU collectives mix up those of several."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
