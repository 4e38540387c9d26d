"""The labelled photographs of benchmarks/photographs.py, without fetching any."""

import hashlib
import importlib.util
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from far_keras.datasets.table import read_table
from far_keras.errors import AssetError
from far_keras.schema import CELEBA, MISSING

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "photographs.py"
spec = importlib.util.spec_from_file_location("photographs", SCRIPT)
photographs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(photographs)

CATALOGUE = json.loads(photographs.CATALOGUE.read_text(encoding="utf-8"))


def test_every_label_is_an_attribute_with_one_value():
    for name, face in CATALOGUE["faces"].items():
        labels = face["yes"] + face["no"]
        assert len(labels) == len(set(labels)) > 0, name
        assert set(labels) <= set(CELEBA.attributes), name
        assert face["set"] in photographs.SETS, name


def test_labels_do_not_contradict_each_other():
    colours = {"Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"}
    for name, face in CATALOGUE["faces"].items():
        yes = set(face["yes"])
        assert len(yes & colours) <= 1, name
        assert not {"Straight_Hair", "Wavy_Hair"} <= yes, name
        assert not ("No_Beard" in yes and "Goatee" in yes), name
        assert "Male" in yes or not yes & {"Mustache", "Goatee", "Sideburns"}, name


def test_every_face_has_an_image_and_every_image_a_package():
    faces, images = CATALOGUE["faces"].values(), CATALOGUE["images"].values()
    assert {face["image"] for face in faces} == set(CATALOGUE["images"])
    assert {image["package"] for image in images} == set(CATALOGUE["packages"])
    assert all(re.fullmatch("[0-9a-f]{64}", image["sha256"]) for image in images)
    assert len({image["sha256"] for image in images}) == len(images)
    for package in CATALOGUE["packages"].values():
        assert package["client"] in ("npm", "pip")
        assert package["version"] in package["archive"]
        assert package["licence"]


def test_no_face_appears_twice():
    for name, face in CATALOGUE["faces"].items():
        left, right = np.array(face["eyes"])
        assert left[0] < right[0], name
        others = (f for n, f in CATALOGUE["faces"].items() if n != name)
        for other in others:
            if other["image"] == face["image"]:
                assert np.hypot(*(left - other["eyes"][0])) > np.hypot(*(right - left)), name


def small_catalogue(folder):
    """One image with a red and a blue eye, in a package's file, and its catalogue."""
    image = np.full((300, 400, 3), 128, np.uint8)
    image[140:161, 90:111] = 255, 0, 0  # centre (100, 150)
    image[140:161, 190:211] = 0, 0, 255  # centre (200, 150)
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    with tarfile.open(folder / "faces-1.0.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("package/face.png")
        info.size = len(content.getvalue())
        tar.addfile(info, io.BytesIO(content.getvalue()))
    face = {"set": "added", "image": "face", "eyes": [[100, 150], [200, 150]], "person": "someone"}
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    return {
        "packages": {"faces": {"client": "npm", "version": "1.0", "archive": "faces-1.0.tgz"}},
        "images": {"face": {"package": "faces", "member": "package/face.png", "sha256": sha256}},
        "faces": {
            "100": face | {"yes": ["Smiling"], "no": ["Male", "Young"]},
            "000": face | {"set": "shared", "yes": ["Bald"], "no": []},
        },
    }


def test_the_crops_and_their_labels(tmp_path):
    catalogue = small_catalogue(tmp_path)
    crops = photographs.write_crops(catalogue, tmp_path / "out", ["added"], tmp_path)

    data = read_table(tmp_path / "out" / "labels.csv")
    assert [file.name for file in data.files] == [f"{name}.png" for name in crops] == ["100.png"]
    expected = {"Smiling": 1, "Male": 0, "Young": 0}
    assert data.attributes == CELEBA.attributes
    assert data.labels[0].tolist() == [expected.get(a, MISSING) for a in CELEBA.attributes]
    crop = np.asarray(Image.open(data.files[0])).astype(int)
    assert crop.shape == (218, 178, 3)
    assert np.ptp(crop[111, 68:72], axis=0).max() < 20  # CelebA's left eye: (69.5, 111)
    assert crop[111, 69, 0] > 240 > 20 > crop[111, 69, 2]
    assert crop[111, 108, 2] > 240 > 20 > crop[111, 108, 0]


def test_errors_say_what_was_expected_and_what_to_do(tmp_path):
    catalogue = small_catalogue(tmp_path)
    with pytest.raises(AssetError, match=r"faces-1\.0\.tgz of faces 1\.0.*npm pack"):
        photographs.write_crops(catalogue, tmp_path / "out", packages=tmp_path / "nothing")
    right = catalogue["images"]["face"]["sha256"]
    catalogue["images"]["face"]["sha256"] = "0" * 64
    with pytest.raises(AssetError, match=f"face.png: expected sha256 0{{64}}. Received: {right}"):
        photographs.write_crops(catalogue, tmp_path / "out", packages=tmp_path)
    catalogue["images"]["face"]["member"] = "package/other.png"
    with pytest.raises(AssetError, match=r"other\.png.*without them; delete it"):
        photographs.write_crops(catalogue, tmp_path / "out", packages=tmp_path)
