"""What the local server has beyond TF Serving: health and reflection."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

TIMEOUT = 30.0
SERVING = health_pb2.HealthCheckResponse.SERVING
PREDICTION = "tensorflow.serving.PredictionService"
MODELS = "tensorflow.serving.ModelService"

pytestmark = pytest.mark.usefixtures("local_only")


@pytest.mark.parametrize("service", ["", PREDICTION, MODELS, "faces"])
def test_health(target, service):
    stub = health_pb2_grpc.HealthStub(target.connect())
    request = health_pb2.HealthCheckRequest(service=service)
    assert stub.Check(request, TIMEOUT).status == SERVING
    watched = stub.Watch(request, timeout=TIMEOUT)
    assert next(watched).status == SERVING
    watched.cancel()


def test_health_of_an_unknown_service(target):
    stub = health_pb2_grpc.HealthStub(target.connect())
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"), TIMEOUT)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection(target):
    database = ProtoReflectionDescriptorDatabase(target.connect())
    services = set(database.get_services())
    assert {PREDICTION, MODELS, "grpc.health.v1.Health"} <= services
    file = database.FindFileContainingSymbol(PREDICTION)
    (service,) = file.service
    assert {"Predict", "Classify", "GetModelMetadata"} <= {m.name for m in service.method}
