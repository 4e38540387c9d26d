import os

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from far_keras.errors import ServerError
from far_keras.serving.server import Limits, Server, ServerConfig

SERVING, NOT_SERVING = 1, 2


@pytest.fixture(scope="module")
def models(tmp_path_factory, write_sums):
    folder = tmp_path_factory.mktemp("served")
    write_sums(folder / "sums" / "1", 1)
    return folder


@pytest.fixture(scope="module")
def channel(models):
    with (
        Server(ServerConfig(models=models, port=0)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield channel


@pytest.mark.parametrize("service", ["", "tensorflow.serving.PredictionService", "sums"])
def test_health(channel, service):
    request = health_pb2.HealthCheckRequest(service=service)
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    assert answer.status == SERVING


def test_health_of_a_model_that_has_no_version_yet(models, tmp_path, write_sums):
    config = tmp_path / "models.config"
    entry = 'config {{ name: "{0}" base_path: "{1}" model_platform: "tensorflow" }}'
    both = (entry.format("sums", models / "sums"), entry.format("late", tmp_path / "late"))
    config.write_text(f"model_config_list {{ {' '.join(both)} }}")
    (tmp_path / "late").mkdir()
    with (
        Server(ServerConfig(models_config=config, port=0, poll_seconds=0)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):

        def health(service):
            request = health_pb2.HealthCheckRequest(service=service)
            return health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status

        assert [health(name) for name in ("", "sums", "late")] == [2, 1, 2]
        write_sums(tmp_path / "late" / "1", 1)
        server._manager.poll()
        assert [health(name) for name in ("", "sums", "late")] == [1, 1, 1]


def test_more_watchers_than_may_watch(models):
    with (
        Server(ServerConfig(models=models, port=0)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        watching = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=20) for _ in range(64)]
        assert [next(states).status for states in watching] == [SERVING] * 64
        with pytest.raises(grpc.RpcError, match="64 calls watch already") as caught:
            next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=20))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status == SERVING


def test_reflection_describes_the_services(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    } <= set(database.get_services())
    service = DescriptorPool(database).FindServiceByName("tensorflow.serving.PredictionService")
    predict = service.methods_by_name["Predict"]
    assert predict.input_type.fields_by_name["inputs"].number == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"port": 70000}, "port: expected 0 to 65535"),
        ({"poll_seconds": -1}, "poll_seconds"),
        ({"max_queue": -1}, "max_queue"),
        ({"parallel_runs": 0}, "parallel_runs"),
        ({"limits": Limits(max_batch=0)}, "max_batch"),
        ({"models_config": "file"}, "either a folder of models or"),
    ],
)
def test_settings_out_of_range(models, settings, says):
    with pytest.raises(ServerError, match=says):
        ServerConfig(**({"models": models} | settings))


@pytest.mark.parametrize(
    ("host", "is_exposed"),
    [
        ("127.0.0.1", False),
        ("127.3.2.1", False),
        ("localhost", False),
        ("[::1]", False),
        ("0.0.0.0", True),
        ("[::]", True),
        ("192.168.0.7", True),
        ("some.host", True),
    ],
)
def test_who_may_reach_it(models, host, is_exposed):
    assert ServerConfig(models=models, host=host).is_exposed == is_exposed


def test_a_server_can_be_stopped_before_it_is_started_and_twice(models):
    server = Server(ServerConfig(models=models, port=0))
    server.stop()
    server.stop()


def test_a_model_that_never_loads_does_not_keep_the_server(tmp_path, write_sums, caplog):
    write_sums(tmp_path / "sums" / "1", 1)
    server = Server(ServerConfig(models=tmp_path, port=0, poll_seconds=0.05))
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        # A file that cannot be read to its end, as on a disk that does not answer.
        version = tmp_path / ".2"
        version.mkdir()
        os.mkfifo(version / "far_keras.json")
        (version / "saved_model.pb").touch()
        version.rename(tmp_path / "sums" / "2")
        with (tmp_path / "sums" / "2" / "far_keras.json").open("w"):  # opens when it is read
            server.stop(grace=0.1)
            assert "a model is still loading" in caplog.text
            with pytest.raises(grpc.RpcError):
                health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=10
                )


def test_an_address_of_another_machine(models):
    config = ServerConfig(models=models, port=0, host="203.0.113.7")
    with pytest.raises(ServerError, match=r"203\.0\.113\.7:0: cannot listen there"):
        Server(config).start()


def test_merged_runs_share_the_cores_out(monkeypatch, tmp_path):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    plain = ServerConfig(models=tmp_path)
    assert (plain.num_parallel_runs, plain.threads_per_run) == (8, 8)
    merging = ServerConfig(models=tmp_path, batching=True)
    assert (merging.num_parallel_runs, merging.threads_per_run) == (2, 4)
    assert ServerConfig(models=tmp_path, batching=True, parallel_runs=1).threads_per_run == 8
    assert ServerConfig(models=tmp_path, batching=True, threads=3).threads_per_run == 3
    with pytest.raises(ServerError, match="threads: expected 1 to 1024"):
        ServerConfig(models=tmp_path, threads=0)
