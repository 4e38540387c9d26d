"""The requests that a server runs on a model before it answers with it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from PIL import Image

from far_keras.export.description import ModelDescription
from far_keras.export.graph import PICTURE_FEATURE
from far_keras.geometry import ALIGNED_SIZE

if TYPE_CHECKING:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

__all__ = ["WARMUP_FILE", "write_warmup"]

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Where TF Serving looks for them, from the version's folder."""

_BATCHES = (1, 4)
_GREY = 128


def write_warmup(description: ModelDescription, folder: str | Path) -> Path:
    """Writes requests for each signature, with one image and with some.

    Without them the first requests take ten times as long as the later ones, since TensorFlow
    optimises a graph when it is first run.

    Args:
        description: Of the model.
        folder: The version's folder.

    Returns:
        The file, TFRecords of ``tensorflow.serving.PredictionLog``.
    """
    path = Path(folder) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in _logs(description.image_size):
            kind = getattr(log, str(log.WhichOneof("log_type")))
            kind.request.model_spec.name = description.name
            writer.write(log.SerializeToString())
    return path


def _logs(size: int) -> Iterator[PredictionLog]:
    from tensorflow_serving.apis import prediction_log_pb2

    for signature, name, value in _inputs(size):
        log = prediction_log_pb2.PredictionLog()
        if signature == "classify":  # not a request for Predict
            request = log.classify_log.request
            for example in value:
                request.input.example_list.examples.append(example)
        else:
            request = log.predict_log.request
            request.inputs[name].CopyFrom(value)
        request.model_spec.signature_name = signature
        yield log


def _inputs(size: int) -> Iterator[tuple[str, str, Any]]:
    """Signature, input and its value: images of the network's size, and of the aligned one."""
    for count in _BATCHES:
        yield "describe", "rows", tf.make_tensor_proto(0, tf.int32, (count,))
    for height, width in ((size, size), ALIGNED_SIZE):
        grey = Image.new("RGB", (width, height), (_GREY,) * 3)
        encoded = [_encode(grey, kind) for kind in ("JPEG", "PNG")]
        for count in _BATCHES:
            kinds = [encoded[i % 2] for i in range(count)]
            yield "serving_default", "image_bytes", tf.make_tensor_proto(kinds)
            yield "classify", "inputs", [_example(picture) for picture in kinds]
            # One value stands for all pixels, which keeps the file small.
            shape = (count, height, width, 3)
            yield "serve_uint8", "images", tf.make_tensor_proto(_GREY, tf.uint8, shape)
            yield "serve_float", "images", tf.make_tensor_proto(_GREY, tf.float32, shape)


def _example(picture: bytes) -> tf.train.Example:
    content = tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture]))
    return tf.train.Example(features=tf.train.Features(feature={PICTURE_FEATURE: content}))


def _encode(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()
