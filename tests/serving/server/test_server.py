import collections
import os
import threading
import time

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tensorflow_serving.apis import prediction_service_pb2_grpc

from far_keras.errors import ServerError
from far_keras.serving.server import Server, ServerConfig, TlsFiles

SERVING, NOT_SERVING = 1, 2


@pytest.fixture(scope="module")
def channel(small_sums):
    with (
        Server(ServerConfig(models=small_sums, port=0)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield channel


@pytest.mark.parametrize("service", ["", "tensorflow.serving.PredictionService", "sums"])
def test_health(channel, service):
    request = health_pb2.HealthCheckRequest(service=service)
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    assert answer.status == SERVING


def test_health_of_a_model_that_has_no_version_yet(small_sums, tmp_path, write_sums):
    config = tmp_path / "models.config"
    entry = 'config {{ name: "{0}" base_path: "{1}" model_platform: "tensorflow" }}'
    both = (entry.format("sums", small_sums / "sums"), entry.format("late", tmp_path / "late"))
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


def test_more_watchers_than_may_watch(small_sums):
    with (
        Server(ServerConfig(models=small_sums, port=0)) as server,
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


def test_a_server_can_be_stopped_before_it_is_started_and_twice(small_sums):
    server = Server(ServerConfig(models=small_sums, port=0))
    server.stop()
    server.stop()


def test_a_model_that_never_loads_does_not_keep_the_server(
    tmp_path, write_sums, caplog, monkeypatch
):
    monkeypatch.setattr("far_keras.serving.server.server._CLOSE_SECONDS", 0.5)
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


def test_an_address_of_another_machine(small_sums):
    config = ServerConfig(models=small_sums, port=0, host="203.0.113.7")
    with pytest.raises(ServerError, match=r"203\.0\.113\.7:0: cannot listen there"):
        Server(config).start()


def is_serving(address, credentials):
    with grpc.secure_channel(address, credentials) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        return check(health_pb2.HealthCheckRequest(), timeout=5).status == 1


def credentials(pki, authority="ca", own=None):
    key = None if own is None else (pki / f"{own}.key").read_bytes()
    chain = None if own is None else (pki / f"{own}.pem").read_bytes()
    return grpc.ssl_channel_credentials((pki / f"{authority}.pem").read_bytes(), key, chain)


def test_the_server_shows_its_certificate(pki, small_sums):
    tls = TlsFiles(pki / "server.pem", pki / "server.key")
    with Server(ServerConfig(models=small_sums, port=0, tls=tls)) as server:
        assert is_serving(server.address, credentials(pki))
        with pytest.raises(grpc.RpcError) as caught:
            is_serving(server.address, credentials(pki, "stranger"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_callers_must_show_theirs(pki, small_sums):
    tls = TlsFiles(pki / "server.pem", pki / "server.key", pki / "ca.pem")
    with Server(ServerConfig(models=small_sums, port=0, tls=tls)) as server:
        assert is_serving(server.address, credentials(pki, own="client"))
        for own in (None, "stranger"):
            with pytest.raises(grpc.RpcError) as caught:
                is_serving(server.address, credentials(pki, own=own))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_full_queue_refuses(small_sums, serve, sums_request):
    with serve(models=small_sums, max_queue=0, parallel_runs=1) as (_, caller):
        calls = [
            caller.prediction.Predict.future(sums_request(100_000), timeout=60) for _ in range(40)
        ]
        codes = collections.Counter(call.code().name for call in calls)
        assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
        assert codes["OK"] >= 1
        refused = next(call for call in calls if call.code().name != "OK")
        assert "the server is busy: 0 requests wait already" in refused.details()
        # It is over with the rush.
        for call in calls:
            if call.code().name == "OK":
                assert len(call.result().outputs["sum"].float_val) == 100_000
        answer = caller.prediction.Predict(sums_request(), timeout=20)
        assert answer.outputs["sum"].float_val == [3.0]


def test_requests_in_progress_fill_no_more_than_their_memory(small_sums, serve, sums_request):
    large, small = sums_request(100_000), sums_request(1000)
    with serve(models=small_sums, max_queue_bytes=1_000_000) as (_, caller):
        assert large.ByteSize() > 1_000_000
        code, text = caller.refusal(caller.prediction.Predict, large)
        assert code == "RESOURCE_EXHAUSTED"
        assert "the requests in progress fill its memory" in text
        # What was computed counts no longer: together these are far above the limit.
        for _ in range(200):
            caller.prediction.Predict(small, timeout=20)
        # Nor does what was refused, before or after it was taken.
        small.model_spec.name = "nobody"
        for _ in range(200):
            with pytest.raises(grpc.RpcError, match="Servable not found"):
                caller.prediction.Predict(small, timeout=20)
        fits = sums_request(80_000)
        assert 900_000 < fits.ByteSize() < 1_000_000
        assert len(caller.prediction.Predict(fits, timeout=20).outputs["sum"].float_val) == 80_000


def test_requests_that_fit_one_by_one_are_too_much_together(small_sums, serve, sums_request):
    with serve(models=small_sums, max_queue_bytes=1_000_000, parallel_runs=1) as (_, caller):
        calls = [
            caller.prediction.Predict.future(sums_request(80_000), timeout=60) for _ in range(40)
        ]
        codes = collections.Counter(call.code().name for call in calls)
        assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
        assert caller.prediction.Predict(sums_request(80_000), timeout=20)


def test_stopping_finishes_what_was_taken(small_sums, sums_request):
    # A grace that suffices where other programs use the processor.
    server = Server(ServerConfig(models=small_sums, port=0, parallel_runs=1))
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        calls = [stub.Predict.future(sums_request(200_000), timeout=120) for _ in range(30)]
        deadline = time.monotonic() + 60
        while server._handlers._in_progress + sum(call.done() for call in calls) < 10:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        server.stop(80)
        codes = [call.code() for call in calls]
    assert codes.count(grpc.StatusCode.OK) >= 10
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


def test_stopping_tells_callers_that_never_pause_and_those_who_watch(small_sums, sums_request):
    server = Server(ServerConfig(models=small_sums, port=0))
    server.start()
    codes, stop = [], threading.Event()

    def call():
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(server.address, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not stop.is_set():
                try:
                    stub.Predict(sums_request(), timeout=20)
                    codes.append(grpc.StatusCode.OK)
                except grpc.RpcError as error:
                    codes.append(error.code())

    threads = [threading.Thread(target=call) for _ in range(4)]
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        states = health.Watch(health_pb2.HealthCheckRequest(), timeout=120)
        assert next(states).status == SERVING
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(codes) < 50:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        start = time.monotonic()
        server.stop(600)
        assert time.monotonic() - start < 60  # long before the 600 seconds are over
        assert next(states).status == NOT_SERVING
    stop.set()
    for thread in threads:
        thread.join(30)
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
