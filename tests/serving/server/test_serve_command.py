"""`far-keras serve` as a process: how it starts, what it refuses."""

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import prediction_service_pb2_grpc

from far_keras.cli import main


@pytest.fixture(scope="module")
def models(tmp_path_factory, write_sums):
    folder = tmp_path_factory.mktemp("served")
    write_sums(folder / "sums" / "1", 1)
    return folder


@pytest.fixture(scope="module")
def server(models, start_server):
    with start_server(models, "--metrics-port", 0) as server:
        yield server


@pytest.fixture
def refused(capfd):
    """What the command says when it does not start, in one line."""

    def run(*arguments):
        assert main(["serve", *map(str, arguments)]) == 1
        lines = capfd.readouterr().err.splitlines()
        assert sum(line.startswith("far-keras serve: ") for line in lines) == 1
        assert lines[-1].startswith("far-keras serve: ")
        return lines[-1]

    return run


def test_it_says_what_it_is(server):
    first = server.lines[0]
    assert "TensorFlow Serving's gRPC API" in first
    assert "for laptops and tests" in first


def test_it_answers(server, sums_request):
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert list(stub.Predict(sums_request(), timeout=20).outputs["sum"].float_val) == [3.0]


def test_metrics_are_what_prometheus_reads(server, sums_request):
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(sums_request(), timeout=20)
        message = sums_request()
        message.model_spec.name = "invented"
        with pytest.raises(grpc.RpcError):
            stub.Predict(message, timeout=20)
    with urllib.request.urlopen(server.metrics_url, timeout=20) as answer:
        text = answer.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counts = {
        (sample.labels["model_name"], sample.labels["status"]): sample.value
        for sample in families[":tensorflow:serving:request_count"].samples
    }
    assert counts["sums", "OK"] >= 1
    assert counts["", "NOT_FOUND"] == 1  # not under the name that a caller invented
    samples = [
        sample
        for sample in families[":tensorflow:serving:request_latency"].samples
        if sample.labels["API"] == "Predict" and sample.labels["model_name"] == "sums"
    ]
    buckets = [sample.value for sample in samples if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == next(s.value for s in samples if s.name.endswith("_count"))
    assert families["process_resident_memory_bytes"].samples[0].value > 50e6
    assert "invented" not in text
    for name in ("runtime_latency", "batching_session:processed_batch_size"):
        samples = families[f":tensorflow:serving:{name}"].samples
        assert max(sample.value for sample in samples if sample.name.endswith("_count")) >= 1


def test_other_paths_have_no_metrics(server):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(server.metrics_url.replace("prometheus", "other"), timeout=20)


def test_watchers_that_come_and_go_do_not_stop_it(server):
    def come_and_go(_):
        states = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        status = next(states).status
        states.cancel()
        return status

    with grpc.insecure_channel(server.address) as channel, ThreadPoolExecutor(8) as callers:
        stub = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert list(callers.map(come_and_go, range(256))) == [serving] * 256


def test_a_port_in_use(server, models, refused):
    port = server.address.rpartition(":")[2]
    assert f"127.0.0.1:{port}: cannot listen there: the port is in use" in refused(
        models, "--port", port
    )


def test_a_metrics_port_in_use(server, models, refused):
    port = server.metrics_url.rpartition(":")[2].partition("/")[0]
    assert "metrics_port: expected a free port" in refused(
        models, "--port", 0, "--metrics-port", port
    )


def test_folders_without_models(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    assert "empty: expected models" in refused(tmp_path / "empty", "--port", 0)
    assert "there is no such folder" in refused(tmp_path / "nowhere", "--port", 0)
    assert "either a folder of models or a models.config" in refused("--port", 0)


def test_only_one_of_certificate_and_key(models, tmp_path, refused):
    assert "both --tls-cert and --tls-key" in refused(models, "--tls-cert", tmp_path / "a.pem")


@pytest.mark.parametrize("seconds", ["-20", "inf", "1e10", "nan"])
def test_a_grace_out_of_range(models, refused, seconds):
    assert "--grace-seconds: expected 0 to 86400" in refused(models, f"--grace-seconds={seconds}")


def test_open_to_others_without_encryption_is_warned_of(server, models, capfd):
    port = server.address.rpartition(":")[2]  # in use: the server does not come so far as to open
    assert main(["serve", str(models), "--host", "0.0.0.0", "--port", port]) == 1
    warning = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert len(warning) == 1
    assert "0.0.0.0 lets other machines call without encryption" in warning[0]
