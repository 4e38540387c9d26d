"""Compares ResNeSt-50, layer by layer, with the authors' implementation on PyTorch.

    python -m venv REF
    REF/bin/pip install torch==2.13.0
    REF/bin/pip install --no-deps resnest==0.0.5
    python benchmarks/resnest_parity.py --reference-python REF/bin/python

The reference runs in an environment of its own and writes its weights as .pth files, in PyTorch's
present and legacy format, which far_keras reads as it reads the official one. Both get the same
image, at 224 and 227 pixels. Printed is, by layer, the largest difference over the mean magnitude
of the reference's output; the exit status is 1 if one is above 1e-3.

Weights and images follow a rule (`rule_weight`, `rule_image`) that needs neither framework, so
that a test can build the same network without PyTorch: ``--gold`` writes summaries of the
reference's C2 to C5 for it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (224, 227)
LEVELS = {"C2": "layer1", "C3": "layer2", "C4": "layer3", "C5": "layer4"}
LAST_BLOCKS = {"layer1.2": "C2", "layer2.3": "C3", "layer3.5": "C4", "layer4.2": "C5"}
MEAN, STD = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
TOLERANCE = 1e-3


def rule_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight of a name in the reference's state dict, float32.

    Random by NumPy's `RandomState`, whose stream is frozen for ever, with the CRC-32 of the name as
    its seed. The scales keep activations near 1 through all blocks, and the attention undecided.
    """
    random = np.random.RandomState(zlib.crc32(name.encode()))
    kind = name.rsplit(".", 1)[1]
    if kind == "running_var":
        value = random.uniform(0.5, 1.5, shape)
    elif kind in ("bias", "running_mean"):
        value = random.normal(0, 0.1, shape)
    elif len(shape) == 1:  # a batch normalisation's weight
        value = random.uniform(0.4, 1.0, shape)
    else:  # a kernel (out, in, ...)
        value = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    return value.astype(np.float32)


def rule_image(size: int) -> np.ndarray:
    """An image (1, size, size, 3), uint8: random squares of 8 pixels under random pixels."""
    random = np.random.RandomState(size)
    coarse = random.randint(0, 200, (1, size // 8 + 1, size // 8 + 1, 3))
    coarse = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :size, :size]
    return (coarse + random.randint(0, 56, (1, size, size, 3))).astype(np.uint8)


def summary(features: np.ndarray) -> dict[str, np.ndarray]:
    """What the gold file keeps of features (1, h, w, C): every channel and position has a part."""
    points = np.random.RandomState(0).randint(0, features.size, 256)
    return {
        "channels": features.mean((0, 1, 2)),
        "positions": features.mean((0, 3)),
        "points": features.ravel()[points],
    }


def run_reference(folder: Path) -> None:
    """Runs in the environment with PyTorch: writes the .pth, and each layer's output by size."""
    import torch
    from resnest.torch import resnest50

    torch.set_num_threads(1)
    network = resnest50(pretrained=False).eval()
    state = {}
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            value = torch.from_numpy(rule_weight(name, tuple(value.shape)))
        state[name] = value
    network.load_state_dict(state)
    torch.save(network.state_dict(), folder / "reference.pth")
    torch.save(network.state_dict(), folder / "legacy.pth", _use_new_zipfile_serialization=False)
    outputs: dict[str, np.ndarray] = {}

    def note(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            # Copied: the ReLU that follows works in place.
            outputs[name] = output.detach().permute(0, 2, 3, 1).numpy().copy()

        return hook

    names = dict.fromkeys([*(theirs for theirs, _ in layer_pairs()), *LEVELS.values()])
    for name in names:
        network.get_submodule(name).register_forward_hook(note(name))
    for size in SIZES:
        image = (rule_image(size).astype(np.float32) / 255 - MEAN) / STD
        with torch.no_grad():
            network(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()))
        np.savez(folder / f"outputs_{size}.npz", **outputs)


def layer_pairs() -> Iterator[tuple[str, str]]:
    """The reference's module and our layer, for every step that both have, in order."""
    yield from [("conv1.0", "stem1_conv"), ("conv1.1", "stem1_norm"), ("conv1.3", "stem2_conv")]
    yield from [("conv1.4", "stem2_norm"), ("conv1.6", "stem3_conv"), ("bn1", "stem3_norm")]
    yield ("maxpool", "stem_pool")
    for stack, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(1, blocks + 1):
            theirs, ours = f"layer{stack}.{block - 1}", f"stack{stack}_block{block}"
            yield f"{theirs}.conv1", f"{ours}_reduce_conv"
            yield f"{theirs}.bn1", f"{ours}_reduce_norm"
            yield f"{theirs}.conv2", f"{ours}_split_attention"
            if block == 1 and stack > 1:
                yield f"{theirs}.avd_layer", f"{ours}_pool"
                yield f"{theirs}.downsample.0", f"{ours}_shortcut_pool"
            if block == 1:
                yield f"{theirs}.downsample.1", f"{ours}_shortcut_conv"
                yield f"{theirs}.downsample.2", f"{ours}_shortcut_norm"
            yield f"{theirs}.conv3", f"{ours}_expand_conv"
            yield f"{theirs}.bn3", f"{ours}_expand_norm"
            yield theirs, f"{ours}_out"


def compare(folder: Path, size: int, checkpoint: str) -> dict[str, tuple[float, float]]:
    """By reference module: largest difference over mean magnitude, and that magnitude."""
    import keras

    from far_keras.models.resnest import resnest50
    from research.resnest_weights import load_resnest_weights

    backbone = resnest50(keras.Input((size, size, 3)))
    load_resnest_weights(backbone, folder / checkpoint, sha256_prefix=None)
    pairs = list(layer_pairs())
    taps = keras.Model(
        backbone.input, {theirs: backbone.get_layer(ours).output for theirs, ours in pairs}
    )
    found = taps(rule_image(size), training=False)
    result = {}
    with np.load(folder / f"outputs_{size}.npz") as reference:
        for theirs, _ in pairs:
            expected, received = reference[theirs], np.asarray(found[theirs])
            if expected.shape != received.shape:
                sys.exit(f"{theirs}: expected {expected.shape}. Received: {received.shape}")
            magnitude = float(np.abs(expected).mean())
            result[theirs] = (float(np.abs(received - expected).max()) / magnitude, magnitude)
    return result


def write_gold(folder: Path, path: Path) -> None:
    gold = {}
    for size in SIZES:
        with np.load(folder / f"outputs_{size}.npz") as outputs:
            for level, module in LEVELS.items():
                for key, value in summary(outputs[module]).items():
                    gold[f"{size}_{level}_{key}"] = value.astype(np.float32)
    np.savez_compressed(path, **gold)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--gold", type=Path, metavar="NPZ", help="write the test's gold values")
    parser.add_argument("--all-layers", action="store_true", help="print every layer")
    parser.add_argument("--run-reference", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run_reference:
        run_reference(options.run_reference)
        return 0
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).parents[1]))
    worst_of_all = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [options.reference_python, __file__, "--run-reference", name]
        subprocess.run(command, check=True)
        if options.gold:
            write_gold(folder, options.gold)
        for size, checkpoint in zip(SIZES, ("reference.pth", "legacy.pth"), strict=True):
            found = compare(folder, size, checkpoint)
            print(f"{size} pixels, weights from {checkpoint}")
            for module, (difference, magnitude) in found.items():
                if options.all_layers or module in LAST_BLOCKS:
                    label = LAST_BLOCKS.get(module, "")
                    print(f"  {module:22} {label:2}  {difference:.1e} of {magnitude:.3f}")
            worst = max(found, key=lambda module: found[module][0])
            worst_of_all = max(worst_of_all, found[worst][0])
            print(f"  largest of {len(found)} layers: {found[worst][0]:.1e} at {worst}")
    return int(worst_of_all > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
