from pathlib import Path

import numpy as np
import pytest

from far_keras.datasets.dataset import FaceDataset
from far_keras.errors import DatasetError


def make(**changes):
    arguments = {
        "name": "small",
        "root": Path("set"),
        "attributes": ("Bald", "Male"),
        "files": (Path("set/a.jpg"), Path("set/b/c.jpg"), Path("/elsewhere/d.jpg")),
        "labels": np.array([[1, 0], [-1, 1], [-1, -1]]),
        "splits": np.array([0, 2, 0]),
        "identities": np.array([5, 6, 5]),
        "faceless": np.array([False, False, True]),
        **changes,
    }
    return FaceDataset(**arguments)


def test_names_and_splits():
    dataset = make()
    assert len(dataset) == 3
    assert dataset.names == ("a.jpg", "b/c.jpg", "/elsewhere/d.jpg")
    assert dataset.split_indices("train").tolist() == [0, 2]
    assert dataset.split_indices("valid").tolist() == []
    with pytest.raises(DatasetError, match="Received: 'dev'"):
        dataset.split_indices("dev")


def test_region_maps_are_found_by_stem():
    assert make().region_map(0) is None
    assert make(region_folder=Path("set/regions")).region_map(1) == Path("set/regions/c.png")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": ()}, "no images"),
        ({"attributes": ("Bald", "Bald")}, r"attributes given twice: \['Bald'\]"),
        ({"files": (Path("a"), Path("b"), Path("a"))}, r"1 images are listed more than once"),
        ({"labels": np.zeros((3, 3))}, r"labels must have shape \(3, 2\). Received: \(3, 3\)"),
        ({"splits": np.zeros(2)}, r"splits must have shape \(3,\)"),
        ({"identities": np.zeros(4)}, r"identities must have shape \(3,\)"),
        ({"labels": np.array([[1, 0], [2, 1], [-1, -1]])}, r"labels must be 1, 0 or -1"),
        ({"splits": np.array([0, 1, 3])}, r"splits must be indices"),
        ({"labels": np.ones((3, 2))}, "an image without a face cannot have labels"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(DatasetError, match=message):
        make(**changes)
