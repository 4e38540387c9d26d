"""Runs a model on batches of any size without retracing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

__all__ = ["compile_forward"]


def compile_forward(
    model: keras.Model,
) -> Callable[[np.ndarray | Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Traces the model once, for inference.

    ``model.predict_on_batch`` traces anew for new batch sizes, and warns when several models do.

    Args:
        model: From one image input (B, S, S, 3), or from a dict of inputs, to a dict of outputs.

    Returns:
        A function from images, (B, S, S, 3) in [0, 255] of any dtype, or from a dict like the
        model's, to the outputs by name as float32 arrays.
    """
    import keras
    import tensorflow as tf

    # training=False must be said: without it Keras may run dropout in a traced call.
    run = tf.function(
        lambda inputs: model(inputs, training=False),
        input_signature=[
            keras.tree.map_structure(
                lambda tensor: tf.TensorSpec((None, *tensor.shape[1:]), tf.float32), model.input
            )
        ],
    ).get_concrete_function()

    def forward(inputs: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = run(
            keras.tree.map_structure(
                lambda array: tf.convert_to_tensor(np.asarray(array, np.float32)), inputs
            )
        )
        return {name: value.numpy().astype(np.float32) for name, value in outputs.items()}

    return forward
