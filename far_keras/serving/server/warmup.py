"""Warm-up requests that an export brings along: the first real request finds a warm model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from far_keras.errors import ServerError
from far_keras.serving.server.classify import classify
from far_keras.serving.server.predict import predict
from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.saved_model import SavedModel

__all__ = ["warm_up"]

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
_MAX_RECORDS = 1000  # as TensorFlow Serving

_logger = logging.getLogger(__name__)


def warm_up(model: SavedModel) -> float:
    """Runs the recorded requests through the model.

    Args:
        model: Not in use yet.

    Returns:
        Seconds it took; 0 without records.

    Raises:
        ServerError: The file is damaged, or the model refuses a request of it.
    """
    path = model.folder / WARMUP_FILE
    if not path.is_file():
        return 0.0
    start = time.perf_counter()
    for index, log in enumerate(_read(path)):
        if index == _MAX_RECORDS:
            break
        kind = log.WhichOneof("log_type")
        try:
            if kind == "predict_log":
                predict(model, log.predict_log.request)
            elif kind == "classify_log":
                classify(model, log.classify_log.request)
            else:
                _logger.warning("%s: record %d, a %s, is not run here", path, index, kind)
        except RpcError as error:
            raise ServerError(f"{path}: warm-up record {index} fails: {error.text}") from None
    return time.perf_counter() - start


def _read(path: Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except (tf.errors.OpError, DecodeError):
        raise ServerError(
            f"{path}: expected a TFRecord file of PredictionLog. Received: a damaged file; "
            "export the model again"
        ) from None
