"""`far-keras serve` as a process: how it starts, what it refuses, how it ends."""

import ctypes
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import prediction_service_pb2_grpc

from far_keras.cli import main, serve
from far_keras.serving.server import Limits, ServerConfig, TlsFiles, VersionPolicy


@pytest.fixture(scope="module")
def server(small_sums, start_server):
    with start_server(small_sums, "--metrics-port", 0) as server:
        yield server


@pytest.fixture
def refused(capfd):
    """The one line of error of a command that does not start."""

    def run(*arguments):
        assert main(["serve", *map(str, arguments)]) == 1
        lines = capfd.readouterr().err.splitlines()
        assert sum(line.startswith("far-keras serve: ") for line in lines) == 1
        assert lines[-1].startswith("far-keras serve: ")
        return lines[-1]

    return run


def test_it_prints_what_it_is(server):
    first = server.lines[0]
    assert "TensorFlow Serving's gRPC API" in first
    assert "for laptops and tests" in first


def test_it_predicts(server, sums_request):
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


def test_every_option_reaches_the_configuration(small_sums, monkeypatch):
    served, threads = [], []
    monkeypatch.setattr(serve, "_serve", lambda *arguments: served.append(arguments))
    monkeypatch.setattr(serve, "load_tensorflow", threads.append)
    words = (
        "--host ::1 --port 1 --versions 3,5 --poll-seconds 2 --grace-seconds 4 --batching "
        "--max-batch 5 --max-queue 6 --parallel-runs 7 --threads 8 --tls-cert c --tls-key k "
        "--tls-client-ca a --metrics-port 9 --tensor-content"
    )
    assert main(["serve", str(small_sums), *words.split()]) == 0
    config = ServerConfig(
        models=small_sums,
        host="::1",
        port=1,
        versions=VersionPolicy(latest=None, specific=(3, 5)),
        poll_seconds=2,
        batching=True,
        max_queue=6,
        parallel_runs=7,
        threads=8,
        limits=Limits(max_batch=5),
        tensor_content=True,
        tls=TlsFiles(Path("c"), Path("k"), Path("a")),
        metrics_port=9,
    )
    assert served == [(config, 4)]
    assert threads == [8]


def test_a_port_in_use(server, small_sums, refused):
    port = server.address.rpartition(":")[2]
    assert f"127.0.0.1:{port}: cannot listen there: the port is in use" in refused(
        small_sums, "--port", port
    )


def test_a_metrics_port_in_use(server, small_sums, refused):
    port = server.metrics_url.rpartition(":")[2].partition("/")[0]
    assert "metrics_port: expected a free port" in refused(
        small_sums, "--port", 0, "--metrics-port", port
    )


def test_folders_without_models(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    assert "empty: expected models" in refused(tmp_path / "empty", "--port", 0)
    assert "there is no such folder" in refused(tmp_path / "nowhere", "--port", 0)
    assert "either a folder of models or a models.config" in refused("--port", 0)


def test_only_one_of_certificate_and_key(small_sums, tmp_path, refused):
    assert "both --tls-cert and --tls-key" in refused(small_sums, "--tls-cert", tmp_path / "a.pem")


@pytest.mark.parametrize("seconds", ["-20", "inf", "1e10", "nan"])
def test_a_grace_out_of_range(small_sums, refused, seconds):
    assert "--grace-seconds: expected 0 to 86400" in refused(
        small_sums, f"--grace-seconds={seconds}"
    )


def test_open_to_others_without_encryption_is_warned_of(server, small_sums, capfd):
    port = server.address.rpartition(":")[2]  # in use: the server does not come so far as to open
    assert main(["serve", str(small_sums), "--host", "0.0.0.0", "--port", port]) == 1
    warning = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert len(warning) == 1
    assert "0.0.0.0 lets other machines call without encryption" in warning[0]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def status(thread):
    """Linux' status of a thread, such as ``State``, by name."""
    return dict(line.split(":\t") for line in (thread / "status").read_text().splitlines())


def wait_until_asleep(thread):
    """Returns when the thread has not run for a while."""
    deadline, switches = time.monotonic() + 60, None
    while switches != (switches := status(thread)["voluntary_ctxt_switches"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' /proc and tgkill")
def test_whichever_thread_takes_sigterm(small_sums, start_server):
    server = start_server(small_sums)
    process = server.process.pid
    main, *others = sorted(Path(f"/proc/{process}/task").iterdir(), key=lambda path: int(path.name))
    wait_until_asleep(main)
    bit = 1 << (signal.SIGTERM - 1)
    takes_it = next(thread for thread in others if not int(status(thread)["SigBlk"], 16) & bit)
    assert ctypes.CDLL(None).tgkill(process, int(takes_it.name), signal.SIGTERM) == 0
    assert server.wait() == 0, server.lines
    assert server.lines[-1] == "stopped"


@pytest.mark.slow
def test_a_killed_server_leaves_no_call_hanging(small_sums, start_server, sums_request):
    server = start_server(small_sums)
    outcomes, stop = [], threading.Event()

    def call():
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
        with grpc.insecure_channel(server.address, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not stop.is_set():
                start = time.monotonic()
                try:
                    stub.Predict(sums_request(20_000), timeout=5)
                    code = grpc.StatusCode.OK
                except grpc.RpcError as error:
                    code = error.code()
                    time.sleep(0.02)
                outcomes.append((code, time.monotonic() - start))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(outcomes) > 50)
    server.kill()
    port = server.address.rpartition(":")[2]
    with start_server(small_sums, port=port):
        before = len(outcomes)
        wait_for(lambda: any(code is grpc.StatusCode.OK for code, _ in outcomes[before:]))
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
    assert {code for code, _ in outcomes} <= {
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
    assert max(seconds for _, seconds in outcomes) < 10  # the deadline, and a slow machine


class Endless(tf.Module):
    """Computes until it is cancelled."""

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def __call__(self, x):
        total = tf.reduce_sum(x)
        while total > 0:
            total += 1e-9
        return {"sum": total}


@pytest.mark.slow
def test_a_run_without_an_end_is_cut_off(tmp_path, start_server, sums_request):
    model = Endless()
    tf.saved_model.save(model, str(tmp_path / "endless" / "1"), {"serving_default": model.__call__})
    server = start_server(tmp_path / "endless", "--grace-seconds", 1, "--metrics-port", 0)
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        call = stub.Predict.future(sums_request(model="endless"), timeout=120)
        with pytest.raises(grpc.FutureTimeoutError):
            call.result(2)
        assert server.stop() == 0, server.lines
        assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert server.lines[-1] == "stopped"
