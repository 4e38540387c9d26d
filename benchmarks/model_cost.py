"""What masks and fusion cost over the bare backbone with one dense layer.

    python benchmarks/model_cost.py
    python benchmarks/model_cost.py --backbone resnest50 --batch-size 2 --rounds 8   # the paper's

The named network is compared with the same plus the global feature of G2FF (`"…, fused"`), and the
backbone with the same with Keras' own batch normalization (`"…, keras normalisation"`), which shows
the gain of our fused one in a training step.

All networks run in turn in one process, so that a busy machine slows all; the values are medians
of each pass and the ratio of them to the backbone's. GFLOPs are those of the forward pass of one
image (a multiplication and an addition are two), counted by `far_keras.models.summary`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import tensorflow as tf

from far_keras.layers import BatchNormalization
from far_keras.models.summary import count_flops
from far_keras.models.variants import ModelConfig, build_model
from far_keras.training.losses import AttributeLoss, MaskLoss
from far_keras.training.optimizer import build_optimizer

FUSED = {"levels": ("P3", "P4", "P5"), "global_path": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnetlite0")
    parser.add_argument("--image-size", type=int, help="default: the variant's")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    base, full = f"baseline_{options.backbone}", f"mgmtn_{options.backbone}"
    options.image_size = options.image_size or ModelConfig(base).definition.image_size

    size = {"image_size": options.image_size}
    models = {name: build_model(ModelConfig(name, size)) for name in (base, full)}
    if not ModelConfig(full).all_arguments.get("global_path", True):
        models[f"{full}, fused"] = build_model(ModelConfig(full, {**size, **FUSED}))
    plain = build_model(ModelConfig(base, size))
    for layer in plain._flatten_layers():
        if isinstance(layer, BatchNormalization):
            layer.__class__ = keras.layers.BatchNormalization
    report = {
        name: {
            "parameters": model.count_params(),
            "gflops": round(count_flops(model, model.input) / 1e9, 4),
        }
        for name, model in models.items()
    }
    steps = {name: training_step(model, options) for name, model in models.items()}
    steps[f"{base}, keras normalisation"] = training_step(plain, options)
    report[f"{base}, keras normalisation"] = {}
    passes = {
        "forward": {name: forward_pass(model, options) for name, model in models.items()},
        "training_step": steps,
    }
    for kind, functions in passes.items():
        for name, seconds in alternate(functions, options.rounds).items():
            report[name][f"{kind}_ms"] = round(1000 * statistics.median(seconds), 1)
    ratios = {
        name: {key: round(value / report[base][key], 3) for key, value in row.items()}
        for name, row in report.items()
        if name != base
    }
    print(json.dumps({"measured": report, f"ratio to {base}": ratios}, indent=1))


def make_images(options: argparse.Namespace) -> tf.Tensor:
    shape = (options.batch_size, options.image_size, options.image_size, 3)
    return tf.random.uniform(shape, 0, 255)


def forward_pass(model: keras.Model, options: argparse.Namespace) -> Callable[[], object]:
    images = make_images(options)
    function = tf.function(lambda: model(images, training=False))
    return lambda: {key: value.numpy() for key, value in function().items()}


def training_step(model: keras.Model, options: argparse.Namespace) -> Callable[[], object]:
    images = make_images(options)
    losses = {"attributes": AttributeLoss(), "masks": MaskLoss()}
    targets = {
        key: tf.cast(tf.random.uniform((options.batch_size, *output.shape[1:])) > 0.5, tf.float32)
        for key, output in model.output.items()
    }
    optimizer = build_optimizer(1e-4, 0.01, 10_000, 0.0)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = tf.add_n([losses[key](targets[key], outputs[key]) for key in outputs])
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    return lambda: step().numpy()


def alternate(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, the functions taking turns; the first two rounds are for warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 2):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
