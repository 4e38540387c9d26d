from contextlib import contextmanager

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from far_keras.serving.server import Server, ServerConfig


class Caller:
    """Both stubs on one channel, and what a refused call says."""

    def __init__(self, channel):
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def refusal(self, method, request, timeout=10):
        """Status and text of a call that must fail, in one short line without anyone's inside."""
        with pytest.raises(grpc.RpcError) as caught:
            method(request, timeout=timeout)
        text = caught.value.details()
        assert text
        assert len(text) <= 400
        for leak in ("\n", "Traceback", "{{", "[[", 'File "'):
            assert leak not in text
        return caught.value.code().name, text


@pytest.fixture(scope="session")
def serve():
    """A server in this process with a caller: ``with serve(models=...) as (server, caller)``."""

    @contextmanager
    def start(**settings):
        with (
            Server(ServerConfig(port=0, **settings)) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            yield server, Caller(channel)

    return start
