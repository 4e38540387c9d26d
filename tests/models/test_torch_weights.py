"""Checkpoints as PyTorch writes them, made without PyTorch."""

import hashlib
import os
import pickle
import zipfile

import keras
import numpy as np
import pytest

from far_keras.errors import AssetError, ModelError
from far_keras.models.backbones import pyramid
from far_keras.models.resnest import resnest
from far_keras.models.torch_weights import read_state_dict
from research.resnest_weights import load_resnest_weights, reference_weights

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


def small(**arguments):
    defaults = {"widths": (4, 6), "blocks": (1, 2), "strides": (1, 2), "stem_width": 4}
    return resnest(keras.Input((None, None, 3)), **{**defaults, **arguments})


@pytest.fixture
def state():
    """A state dict with the reference's names, and what a file has besides."""
    random = np.random.default_rng(0)
    state = {}
    for name, shape, _ in reference_weights(small()):
        state[name] = random.uniform(0.5, 1.5, shape).astype("<f4")
    state["bn1.num_batches_tracked"] = np.array(7, "<i8")
    state["fc.weight"] = np.zeros((10, 24), "<f4")
    state["fc.bias"] = np.zeros(10, "<f4")
    return state


@pytest.fixture(params=["legacy", "zip"])
def write_arrays(request, checkpoints, tmp_path):
    """write_arrays(state) puts the arrays into a file, in each of PyTorch's formats."""

    def written(state):
        tensors = {
            name: checkpoints.tensor(str(key), array)
            for key, (name, array) in enumerate(state.items())
        }
        return getattr(checkpoints, f"write_{request.param}")(tmp_path / "own.pth", tensors)

    return written


def test_every_weight_is_set(state, write_arrays):
    backbone = small()
    path = write_arrays(state)
    load_resnest_weights(backbone, path, sha256_prefix=None)
    kernel = backbone.get_layer("stem1_conv").kernel
    np.testing.assert_array_equal(kernel, state["conv1.0.weight"].transpose(2, 3, 1, 0))
    attention = backbone.get_layer("stack2_block1_split_attention")
    conv2 = "layer2.0.conv2"
    np.testing.assert_array_equal(
        attention.kernel, state[f"{conv2}.conv.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(
        attention.hidden.kernel, state[f"{conv2}.fc1.weight"][..., 0, 0].T
    )
    np.testing.assert_array_equal(
        attention.hidden_norm.moving_variance, state[f"{conv2}.bn1.running_var"]
    )
    np.testing.assert_array_equal(
        backbone.get_layer("stack2_block1_shortcut_norm").beta, state["layer2.0.downsample.2.bias"]
    )
    drawn = np.concatenate([np.ravel(weight) for weight in backbone.weights])
    assert drawn.min() >= 0.5  # nothing is left as it was initialised


def test_finds_the_layers_inside_a_network_of_levels(state, write_arrays):
    backbone = small()
    levels = keras.Model(backbone.input, pyramid(backbone, ("P2", "P3")))
    load_resnest_weights(levels, write_arrays(state), sha256_prefix=None)
    np.testing.assert_array_equal(backbone.get_layer("stem3_norm").gamma, state["bn1.weight"])


def test_the_sha256_is_checked_first(state, write_arrays):
    path, backbone = write_arrays(state), small()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(AssetError, match=f"begins with 528c19ca. Received: {digest}"):
        load_resnest_weights(backbone, path)
    load_resnest_weights(backbone, path, sha256_prefix=digest[:8])


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"layer2.1.bn3.running_mean": None}, AssetError, r"entry 'layer2\.1\.bn3\.running_mean'"),
        ({"layer2.1.bn3.bias": np.zeros(7, "<f4")}, ModelError, r"shape \(24,\).*\(7,\)"),
        ({"layer3.0.conv1.weight": np.zeros(7, "<f4")}, ModelError, "no place"),
    ],
)
def test_another_network_is_refused_and_nothing_set(state, write_arrays, change, error, reason):
    changed = {name: value for name, value in {**state, **change}.items() if value is not None}
    path, backbone = write_arrays(changed), small()
    before = backbone.get_weights()
    with pytest.raises(error, match=reason):
        load_resnest_weights(backbone, path, sha256_prefix=None)
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_backbone_is_refused(backbone, state, write_arrays):
    with pytest.raises(ModelError, match="expected a ResNeSt backbone"):
        load_resnest_weights(backbone, write_arrays(state), sha256_prefix=None)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AssetError, match=r"none\.pth: cannot read"):
        load_resnest_weights(small(), tmp_path / "none.pth")
