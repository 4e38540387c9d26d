"""From a Keras model to the bytes of a float .tflite file."""

from __future__ import annotations

import tempfile

import tensorflow as tf

from far_keras.errors import ModelError
from far_keras.export.phone_graph import phone_model
from far_keras.models.storage import LoadedModel
from far_keras.quiet import quiet

__all__ = ["convert"]


def convert(loaded: LoadedModel, float16: bool = False) -> bytes:
    """Converts a model for one image; batch normalisation is folded into the convolutions.

    Args:
        loaded: The model.
        float16: Store the weights as float16. The runtime computes in float32 all the same.

    Returns:
        A .tflite file with the signature ``serving_default`` from "image" to "attributes" and, if
        the model has them, "masks".

    Raises:
        ModelError: TensorFlow's converter cannot do it.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    model = phone_model(loaded.model, loaded.calibration, loaded.schema.attributes)
    spec = tf.TensorSpec(model.inputs[0].shape, tf.float32, name="image")
    traced = tf.function(
        lambda image: model(image, training=False), input_signature=[spec]
    ).get_concrete_function()
    # With variables, the converter would write operations that read them.
    frozen = convert_variables_to_constants_v2(traced)
    names = sorted(traced.structured_outputs)  # the order in which outputs are flattened
    module = tf.Module()
    module.answer = tf.function(
        lambda image: dict(zip(names, frozen(image), strict=True)), input_signature=[spec]
    )
    with tempfile.TemporaryDirectory() as folder, quiet():
        tf.saved_model.save(module, folder, signatures={"serving_default": module.answer})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises a class of its own, and others
            lines = [line for line in str(error).splitlines() if "error" in line.lower()]
            raise ModelError(
                f"variant {loaded.config.variant!r} cannot be converted to .tflite: "
                f"{(lines or [str(error)])[0][:300]}"
            ) from error
