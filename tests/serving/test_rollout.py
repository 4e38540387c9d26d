"""The steps in serving/rollout, one after the other, on a running server."""

from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

SERVING = Path(__file__).parents[2] / "serving"
START = SERVING / "config" / "models.config"
STEPS = {path.stem: path for path in sorted((SERVING / "rollout").glob("*.config"))}
TIMEOUT = 60
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


class Rollout:
    """A server that starts with version 1 of a model called faces, and the view of its clients."""

    def __init__(self, address, models):
        self._models = models
        channel = grpc.insecure_channel(address)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(channel)

    def take(self, path):
        """Takes a step; the status code."""
        message = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(path.read_text(), message.config)
        (model,) = message.config.model_config_list.config
        model.base_path = str(self._models / model.name)
        try:
            self._model.HandleReloadConfigRequest(message, TIMEOUT)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def version_of(self, label):
        """The version that a label points to; None for an unknown label."""
        message = predict_pb2.PredictRequest()
        message.model_spec.name, message.model_spec.version_label = "faces", label
        message.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((1, 3), np.float32)))
        try:
            outputs = self._prediction.Predict(message, TIMEOUT).outputs
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            return None
        return int(tf.make_ndarray(outputs["version"])[0])

    @property
    def loaded(self):
        message = get_model_status_pb2.GetModelStatusRequest()
        message.model_spec.name = "faces"
        status = self._model.GetModelStatus(message, TIMEOUT).model_version_status
        return {one.version for one in status if one.state == AVAILABLE}

    @property
    def state(self):
        return self.loaded, self.version_of("stable"), self.version_of("canary")


@pytest.fixture(scope="module")
def server(serve, write_sums, tmp_path_factory):
    models = tmp_path_factory.mktemp("rollout")
    for version in (1, 2):
        write_sums(models / "faces" / str(version), version)
    config = models / "models.config"
    config.write_text(START.read_text().replace("/models/", f"{models}/"))
    with serve(models_config=config, poll_seconds=0) as (server, _):
        yield Rollout(server.address, models)


def test_each_step_does_what_the_page_says(server):
    assert server.state == ({1}, 1, None)
    expected = {
        "1-load": ({1, 2}, 1, None),
        "2-canary": ({1, 2}, 1, 2),
        "3-promote": ({1, 2}, 2, 2),
        "4-retire": ({2}, 2, None),
    }
    assert list(expected) == list(STEPS)
    for name, state in expected.items():
        assert server.take(STEPS[name]) == grpc.StatusCode.OK
        assert server.state == state, name
    table = (SERVING / "README.md").read_text()
    for name, (loaded, stable, canary) in expected.items():
        numbers = f"{', '.join(map(str, sorted(loaded)))} | {stable} |"
        row = next(line for line in table.splitlines() if f"{name}.config` |" in line)
        assert f"{numbers} {canary or ''}".rstrip() in row


def test_back_to_the_version_before(server):
    for path in (STEPS["1-load"], STEPS["2-canary"], STEPS["3-promote"]):
        server.take(path)
    assert server.version_of("stable") == 2
    assert server.take(STEPS["2-canary"]) == grpc.StatusCode.OK
    assert server.state == ({1, 2}, 1, 2)


def test_a_step_taken_too_early_changes_nothing(server):
    server.take(STEPS["1-load"])
    server.take(START)
    assert server.state == ({1}, 1, None)
    for name in ("3-promote", "4-retire"):
        assert server.take(STEPS[name]) == grpc.StatusCode.FAILED_PRECONDITION
        assert server.state == ({1}, 1, None)
