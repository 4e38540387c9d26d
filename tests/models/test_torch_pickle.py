"""Checkpoints are written by hand, in both of PyTorch's formats: torch is no dependency."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from far_keras.errors import AssetError
from far_keras.models.torch_weights import read_state_dict

VALUES = np.arange(24, dtype="<f4")


@pytest.fixture(params=["legacy", "zip"])
def write(request, checkpoints):
    """write(path, entries) in each of the two formats."""
    return getattr(checkpoints, f"write_{request.param}")


def test_strides_and_offsets_are_honoured(tmp_path, checkpoints, write):
    Tensor = checkpoints.Tensor
    floats = checkpoints.Storage("1", VALUES)
    integers = checkpoints.Storage("2", np.array([7], "<i8"), "LongStorage")
    entries = {
        "plain": Tensor(floats, 0, (2, 3, 4), (12, 4, 1)),
        "transposed": Tensor(floats, 0, (4, 3, 2), (1, 4, 12)),
        "inner": Tensor(floats, 5, (2, 2), (4, 1)),
        "scalar": Tensor(integers, 0, (), ()),
    }
    state = read_state_dict(write(tmp_path / "c.pth", entries))
    assert list(state) == list(entries)
    cube = VALUES.reshape(2, 3, 4)
    np.testing.assert_array_equal(state["plain"], cube)
    np.testing.assert_array_equal(state["transposed"], cube.transpose(2, 1, 0))
    np.testing.assert_array_equal(state["inner"], [[5, 6], [9, 10]])
    assert state["scalar"] == 7 and state["scalar"].dtype == np.int64
    assert all(array.flags.c_contiguous for array in state.values())


@pytest.mark.parametrize(
    "place",
    [
        (20, (2, 3), (3, 1)),
        (-1, (1,), (1,)),
        (0, (2,), (-1,)),
        (0, (10**12,), (0,)),  # would ask for terabytes
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, checkpoints, write, place):
    floats = checkpoints.Storage("1", VALUES)
    path = write(tmp_path / "c.pth", {"bad": checkpoints.Tensor(floats, *place)})
    with pytest.raises(AssetError, match=r"c\.pth.*a tensor"):
        read_state_dict(path)


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_code_in_a_checkpoint_does_not_run(tmp_path, write):
    target = tmp_path / "proof"
    path = write(tmp_path / "c.pth", {"evil": Malicious(str(target))})
    with pytest.raises(AssetError, match=r"mkdir, which is not allowed"):
        read_state_dict(path)
    assert not target.exists()
    # The file is dangerous: an unrestricted reader does run it.
    if zipfile.is_zipfile(path):
        pickle.loads(zipfile.ZipFile(path).read("archive/data.pkl"))
    else:
        with path.open("rb") as file:
            for _ in range(4):
                pickle.load(file)
    assert target.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"byteorder": b"big"}, "another byte order"),
        ({"data/1": VALUES.tobytes()[:-4]}, "a tensor"),
        ({"data/1": None}, "data/1"),
        ({"data.pkl": None}, "0 entries"),
    ],
)
def test_archives_with_wrong_members_are_refused(tmp_path, checkpoints, change, reason):
    entries = {"t": checkpoints.tensor("1", VALUES)}
    path = checkpoints.write_zip(tmp_path / "c.pth", entries, change)
    with pytest.raises(AssetError, match=reason):
        read_state_dict(path)


def test_compressed_archives_are_refused(tmp_path, checkpoints):
    """A few bytes could be inflated to fill the memory."""
    entries = {"t": checkpoints.tensor("1", np.zeros(1000, "<f4"))}
    path = checkpoints.write_zip(tmp_path / "c.pth", entries, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(AssetError, match="a compressed archive"):
        read_state_dict(path)


@pytest.mark.parametrize("keep", [0, 30, 200, -1])
def test_truncated_files_are_refused(tmp_path, checkpoints, write, keep):
    path = write(tmp_path / "c.pth", {"t": checkpoints.tensor("1", VALUES)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AssetError, match=r"c\.pth"):
        read_state_dict(path)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(AssetError, match=r"none\.pth: cannot read"):
        read_state_dict(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(AssetError, match="legacy format"):
        read_state_dict(tmp_path / "text.pth")
