import logging

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from far_keras.errors import ServerError
from far_keras.serving.server.predict import WARMUP_FILE, warm_up
from far_keras.serving.server.saved_model import SavedModel


@pytest.fixture
def version(tmp_path, write_sums):
    return write_sums(tmp_path / "1", 1)


def write(version, *logs):
    path = version / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def predict_log(signature, values=((1, 2, 3),)):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "whatever", signature
    request.model_spec.version.value = 77  # of the model that it was recorded with
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32(values)))
    return log


def test_every_record_runs(version, monkeypatch):
    write(version, predict_log("serving_default"), predict_log("doubled"), predict_log("doubled"))
    model = SavedModel(version)
    ran = []
    run = type(model.signatures["doubled"]).__call__
    monkeypatch.setattr(
        type(model.signatures["doubled"]),
        "__call__",
        lambda self, inputs: ran.append(self.name) or run(self, inputs),
    )
    assert warm_up(model) > 0
    assert ran == ["serving_default", "doubled", "doubled"]
    model.close()


def test_a_record_that_fails_is_named(version):
    write(version, predict_log("doubled"), predict_log("serving_default", ((-1, 0, 0),)))
    with pytest.raises(ServerError, match="warm-up record 1 fails: signature 'serving_default'"):
        warm_up(SavedModel(version))


def test_without_records_nothing_happens(version):
    assert warm_up(SavedModel(version)) == 0


def test_a_record_of_another_kind_is_passed_over_aloud(version, caplog):
    log = prediction_log_pb2.PredictionLog()
    log.regress_log.request.model_spec.name = "x"
    write(version, log)
    with caplog.at_level(logging.WARNING):
        warm_up(SavedModel(version))
    assert "record 0, a regress_log, is not run here" in caplog.text
