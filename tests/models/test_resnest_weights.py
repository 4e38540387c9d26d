"""On a small ResNeSt; benchmarks/resnest_parity.py reads whole files that PyTorch wrote."""

import hashlib

import keras
import numpy as np
import pytest

from far_keras.errors import AssetError, ModelError
from far_keras.models.backbones import pyramid
from far_keras.models.resnest import ResNeStBackbone
from research.resnest_weights import load_resnest_weights, reference_weights


def small(**arguments):
    defaults = {
        "stackwise_width": (4, 6),
        "stackwise_blocks": (1, 2),
        "stackwise_strides": (1, 2),
        "stem_width": 4,
    }
    return ResNeStBackbone(**{**defaults, **arguments})


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
def write(request, checkpoints, tmp_path):
    """write(state) puts the arrays into a file, in each of PyTorch's formats."""

    def write_arrays(state):
        tensors = {
            name: checkpoints.tensor(str(key), array)
            for key, (name, array) in enumerate(state.items())
        }
        return getattr(checkpoints, f"write_{request.param}")(tmp_path / "own.pth", tensors)

    return write_arrays


def test_every_weight_is_set(state, write):
    backbone = small()
    path = write(state)
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


def test_finds_the_layers_inside_a_network_of_levels(state, write):
    backbone = small()
    levels = keras.Model(backbone.input, pyramid(backbone, ("P2", "P3")))
    load_resnest_weights(levels, write(state), sha256_prefix=None)
    np.testing.assert_array_equal(backbone.get_layer("stem3_norm").gamma, state["bn1.weight"])


def test_the_sha256_is_checked_first(state, write):
    path, backbone = write(state), small()
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
def test_another_network_is_refused_and_nothing_set(state, write, change, error, reason):
    changed = {name: value for name, value in {**state, **change}.items() if value is not None}
    path, backbone = write(changed), small()
    before = backbone.get_weights()
    with pytest.raises(error, match=reason):
        load_resnest_weights(backbone, path, sha256_prefix=None)
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_backbone_is_refused(backbone, state, write):
    with pytest.raises(ModelError, match="expected a ResNeSt backbone"):
        load_resnest_weights(backbone, write(state), sha256_prefix=None)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AssetError, match=r"none\.pth: cannot read"):
        load_resnest_weights(small(), tmp_path / "none.pth")
