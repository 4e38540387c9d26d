"""`far-keras serve` in its own process, and models with random weights for it, for benchmarks.

The time of a call depends on the network's shape, not on its training.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import tensorflow as tf

from far_keras.export.saved_model import export_saved_model
from far_keras.models.storage import LoadedModel
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import CELEBA


class LocalServer:
    """Starts a server on a free port, and ends it with the block.

    Args:
        arguments: Of ``far-keras serve``.
    """

    def __init__(self, *arguments: object):
        words = [*map(str, arguments)]
        if "--port" not in words:
            words += ["--port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "far_keras.cli", "serve", *words],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("serving "):
                self.address = line.split(" on ")[-1].strip()
                return
        raise SystemExit(f"the server did not start: status {self.process.wait()}")

    def memory(self) -> float:
        """Resident memory in MB."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()


def export_variant(variant: str, folder: Path) -> Path:
    """Writes the next version of a named network into `folder`, with random weights."""
    config = ModelConfig(variant)
    model = build_model(config)
    thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
    loaded = LoadedModel(model, CELEBA, thresholds, config, {})
    return export_saved_model(loaded, folder, VARIANTS[variant].network)


def write_tiny(folder: Path) -> None:
    """Writes version 1 of a model that loads in milliseconds and answers as a network would."""
    model = tf.Module()
    model.weights = tf.Variable(tf.random.stateless_normal((3, CELEBA.num_attributes), (0, 0)))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")])
    def serve_uint8(images: tf.Tensor) -> dict[str, tf.Tensor]:
        colours = tf.reduce_mean(tf.cast(images, tf.float32) / 255.0, (1, 2))
        return {"attributes": tf.sigmoid(colours @ model.weights)}

    model.serve_uint8 = serve_uint8
    tf.saved_model.save(model, str(folder / "1"), {"serve_uint8": serve_uint8})
