"""Small parts for tests of networks."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile

import keras
import numpy as np
import pytest

from far_keras.models.backbones import BACKBONES
from far_keras.models.variants import VARIANTS
from far_keras.schema import AttributeSchema, Group


@pytest.fixture
def schema():
    """Attributes that are not in the order of their groups."""
    return AttributeSchema(
        "small",
        ("Smiling", "Young", "Wavy_Hair", "Big_Lips"),
        (
            Group("Mouth", ("Smiling", "Big_Lips"), ("mouth",)),
            Group("Hair", ("Wavy_Hair",), ("hair",)),
            Group("Object", ("Young",), ("object",)),
        ),
    )


def small_backbone(pixels):
    """A keras-cv style backbone that is small: five strided convolutions, P1 to P5."""
    x = keras.layers.Rescaling(1 / 255)(pixels)
    levels = {}
    for n in range(1, 6):
        x = keras.layers.Conv2D(4 + n, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("relu", name=f"level_{n}")(x)
        levels[f"P{n}"] = f"level_{n}"
    network = keras.Model(pixels, x, name="small")
    network.pyramid_level_inputs = levels
    return network


@pytest.fixture
def backbone():
    """A small keras-cv style backbone for images of any size."""
    return small_backbone(keras.Input((None, None, 3)))


@pytest.fixture
def small_variants(monkeypatch):
    """Named variants on the small backbone: mgmtn_small and baseline_small."""
    monkeypatch.setitem(BACKBONES, "small", small_backbone)
    monkeypatch.setitem(VARIANTS, "mgmtn_small", ("mgmtn", "small"))
    monkeypatch.setitem(VARIANTS, "baseline_small", ("baseline", "small"))


class Storage:
    """A tensor's memory in a checkpoint."""

    def __init__(self, key, array, kind="FloatStorage"):
        self.key, self.array, self.kind = key, array, kind


class Tensor:
    """Pickles as torch does: a call of torch._utils._rebuild_tensor_v2."""

    def __init__(self, storage, offset, shape, strides):
        self.storage = storage
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = getattr(sys.modules["torch"], value.kind)
        return ("storage", kind, value.key, "cpu", len(value.array), None)


def storages_of(entries):
    found = [value.storage for value in entries.values() if isinstance(value, Tensor)]
    return list({storage.key: storage for storage in found}.values())


def tensor(key, array):
    """A contiguous tensor with a storage of its own."""
    array = np.ascontiguousarray(array)
    strides = tuple(step // array.itemsize for step in array.strides)
    kind = {"f": "FloatStorage", "i": "LongStorage"}[array.dtype.kind]
    return Tensor(Storage(key, array.ravel(), kind), 0, array.shape, strides)


def write_legacy(path, entries):
    """As torch.save before version 1.6."""
    storages = storages_of(entries)
    with open(path, "wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
        pickle.dump(1001, file, protocol=2)
        pickle.dump({"protocol_version": 1001, "little_endian": True}, file, protocol=2)
        Pickler(file, protocol=2).dump(collections.OrderedDict(entries))
        pickle.dump([storage.key for storage in storages], file, protocol=2)
        for storage in storages:
            file.write(struct.pack("<q", len(storage.array)) + storage.array.tobytes())
    return path


def write_zip(path, entries, change=None, compression=zipfile.ZIP_STORED):
    """As torch.save today; `change` replaces members, or leaves them out where it is None."""
    pickled = io.BytesIO()
    Pickler(pickled, protocol=2).dump(collections.OrderedDict(entries))
    members = {"data.pkl": pickled.getvalue(), "byteorder": b"little", "version": b"3\n"}
    for storage in storages_of(entries):
        members[f"data/{storage.key}"] = storage.array.tobytes()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**members, **(change or {})}.items():
            if data is not None:
                archive.writestr(f"archive/{name}", data)
    return path


@pytest.fixture
def checkpoints(monkeypatch):
    """Writes PyTorch's files without PyTorch: its modules only bear the names in the pickles."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in ("FloatStorage", "LongStorage"):
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    exec("def _rebuild_tensor_v2(*arguments): pass", utils.__dict__)
    utils._rebuild_tensor_v2.__module__ = "torch._utils"
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return types.SimpleNamespace(
        Storage=Storage,
        Tensor=Tensor,
        tensor=tensor,
        write_legacy=write_legacy,
        write_zip=write_zip,
    )
