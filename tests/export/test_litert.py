import io
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from far_keras.errors import ModelError
from far_keras.export.description import describe
from far_keras.export.litert import load_tflite
from far_keras.export.tflite_file import read_metadata, with_metadata
from far_keras.schema import CELEBA, AttributeSchema, Group


@pytest.fixture(scope="module")
def path(small_model, flatbuffer, tmp_path_factory):
    loaded = replace(
        small_model,
        thresholds=dict.fromkeys(CELEBA.attributes, 0.5) | {"Smiling": 0.25},
        provenance={"untrained": ["Attractive"], "seed": 3},
    )
    content = with_metadata(
        flatbuffer, describe(loaded, "tiny"), {"precision": "float32", "more": [1]}
    )
    file = tmp_path_factory.mktemp("phone") / "tiny.tflite"
    file.write_bytes(content)
    return file


@pytest.fixture(scope="module")
def images(make_images):
    return make_images(5, 64)


def test_description_is_in_the_file(path):
    model = load_tflite(path, CELEBA)
    assert model.description.name == "tiny"
    assert model.description.schema == CELEBA
    assert model.description.thresholds["Smiling"] == 0.25
    assert model.description.untrained == ("Attractive",)
    assert model.description.mask_size == (16, 16)
    assert model.precision == "float32"
    assert model.facts["more"] == [1]


def test_any_zip_reader_finds_it(path, tmp_path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["far_keras.json", "tflite.json", "LICENSE"]
        data = json.loads(archive.read("far_keras.json"))
        assert b"Apache License" in archive.read("LICENSE")
        # What a phone reads without inflating.
        entry = archive.getinfo("far_keras.json")
        assert entry.compress_type == zipfile.ZIP_STORED
    assert data["attributes"] == list(CELEBA.attributes)
    assert data["groups"][0]["name"] == "Mouth"
    assert data["image_size"] == 64
    assert data["input"]["frame"]["eyes"] == [[69.5, 111.0], [108.5, 111.0]]
    assert data["provenance"]["seed"] == 3


def test_a_batch_equals_its_images_one_by_one(path, images):
    model = load_tflite(path)
    together = model(images)["attributes"]
    assert together.shape == (5, 40)
    alone = np.concatenate([model(images[i : i + 1])["attributes"] for i in range(5)])
    assert (together == alone).all()
    assert len(np.unique(together, axis=0)) == 5
    assert (model(images.astype(np.float32))["attributes"] == together).all()


def test_images_of_other_sizes_are_resized(path):
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (2, 218, 178, 3)).astype(np.uint8)
    small = np.stack(
        [np.asarray(Image.fromarray(p).resize((64, 64), Image.Resampling.BILINEAR)) for p in large]
    )
    model = load_tflite(path)
    assert (model(large)["attributes"] == model(small)["attributes"]).all()


def test_threads_may_share_a_model(path, images):
    model = load_tflite(path, threads=2)
    expected = model(images)["attributes"]
    wrong = []

    def work():
        for _ in range(10):
            if (model(images)["attributes"] != expected).any():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 4), np.uint8),
        np.zeros((1, 32, 32, 3), np.int64),
        np.zeros((0, 32, 32, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(path, bad):
    with pytest.raises(ValueError, match="images: expected uint8 or float32 of shape"):
        load_tflite(path)(bad)


def test_no_threads(path):
    with pytest.raises(ValueError, match="threads"):
        load_tflite(path, threads=0)


def test_other_schema(path):
    other = AttributeSchema("two", ("A", "B"), (Group("G", ("A", "B"), ("mouth",)),))
    with pytest.raises(ModelError, match=r"tiny.tflite: .*Received: the schema 'celeba'"):
        load_tflite(path, other)


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"none.tflite: cannot read"):
        load_tflite(tmp_path / "none.tflite")


def test_folder(tmp_path):
    with pytest.raises(ModelError, match=r"expected a .tflite file. Received: a folder"):
        load_tflite(tmp_path)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_no_tflite(tmp_path, content):
    file = tmp_path / "bad.tflite"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad.tflite: expected a .tflite file"):
        load_tflite(file)


def test_without_metadata(path, tmp_path):
    file = tmp_path / "foreign.tflite"
    file.write_bytes(read_metadata(path)[2])
    with pytest.raises(ModelError, match=r"foreign.tflite: .*metadata.*Received: a file without"):
        load_tflite(file)


def test_with_an_archive_of_another_kind(path, tmp_path):
    file = tmp_path / "labels.tflite"
    file.write_bytes(read_metadata(path)[2])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    with pytest.raises(ModelError, match=r"labels.tflite: .*Received: a file without"):
        load_tflite(file)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated(path, tmp_path, share):
    content = path.read_bytes()
    file = tmp_path / "cut.tflite"
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"cut.tflite: .*truncated"):
        load_tflite(file)


def test_a_changed_byte(path, tmp_path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    file = tmp_path / "changed.tflite"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"changed.tflite: the file was changed or damaged"):
        load_tflite(file)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(8, 255), (10, 99), (10, 8), (6, 99), (46, 255)],  # flags, method, version, name
)
def test_a_damaged_archive(path, tmp_path, offset, value):
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02", 0, content.rindex(b"tflite.json")) + offset] = value
    file = tmp_path / "damaged.tflite"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged\.tflite: .*(damaged|truncated)"):
        load_tflite(file)


@pytest.mark.parametrize("facts", [[], {"precision": "float32"}, {"flatbuffer_bytes": "x"}])
def test_facts_of_another_form(path, tmp_path, facts):
    file = tmp_path / "facts.tflite"
    file.write_bytes(read_metadata(path)[2])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("far_keras.json", "{}")
        archive.writestr("tflite.json", json.dumps(facts))
    with pytest.raises(ModelError, match=r"facts\.tflite: .*its metadata cannot be read"):
        load_tflite(file)


def test_a_later_format(path, tmp_path):
    description, facts, flatbuffer = read_metadata(path)
    del description
    file = tmp_path / "later.tflite"
    buffer = io.BytesIO(flatbuffer)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("far_keras.json", json.dumps({"format": 99}))
        archive.writestr("tflite.json", json.dumps(facts))
    file.write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match="format 99"):
        load_tflite(file)


def test_the_file_may_be_removed_while_in_use(path, images, tmp_path):
    copy = shutil.copy(path, tmp_path / "copy.tflite")
    model = load_tflite(copy)
    copy.unlink()
    assert model(images)["attributes"].shape == (5, 40)


def test_running_needs_no_tensorflow(path):
    code = (
        "import sys, numpy as np\n"
        "from far_keras.export.litert import load_tflite\n"
        f"load_tflite({str(path)!r})(np.zeros((1, 64, 64, 3), np.uint8))\n"
        "print([name for name in ('tensorflow', 'keras', 'mediapipe') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
