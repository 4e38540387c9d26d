"""How the process of `far-keras serve` ends."""

import ctypes
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import prediction_service_pb2_grpc


@pytest.fixture(scope="module")
def models(tmp_path_factory, write_sums):
    folder = tmp_path_factory.mktemp("served")
    write_sums(folder / "sums" / "1", 1)
    return folder


def waiting(server):
    with urllib.request.urlopen(server.metrics_url, timeout=20) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return next(
            family.samples[0].value
            for family in families
            if family.name == ":far_keras:serving:waiting_requests"
        )


def test_sigterm_finishes_what_was_taken(models, start_server, sums_request):
    with (
        # A grace that is enough where other programs take the processor.
        start_server(
            models, "--parallel-runs", 1, "--metrics-port", 0, "--grace-seconds", 80
        ) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        calls = [stub.Predict.future(sums_request(200_000), timeout=120) for _ in range(30)]
        deadline = time.monotonic() + 60
        while waiting(server) + sum(call.done() for call in calls) < 10:
            assert time.monotonic() < deadline
        server.process.send_signal(signal.SIGTERM)
        codes = [call.code() for call in calls]
        assert server.wait() == 0, server.lines
    assert codes.count(grpc.StatusCode.OK) >= 10
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert server.lines[-1] == "stopped"


def test_sigterm_tells_callers_that_never_pause_and_those_who_watch(
    models, start_server, sums_request
):
    server = start_server(models, "--grace-seconds", 600)
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
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(codes) < 50:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.stop() == 0  # long before the 600 seconds are over
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
    stop.set()
    for thread in threads:
        thread.join(30)
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


def test_a_killed_server_leaves_no_call_hanging(models, start_server, sums_request):
    server = start_server(models)
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
    time.sleep(1)
    server.kill()
    port = server.address.rpartition(":")[2]
    with start_server(models, port=port):
        before = len(outcomes)
        while not any(code is grpc.StatusCode.OK for code, _ in outcomes[before:]):
            time.sleep(0.05)
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


def status(thread):
    """What Linux tells of a thread, such as ``State``, by name."""
    return dict(line.split(":\t") for line in (thread / "status").read_text().splitlines())


def wait_until_asleep(thread):
    """Returns when the thread has not run for a while."""
    deadline, switches = time.monotonic() + 60, None
    while switches != (switches := status(thread)["voluntary_ctxt_switches"]):
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' /proc and tgkill")
def test_whichever_thread_takes_sigterm(models, start_server):
    server = start_server(models)
    process = server.process.pid
    main, *others = sorted(Path(f"/proc/{process}/task").iterdir(), key=lambda path: int(path.name))
    wait_until_asleep(main)
    bit = 1 << (signal.SIGTERM - 1)
    takes_it = next(thread for thread in others if not int(status(thread)["SigBlk"], 16) & bit)
    assert ctypes.CDLL(None).tgkill(process, int(takes_it.name), signal.SIGTERM) == 0
    assert server.wait() == 0, server.lines
    assert server.lines[-1] == "stopped"


class Endless(tf.Module):
    """Computes until somebody ends it."""

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def __call__(self, x):
        total = tf.reduce_sum(x)
        while total > 0:
            total += 1e-9
        return {"sum": total}


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
