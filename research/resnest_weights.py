"""Sets ResNeSt-50's weights from the authors' PyTorch checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from far_keras.errors import AssetError, ModelError
from far_keras.layers import SplitAttention
from far_keras.models.torch_weights import read_state_dict

__all__ = ["OFFICIAL_SHA256_PREFIX", "load_resnest_weights", "reference_weights"]

OFFICIAL_SHA256_PREFIX = "528c19ca"
"""How the sha256 of the authors' ``resnest50-528c19ca.pth`` begins; no more of it is published."""

_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def load_resnest_weights(
    backbone: keras.Model,
    path: str | Path,
    *,
    sha256_prefix: str | None = OFFICIAL_SHA256_PREFIX,
) -> None:
    """Sets the weights of a PyTorch checkpoint on a ResNeSt backbone, in place.

    The authors publish ``resnest50-528c19ca.pth`` (Apache-2.0) with the releases of
    ``zhanghang1989/ResNeSt``; it is not fetched here. PyTorch is not needed, and nothing in the
    file is run (`far_keras.models.torch_weights`). The checkpoint's classifier is left out.

    Args:
        backbone: A model that contains a `far_keras.models.resnest.resnest` backbone by its layer
            names.
        path: The ``.pth`` file, in PyTorch's present or legacy format.
        sha256_prefix: How the file's sha256 must begin; None takes any file, such as one's own
            training of the reference implementation.

    Raises:
        AssetError: The file cannot be read, has another sha256, or lacks an entry.
        ModelError: `backbone` is no ResNeSt, or not of the checkpoint's size.
    """
    path = Path(path)
    if sha256_prefix is not None:
        _check_sha256(path, sha256_prefix)
    places = list(reference_weights(backbone))
    if not places:
        raise ModelError(
            "expected a ResNeSt backbone, such as resnest50(pixels). "
            f"Received: the model {backbone.name!r} without layers of one"
        )
    state = read_state_dict(path)
    left = {name for name in state if not name.endswith("num_batches_tracked")}
    values = []
    # All is checked before anything is set: a refused file leaves the backbone as it was.
    for name, shape, weight in places:
        if name not in state:
            raise AssetError(
                f"{path}: expected a checkpoint of ResNeSt with the entry {name!r} for "
                f"{weight.path!r}. Received: {len(state)} entries without it"
            )
        if state[name].shape != shape:
            raise ModelError(
                f"{path}: expected {name!r} of shape {shape} for {weight.path!r}. "
                f"Received: {state[name].shape}; the backbone is of another size"
            )
        values.append(_to_keras(state[name], tuple(weight.shape)))
        left.discard(name)
    if foreign := sorted(left - {"fc.weight", "fc.bias"}):
        raise ModelError(
            f"{path}: the checkpoint has {len(foreign)} entries that the backbone has no place "
            f"for, the first being {foreign[0]!r}; the backbone is of another size"
        )
    for (_, _, weight), value in zip(places, values, strict=True):
        weight.assign(value)


def reference_weights(
    backbone: keras.Model,
) -> Iterator[tuple[str, tuple[int, ...], keras.Variable]]:
    """Where each weight of the reference implementation belongs.

    Args:
        backbone: A model that contains a ResNeSt backbone by its layer names.

    Yields:
        The name in the reference's state dict, the shape there, and the backbone's variable.
    """
    for layer in backbone.layers:
        module = _module(layer.name)
        if module is None:
            continue
        if isinstance(layer, SplitAttention):
            yield f"{module}.conv.weight", _torch_shape(layer.kernel), layer.kernel
            yield from _norm(f"{module}.bn0", layer.splits_norm)
            yield from _dense(f"{module}.fc1", layer.hidden)
            yield from _norm(f"{module}.bn1", layer.hidden_norm)
            yield from _dense(f"{module}.fc2", layer.attention)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield from _norm(module, layer)
        elif isinstance(layer, keras.layers.Conv2D):
            yield f"{module}.weight", _torch_shape(layer.kernel), layer.kernel


def _module(name: str) -> str | None:
    """The reference's name of a layer's module; None if it has none with weights."""
    stem = {
        "stem1_conv": "conv1.0",
        "stem1_norm": "conv1.1",
        "stem2_conv": "conv1.3",
        "stem2_norm": "conv1.4",
        "stem3_conv": "conv1.6",
        "stem3_norm": "bn1",
    }
    if name in stem:
        return stem[name]
    stack, _, rest = name.removeprefix("stack").partition("_block")
    block, _, part = rest.partition("_")
    if not (name.startswith("stack") and stack.isdecimal() and block.isdecimal()):
        return None
    # Average pooling comes first in the shortcut, also where its stride is 1.
    parts = {
        "reduce_conv": "conv1",
        "reduce_norm": "bn1",
        "split_attention": "conv2",
        "expand_conv": "conv3",
        "expand_norm": "bn3",
        "shortcut_conv": "downsample.1",
        "shortcut_norm": "downsample.2",
    }
    return f"layer{stack}.{int(block) - 1}.{parts[part]}" if part in parts else None


def _norm(
    module: str, layer: keras.layers.BatchNormalization
) -> Iterator[tuple[str, tuple[int, ...], keras.Variable]]:
    for theirs, ours in _NORM.items():
        weight = getattr(layer, ours)
        yield f"{module}.{theirs}", tuple(weight.shape), weight


def _dense(
    module: str, layer: keras.layers.Dense
) -> Iterator[tuple[str, tuple[int, ...], keras.Variable]]:
    inputs, outputs = layer.kernel.shape
    yield f"{module}.weight", (outputs, inputs, 1, 1), layer.kernel
    yield f"{module}.bias", (outputs,), layer.bias


def _torch_shape(kernel: keras.Variable) -> tuple[int, ...]:
    height, width, inputs, outputs = kernel.shape
    return (outputs, inputs, height, width)


def _to_keras(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)
    return value.reshape(shape)  # dense layers are 1x1 convolutions in the reference


def _check_sha256(path: Path, prefix: str) -> None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AssetError(f"{path}: cannot read the checkpoint: {error}") from error
    if not digest.startswith(prefix):
        raise AssetError(
            f"{path}: expected the file whose sha256 begins with {prefix}. Received: {digest}. "
            "Download it again, or pass sha256_prefix=None to take a file of your own"
        )
