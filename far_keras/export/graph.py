"""A model as a TensorFlow graph with the signatures that a server offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from far_keras.export.decoding import decode_pictures, squash
from far_keras.export.description import ModelDescription
from far_keras.export.folding import fold_batch_normalization

if TYPE_CHECKING:
    import keras

__all__ = ["PICTURE_FEATURE", "SIGNATURES", "write_graph"]

PICTURE_FEATURE = "image/encoded"
"""What ``tf.Example``s for ``classify`` call the encoded image; TensorFlow's usual name."""

SIGNATURES = ("serving_default", "serve_uint8", "serve_float", "classify", "describe")
"""The signatures of an exported model; `write_graph` says what they take and give."""


def write_graph(model: keras.Model, description: ModelDescription, folder: str) -> None:
    """Writes ``saved_model.pb``, ``variables/`` and ``assets/``.

    The first three signatures differ in what they take: ``serving_default`` the encoded images
    ``image_bytes`` (string, (N,); JPEG or PNG of any size), ``serve_uint8`` and ``serve_float`` the
    pixels ``images`` (uint8 or float32 in [0, 255], (N, H, W, 3), resized where H or W is not
    ``image_size``). They give

    - ``attributes``: float32 (N, A) calibrated probabilities,
    - ``logits``: float32 (N, A), the network's own answers before the calibration,
    - ``masks``: float32 (N, h, w, G) probabilities, unless the model has none.

    ``classify`` is for TF Serving's Classify, with the names that it wants: ``inputs``, string
    (N,), are serialized ``tf.Example`` with an encoded image as ``image/encoded``; ``classes``,
    string (N, A), are the attributes' names and ``scores``, float32 (N, A), what ``attributes`` is
    above.

    ``describe`` gives ``json``, string (N,), the description, for each of its ``rows``, int32 (N,),
    whatever they are: TF Serving with batching refuses requests without an input.

    Args:
        model: From images (B, S, S, 3) to logits, computing in float32.
        description: Of the model.
        folder: Where to write.
    """
    servable = tf.Module()
    answer = _answering(model, description, servable)
    size = description.image_size

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(decode_pictures(image_bytes, size))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")])
    def serve_uint8(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(squash(images, size))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="images")])
    def serve_float(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(squash(images, size))

    names, text = list(description.attributes), description.to_json()

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="inputs")])
    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        features = {PICTURE_FEATURE: tf.io.FixedLenFeature((), tf.string)}
        pictures = tf.io.parse_example(inputs, features)[PICTURE_FEATURE]
        scores = answer(decode_pictures(pictures, size))["attributes"]
        return {"classes": tf.tile([names], (tf.size(inputs), 1)), "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="rows")])
    def describe(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"json": tf.fill(tf.shape(rows), text)}

    functions = (serve_bytes, serve_uint8, serve_float, classify, describe)
    tf.saved_model.save(servable, folder, dict(zip(SIGNATURES, functions, strict=True)))


def _answering(
    model: keras.Model, description: ModelDescription, servable: tf.Module
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The function from what the network sees to the outputs; all signatures share it.

    Its variables are given to `servable`, each once: a Keras model would bring its list of layers
    and its list of weights, and every weight twice.
    """
    size = description.image_size
    slopes = description.calibration.slopes(description.attributes)
    offsets = description.calibration.offsets(description.attributes)
    weights = fold_batch_normalization(model)
    # What is left of a folded normalisation are constants, of which TensorFlow drops the factors.
    variables = {
        position: tf.Variable(value, name=model.variables[position].path)
        for position, value in enumerate(weights.values)
        if weights.used[position] and not weights.folded[position]
    }
    servable.weights = list(variables.values())
    positions = {id(variable): position for position, variable in enumerate(model.variables)}

    def values(own: list[keras.Variable]) -> list[tf.Tensor]:
        found = []
        for variable in own:
            position = positions[id(variable)]
            if position in variables:
                found.append(variables[position].value())
            elif weights.used[position]:
                found.append(tf.constant(weights.values[position]))
            else:
                found.append(tf.zeros(variable.shape, variable.dtype))
        return found

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32)])
    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        # training=False must be said: without it Keras may run dropout in a traced call.
        outputs, _ = model.stateless_call(
            values(model.trainable_variables),
            values(model.non_trainable_variables),
            images,
            training=False,
        )
        logits = tf.cast(outputs["attributes"], tf.float32)
        answers = {"attributes": tf.sigmoid(logits * slopes + offsets), "logits": logits}
        if "masks" in outputs:
            answers["masks"] = tf.sigmoid(tf.cast(outputs["masks"], tf.float32))
        return answers

    return answer
