"""The requests that a server runs on a model before it answers with it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from PIL import Image
from tensorflow.core.framework.tensor_pb2 import TensorProto

from far_keras.export.description import ModelDescription
from far_keras.faces.alignment import ALIGNED_SIZE

__all__ = ["WARMUP_FILE", "write_warmup"]

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Where TF Serving looks for them, from the version's folder."""

_BATCHES = (1, 4)
_GREY = 128


def write_warmup(description: ModelDescription, folder: str | Path) -> Path:
    """Writes a request for each signature that takes pictures, with one picture and with some.

    Without them the first requests take ten times as long as the later ones, since TensorFlow
    optimises a graph when it is first run. ``describe`` is left out: it costs nothing, and TF
    Serving with batching refuses requests without inputs, with which the model would not load.

    Args:
        description: Of the model.
        folder: The version's folder.

    Returns:
        The file, TFRecords of ``tensorflow.serving.PredictionLog``.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    path = Path(folder) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, name, value in _requests(description.image_size):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = description.name
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(value)
            writer.write(log.SerializeToString())
    return path


def _requests(size: int) -> Iterator[tuple[str, str, TensorProto]]:
    """Signature, input and its value: pictures of the network's size, and of the aligned one."""
    for height, width in ((size, size), ALIGNED_SIZE):
        grey = Image.new("RGB", (width, height), (_GREY,) * 3)
        encoded = [_encode(grey, kind) for kind in ("JPEG", "PNG")]
        for count in _BATCHES:
            kinds = [encoded[i % 2] for i in range(count)]
            yield "serving_default", "image_bytes", tf.make_tensor_proto(kinds)
            # One value stands for all pixels, which keeps the file small.
            shape = (count, height, width, 3)
            yield "serve_uint8", "images", tf.make_tensor_proto(_GREY, tf.uint8, shape)
            yield "serve_float", "images", tf.make_tensor_proto(_GREY, tf.float32, shape)


def _encode(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()
