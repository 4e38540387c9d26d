"""benchmarks/serving_load.py against a server whose failures the test chooses."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from far_keras.serving import FarClient

PATH = Path(__file__).parents[3] / "benchmarks" / "serving_load.py"


@pytest.fixture(scope="module")
def load():
    spec = importlib.util.spec_from_file_location("serving_load", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["serving_load"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["serving_load"]


def test_the_report_counts_what_the_server_saw(load, client, service):
    service.before = lambda request, context: time.sleep(0.02)
    report = load.run_load(client, load.example_image(), concurrency=3, seconds=0.4)
    assert report.errors == {}
    assert report.succeeded == len(service.requests) - 1  # one before the clock starts
    assert service.most_at_once <= 3
    assert 20 <= report.percentile(50) <= report.percentile(99) <= report.percentile(100)
    assert report.requests_per_second <= 3 / 0.02


def test_failures_are_counted_by_code(load, target, service):
    def sometimes(request, context):
        turn = len(service.requests)
        if turn > 1 and turn % 3 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        if turn > 1 and turn % 3 == 1:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    service.before = sometimes
    with FarClient(target, "mgmtn", retries=0) as client:
        report = load.run_load(client, load.example_image(), concurrency=2, seconds=0.5)
    assert set(report.errors) == {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
    assert sum(report.errors.values()) + report.succeeded == len(service.requests) - 1
    assert len(service.requests) < 500  # not called in a tight loop


def test_the_program(target):
    words = ["--target", target, "--model", "mgmtn", "--seconds", "0.3", "--json"]
    done = subprocess.run(
        [sys.executable, str(PATH), *words], capture_output=True, text=True, timeout=60, check=True
    )
    data = json.loads(done.stdout)
    assert data["succeeded"] > 10
    assert data["p50_ms"] <= data["p99_ms"] <= data["max_ms"]
