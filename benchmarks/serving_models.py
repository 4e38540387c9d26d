"""Models with random weights, for benchmarks of the server.

The time of a call depends on the network's shape, not on what it has learnt.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from far_keras.export.saved_model import export_saved_model
from far_keras.models.storage import LoadedModel
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import CELEBA


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
