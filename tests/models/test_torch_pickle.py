"""Checkpoints are written by hand, in PyTorch's legacy format: torch is no dependency."""

import collections
import os
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from far_keras.errors import AssetError
from far_keras.models.torch_pickle import read_state_dict

VALUES = np.arange(24, dtype="<f4")


class Storage:
    def __init__(self, key, array, kind="FloatStorage"):
        self.key, self.array, self.kind = key, array, kind


class Tensor:
    """Pickles as torch does: a call of torch._utils._rebuild_tensor_v2."""

    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = getattr(sys.modules["torch"], value.kind)
        return ("storage", kind, value.key, "cpu", len(value.array), None)


@pytest.fixture(autouse=True)
def names_of_torch(monkeypatch):
    """Modules that only bear the names which pickles of tensors refer to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in ("FloatStorage", "LongStorage"):
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    exec("def _rebuild_tensor_v2(*arguments): pass", utils.__dict__)
    utils._rebuild_tensor_v2.__module__ = "torch._utils"
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def write(path, entries, storages):
    with open(path, "wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
        pickle.dump(1001, file, protocol=2)
        pickle.dump({"protocol_version": 1001, "little_endian": True}, file, protocol=2)
        Pickler(file, protocol=2).dump(collections.OrderedDict(entries))
        pickle.dump([storage.key for storage in storages], file, protocol=2)
        for storage in storages:
            file.write(struct.pack("<q", len(storage.array)) + storage.array.tobytes())
    return path


def test_strides_and_offsets_are_honoured(tmp_path):
    floats = Storage("1", VALUES)
    integers = Storage("2", np.array([7], "<i8"), "LongStorage")
    entries = {
        "plain": Tensor(floats, 0, (2, 3, 4), (12, 4, 1)),
        "transposed": Tensor(floats, 0, (4, 3, 2), (1, 4, 12)),
        "inner": Tensor(floats, 5, (2, 2), (4, 1)),
        "scalar": Tensor(integers, 0, (), ()),
    }
    state = read_state_dict(write(tmp_path / "c.pth", entries, [floats, integers]))
    assert list(state) == list(entries)
    cube = VALUES.reshape(2, 3, 4)
    np.testing.assert_array_equal(state["plain"], cube)
    np.testing.assert_array_equal(state["transposed"], cube.transpose(2, 1, 0))
    np.testing.assert_array_equal(state["inner"], [[5, 6], [9, 10]])
    assert state["scalar"] == 7 and state["scalar"].dtype == np.int64
    assert all(array.flags.c_contiguous for array in state.values())


@pytest.mark.parametrize("place", [(20, (2, 3), (3, 1)), (-1, (1,), (1,)), (0, (2,), (-1,))])
def test_a_tensor_outside_its_storage_is_refused(tmp_path, place):
    floats = Storage("1", VALUES)
    path = write(tmp_path / "c.pth", {"bad": Tensor(floats, *place)}, [floats])
    with pytest.raises(AssetError, match=r"c\.pth.*a tensor"):
        read_state_dict(path)


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    target = tmp_path / "proof"
    path = write(tmp_path / "c.pth", {"evil": Malicious(str(target))}, [])
    with pytest.raises(AssetError, match=r"mkdir, which is not allowed"):
        read_state_dict(path)
    assert not target.exists()
    # The file is dangerous: an unrestricted reader does run it.
    with path.open("rb") as file:
        for _ in range(4):
            pickle.load(file)
    assert target.exists()


@pytest.mark.parametrize("keep", [0, 30, 200, -1])
def test_truncated_files_are_refused(tmp_path, keep):
    floats = Storage("1", VALUES)
    path = write(tmp_path / "c.pth", {"t": Tensor(floats, 0, (24,), (1,))}, [floats])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AssetError, match=r"c\.pth"):
        read_state_dict(path)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(AssetError, match=r"none\.pth: cannot read"):
        read_state_dict(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(AssetError, match="legacy format"):
        read_state_dict(tmp_path / "text.pth")
