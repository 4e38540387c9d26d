import csv

import numpy as np
import pytest
from PIL import Image

from far_keras.datasets.celeba import read_celeba
from far_keras.datasets.dataset import open_dataset
from far_keras.errors import DatasetError

NAMES = ["000001.jpg", "000002.jpg", "000003.jpg"]
ATTRIBUTES = ["Bald", "Male", "Smiling"]
VALUES = [[-1, 1, 0], [1, -1, -1], [0, 0, 0]]
EXPECTED = [[0, 1, -1], [1, 0, 0], [-1, -1, -1]]


def write_set(root, tables="", images="img_align_celeba", suffix=".txt", identity=True):
    """A set of three grey images; `tables` is where the attribute table goes."""
    evaluation = "Eval" if tables == "Anno" else tables
    for folder in (tables, evaluation, images):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        Image.new("RGB", (178, 218), "grey").save(root / images / name)
    if suffix == ".csv":
        with (root / tables / "list_attr_celeba.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [["image_id", *ATTRIBUTES]] + [[n, *v] for n, v in zip(NAMES, VALUES, strict=True)]
            )
        with (root / tables / "list_eval_partition.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [["image_id", "partition"], *[[n, i] for i, n in enumerate(NAMES)]]
            )
        return
    rows = [f"{n}  {'  '.join(map(str, v))} " for n, v in zip(NAMES, VALUES, strict=True)]
    text = "\n".join([str(len(NAMES)), " ".join(ATTRIBUTES) + " ", *rows]) + "\n"
    (root / tables / "list_attr_celeba.txt").write_text(text)
    partition = "".join(f"{name} {index}\n" for index, name in enumerate(NAMES))
    (root / evaluation / "list_eval_partition.txt").write_text(partition)
    if identity:
        persons = "".join(f"{name} {2880 + index}\n" for index, name in enumerate(NAMES))
        (root / tables / "identity_CelebA.txt").write_text(persons)


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"tables": "Anno", "images": "Img/img_align_celeba"},
        {"tables": "Anno", "images": "img_align_celeba"},
        {"suffix": ".csv", "images": "img_align_celeba/img_align_celeba"},
        {"suffix": ".csv"},
    ],
    ids=["flat", "google-drive", "mixed", "kaggle", "kaggle-flat"],
)
def test_every_layout_reads_alike(tmp_path, layout):
    write_set(tmp_path, **layout)
    dataset = open_dataset(tmp_path)
    assert dataset.attributes == tuple(ATTRIBUTES)
    assert dataset.labels.dtype == np.int8
    assert dataset.labels.tolist() == EXPECTED
    assert dataset.splits.tolist() == [0, 1, 2]
    assert dataset.names == tuple(NAMES)
    assert all(file.is_file() for file in dataset.files)
    assert not dataset.faceless.any()
    assert dataset.region_map(0) is None
    if layout.get("suffix") == ".csv":
        assert dataset.identities is None
    else:
        assert dataset.identities.tolist() == [2880, 2881, 2882]


def test_rendered_set_with_regions_and_faceless_images(tmp_path):
    write_set(tmp_path)
    (tmp_path / "regions").mkdir()
    for name in NAMES:
        Image.new("L", (178, 218)).save(tmp_path / "regions" / name.replace("jpg", "png"))
    (tmp_path / "list_no_face.txt").write_text("000002.jpg\n")
    dataset = read_celeba(tmp_path)
    assert dataset.faceless.tolist() == [False, True, False]
    # An image without a face can have no attributes, whatever the table says.
    assert dataset.labels.tolist() == [EXPECTED[0], [-1, -1, -1], EXPECTED[2]]
    assert dataset.region_map(1) == tmp_path / "regions" / "000002.png"
    (tmp_path / "regions" / "000003.png").unlink()
    with pytest.raises(DatasetError, match=r"1 files \(000003\.png\) listed but not there"):
        read_celeba(tmp_path)


def test_the_table_cannot_be_changed(tmp_path):
    write_set(tmp_path)
    dataset = read_celeba(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        dataset.labels[0, 0] = 1


def test_missing_images_are_counted_and_named(tmp_path):
    write_set(tmp_path)
    for name in NAMES[1:]:
        (tmp_path / "img_align_celeba" / name).unlink()
    with pytest.raises(DatasetError, match=r"2 files \(000002\.jpg, 000003\.jpg\)"):
        read_celeba(tmp_path)


def test_missing_table_says_where_it_looked(tmp_path):
    write_set(tmp_path)
    (tmp_path / "list_eval_partition.txt").unlink()
    with pytest.raises(DatasetError, match=r"list_eval_partition\.txt.*Looked in: .*Eval"):
        read_celeba(tmp_path)


def test_packed_images_are_pointed_out(tmp_path):
    write_set(tmp_path, images="elsewhere")
    (tmp_path / "Img").mkdir()
    (tmp_path / "Img" / "img_align_celeba.zip").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"unpack .*img_align_celeba\.zip"):
        read_celeba(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("000002.jpg  1", "000002.jpg  2", r"line 4: labels must be 1 .*Received: '2'"),
        ("000002.jpg  1 ", "000002.jpg ", r"line 4: expected a file name and 3 labels"),
        ("3\n", "4\n", r"announces 4 images, but 3 rows"),
        ("3\n", "", r"line 1: expected the number of images"),
        ("000003", "000002", r"do not list the same images: 0 files only in the first, 1 files"),
    ],
)
def test_broken_attribute_tables(tmp_path, old, new, message):
    write_set(tmp_path, identity=False)
    table = tmp_path / "list_attr_celeba.txt"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(DatasetError, match=message):
        read_celeba(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000001.jpg 0\n000002.jpg 1\n", r"1 files \(000003\.jpg\) only in the first"),
        ("000001.jpg 0\n000002.jpg 1\n000003.jpg 3\n", r"must be 0 .*Received: \[0, 1, 3\]"),
        ("000001.jpg 0\n000001.jpg 1\n", r"line 2: 000001\.jpg is listed twice, with 0 and 1"),
        ("000001.jpg zero\n", r"line 1: expected a file name and a number"),
        ("000001.jpg\n", r"line 1: expected a file name and a number"),
    ],
)
def test_broken_partitions(tmp_path, text, message):
    write_set(tmp_path)
    (tmp_path / "list_eval_partition.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_celeba(tmp_path)


def test_folders_that_are_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"found no data set.*The folder holds: nothing"):
        open_dataset(tmp_path)
    (tmp_path / "notes.md").write_text("")
    with pytest.raises(DatasetError, match=r"The folder holds: \['notes.md'\]"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="a file of another kind"):
        open_dataset(tmp_path / "notes.md")
