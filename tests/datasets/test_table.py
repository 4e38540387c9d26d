from collections import Counter

import numpy as np
import pytest
from PIL import Image

from far_keras.datasets.dataset import open_dataset
from far_keras.datasets.table import assign_split, read_table
from far_keras.errors import DatasetError


def write_table(folder, text, images=("a.jpg", "b.png", "sub/c.jpg")):
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30)).save(folder / name)
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_labels_splits_and_identities(tmp_path):
    path = write_table(
        tmp_path,
        "file, split, Tired, identity, Freckles\n"
        "a.jpg, train, 1, zoe, false\n"
        "b.png, valid, , anna, yes\n"
        "\n"
        "sub/c.jpg, test, 0, , TRUE\n",
    )
    for dataset in (read_table(path), open_dataset(path), open_dataset(tmp_path)):
        assert dataset.attributes == ("Tired", "Freckles")
        assert dataset.labels.tolist() == [[1, 0], [-1, 1], [0, 1]]
        assert dataset.splits.tolist() == [0, 1, 2]
        assert dataset.identities.tolist() == [1, 0, -1]
        assert dataset.names == ("a.jpg", "b.png", "sub/c.jpg")


def test_bom_of_spreadsheets_is_no_part_of_the_first_column(tmp_path):
    path = write_table(tmp_path, "\ufefffile,Tired\na.jpg,1\n")
    assert read_table(path).labels.tolist() == [[1]]


def test_split_follows_the_person_and_stays_when_images_are_added(tmp_path):
    names = [f"{index}.jpg" for index in range(40)]
    rows = [f"{name},1,person {index % 8}" for index, name in enumerate(names)]
    path = write_table(tmp_path, "\n".join(["file,Tired,identity", *rows]), names)
    dataset = read_table(path)
    for identity in range(8):
        assert len(np.unique(dataset.splits[dataset.identities == identity])) == 1
    path.write_text("\n".join(["file,Tired,identity", *rows[::-1][:30]]))
    fewer = dict(zip(read_table(path).names, read_table(path).splits, strict=True))
    before = dict(zip(dataset.names, dataset.splits, strict=True))
    assert all(before[name] == split for name, split in fewer.items())


def test_assigned_splits_have_the_promised_shares():
    counts = Counter(assign_split(str(index)) for index in range(5000))
    # A share p of 5000 draws has a standard deviation of at most 0.6 points.
    assert counts["train"] / 5000 == pytest.approx(0.8, abs=0.02)
    assert counts["valid"] / 5000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header line"),
        ("image,Tired\na.jpg,1\n", r"expected a column 'file'.*\['image', 'Tired'\]"),
        ("file,split\na.jpg,train\n", "expected at least one attribute column"),
        ("file,Tired,Tired\na.jpg,1,1\n", r"columns given twice: \['Tired'\]"),
        ("file,Tired,\na.jpg,1,1\n", "column 3 has no name"),
        ("file,Tired\na.jpg\n", "line 2: expected 2 cells.*Received: 1"),
        ("file,Tired\n,1\n", "line 2: the cell 'file' is empty"),
        ("file,Tired\na.jpg,-1\n", r"line 2: attribute 'Tired'.*'-1'; write 0 for no"),
        (
            "file,notes\na.jpg,nice\n",
            r"attribute 'notes'.*'nice'; if this column is not an attribute",
        ),
        ("file,split,Tired\na.jpg,dev,1\n", r"split must be one of .*Received: 'dev'"),
        ("file,Tired\na.jpg,1\na.jpg,0\n", r"1 images are listed more than once"),
        ("file,Tired\na.jpg,1\nx.jpg,0\n", r"1 of 2 images are not there, such as .*x\.jpg"),
        ("file,Tired\n", "no images"),
    ],
)
def test_broken_tables(tmp_path, text, message):
    path = write_table(tmp_path, text)
    with pytest.raises(DatasetError, match=message):
        read_table(path)


def test_missing_and_binary_table(tmp_path):
    with pytest.raises(DatasetError, match="cannot read the table"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DatasetError, match="cannot read the table"):
        read_table(tmp_path / "binary.csv")
