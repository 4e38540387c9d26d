"""Tests the local server with wrong requests, kills, reloads and long load; status 1 on a problem.

    python benchmarks/serving_reliability.py malformed --count 10000
    python benchmarks/serving_reliability.py kill --minutes 2      # kill -9 and restart under load
    python benchmarks/serving_reliability.py reload --minutes 10   # new versions under load
    python benchmarks/serving_reliability.py reload --minutes 10 --tiny  # thousands of them
    python benchmarks/serving_reliability.py soak --minutes 15     # memory

Without `--models`, each mode serves `mgmtn_mobilenetv3small` with random weights. `--tiny` takes a
model that loads in milliseconds, so that reloads test the server rather than TensorFlow's loader.
"""

from __future__ import annotations

import argparse
import collections
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
import tensorflow as tf
from local_server import LocalServer, export_variant, write_tiny
from malformed_requests import Malformed, malformed_requests
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

DEADLINE = 10.0
OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # so that a server that comes back is found at once, not after a pause that grows
    ("grpc.max_reconnect_backoff_ms", 500),
]
# What no error message may hold: internals of Python and TensorFlow.
LEAKS = ("Traceback", 'File "', "{{", "[[", "node", ".py", "\n", "tensorflow/core")


class Pauses:
    """How long the machine let this process wait, so that the server is not blamed for it."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._late: list[tuple[float, float]] = []  # when a sleep ended, and how late that was
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def since(self, start: float) -> float:
        """Seconds that were lost since then."""
        return sum(late for end, late in self._late if end > start)

    def _run(self) -> None:
        start = time.perf_counter()
        while not self._stop.wait(0.05):
            end = time.perf_counter()
            late = end - start - 0.05
            if late > 0.2:
                self._late.append((end, late))
                self.longest = max(self.longest, late)
            start = end


class Load:
    """Threads that call Predict again and again.

    Args:
        address: Of the server.
        model: Its model.
        size: Side of its images.
        clients: How many threads.
    """

    def __init__(self, address: str, model: str, size: int, clients: int):
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.versions: set[int] = set()
        self.longest = 0.0
        self.problems: list[str] = []
        self.pauses = Pauses()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._address = address
        images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.uint8)
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model
        self._request.model_spec.signature_name = "serve_uint8"
        self._request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Load:
        self.pauses.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(3 * DEADLINE)
            if thread.is_alive():
                self.problems.append("a call hangs past its deadline")
        self.pauses.stop()

    def _run(self) -> None:
        options = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._address, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self._stop.is_set():
                start = time.perf_counter()
                try:
                    response = stub.Predict(self._request, timeout=DEADLINE)
                    outcome, version = "OK", response.model_spec.version.value
                    if len(response.outputs["attributes"].float_val) != 40:
                        self.problems.append("a response without its 40 attributes")
                except grpc.RpcError as error:
                    outcome, version = error.code().name, 0
                spent = time.perf_counter() - start
                with self._lock:
                    self.outcomes[outcome] += 1
                    self.longest = max(self.longest, spent)
                    if version:
                        self.versions.add(version)
                    if spent > DEADLINE + 2 + self.pauses.since(start):
                        self.problems.append(f"a call of {spent:.1f} s, its deadline {DEADLINE}")
                if outcome != "OK":
                    time.sleep(0.05)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.outcomes.most_common())
        return (
            f"calls: {counts}; the longest {self.longest:.2f} s "
            f"(longest pause of the machine {self.pauses.longest:.2f} s)"
        )


def malformed(models: Path, options: argparse.Namespace) -> list[str]:
    """Sends wrong requests; each must get the right status in one clean line."""
    words = ["--batching"] if options.batching else []
    with LocalServer(models, "--poll-seconds", 0, *words) as server:
        with grpc.insecure_channel(server.address, OPTIONS) as channel:
            problems: list[str] = []
            counts: collections.Counter[str] = collections.Counter()
            requests = malformed_requests(models.name, options.size, options.count)
            warm = memory = server.memory()
            for index, request in enumerate(requests):
                code, problem = send_malformed(channel, request)
                counts[code] += 1
                problems += [problem] if problem else []
                if index == options.count // 10:
                    warm = server.memory()  # every kind has been there, the large ones too
            memory = server.memory()
            _garbage(server.address)
            counts_text = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
            print(f"{sum(counts.values()):,} requests: {counts_text}")
            print(f"memory after a tenth {warm:.0f} MB, at the end {memory:.0f} MB")
            if memory > 1.05 * warm + 20:
                problems.append(f"memory grew from {warm:.0f} to {memory:.0f} MB")
            if server.process.poll() is not None:
                problems.append("the server ended")
        with Load(server.address, models.name, options.size, 1) as load:
            time.sleep(1)
        if set(load.outcomes) != {"OK"}:
            problems.append(f"afterwards good requests fail: {load}")
    return problems


def send_malformed(channel: grpc.Channel, request: Malformed) -> tuple[str, str]:
    """The status code, and what is wrong with code or text; empty if both are right."""
    call = channel.unary_unary(request.method)
    try:
        call(request.data, timeout=60)
        code, text = "OK", ""
    except grpc.RpcError as error:
        code, text = error.code().name, error.details() or ""
    problem = ""
    if code not in request.codes:
        problem = f"{request.what}: {code} ({text}) instead of {' or '.join(request.codes)}"
    leaks = [leak for leak in LEAKS if leak in text and leak not in str(request.data[:300])]
    if leaks or len(text) > 500 or (code != "OK" and not text):
        problem = f"{request.what}: a wrong text: {text[:300]!r}"
    return code, problem


def _garbage(address: str) -> None:
    """What is no HTTP/2 at all."""
    host, _, port = address.rpartition(":")
    for data in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.sendall(data)


def kill(models: Path, options: argparse.Namespace) -> list[str]:
    """Kills the server under load and starts it again; every call must end in time."""
    server = LocalServer(models)
    port = server.address.rpartition(":")[2]
    kills, end = 0, time.monotonic() + 60 * options.minutes
    try:
        with Load(server.address, models.name, options.size, options.clients) as load:
            while time.monotonic() < end:
                time.sleep(3)
                server.kill()
                kills += 1
                server = LocalServer(models, "--port", port)
            time.sleep(3)
            before = load.outcomes["OK"]
            time.sleep(3)
            again = load.outcomes["OK"] - before
    finally:
        server.kill()
    print(f"{kills} kills under {options.clients} clients; {load}")
    problems = load.problems
    wrong = set(load.outcomes) - {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    if wrong:
        problems.append(f"statuses {sorted(wrong)}")
    if not again:
        problems.append("no call succeeds after the last restart")
    return problems


def reload(models: Path, options: argparse.Namespace) -> list[str]:
    """Adds versions and removes old ones under load; no request may fail."""
    with (
        LocalServer(models, "--poll-seconds", 0.05) as server,
        Load(server.address, models.name, options.size, options.clients) as load,
        _status(server.address, models.name) as state_of,
    ):
        memory = [server.memory()]  # after so many reloads
        end = time.monotonic() + 60 * options.minutes
        while len(memory) <= options.reloads and time.monotonic() < end and not load.problems:
            number = len(memory) + 1
            shutil.copytree(models / str(number - 1), models / f".{number}.tmp")
            (models / f".{number}.tmp").rename(models / str(number))
            latest = time.monotonic() + 300
            while state_of(number) != "AVAILABLE" or state_of(number - 1) != "END":
                if time.monotonic() > latest:
                    raise SystemExit(f"version {number} is not served after 300 s")
                time.sleep(0.01)
            shutil.rmtree(models / str(number - 1))
            memory.append(server.memory())
    print(f"{len(memory) - 1} reloads under {options.clients} clients; {load}")
    print(f"{len(load.versions)} versions responded")
    tenths = [memory[(len(memory) - 1) * tenth // 10] for tenth in range(11)]
    print("memory after each tenth, in MB:", ", ".join(f"{mb:.0f}" for mb in tenths))
    problems = load.problems
    if set(load.outcomes) != {"OK"}:
        problems.append(f"requests failed: {load}")
    return problems


@contextmanager
def _status(address: str, model: str) -> Iterator:
    """The state of a version, by number."""
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        names = get_model_status_pb2.ModelVersionStatus.State

        def state_of(number: int) -> str:
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = model
            response = stub.GetModelStatus(request, timeout=60)
            states = {one.version: names.Name(one.state) for one in response.model_version_status}
            return states.get(number, "")

        yield state_of


def soak(models: Path, options: argparse.Namespace) -> list[str]:
    """Good requests, and now and then a bad one, for as long as it takes; memory must be flat."""
    words = ["--batching"] if options.batching else []
    samples: list[tuple[float, float]] = []
    with (
        LocalServer(models, *words) as server,
        Load(server.address, models.name, options.size, options.clients) as load,
        grpc.insecure_channel(server.address, OPTIONS) as channel,
    ):
        start = time.monotonic()
        requests = malformed_requests(models.name, options.size, 10**9, large_every=10**9)
        while time.monotonic() < start + 60 * options.minutes:
            send_malformed(channel, next(requests))
            time.sleep(0.2)
            samples.append((time.monotonic() - start, server.memory()))
    total = samples[-1][0]
    # Caches of allocators fill in the first part; what leaks goes on growing afterwards.
    early = np.median([mb for at, mb in samples if 0.2 * total <= at < 0.3 * total])
    late = np.median([mb for at, mb in samples if at >= 0.9 * total])
    growth = late / early - 1
    print(f"{total / 60:.1f} minutes under {options.clients} clients; {load}")
    print(f"memory {early:.0f} MB early, {late:.0f} MB late: {growth:+.2%}")
    problems = load.problems
    if growth > 0.02:
        problems.append(f"memory grew by {growth:.2%}")
    if set(load.outcomes) != {"OK"}:
        problems.append(f"requests failed: {load}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("malformed", "kill", "reload", "soak"))
    parser.add_argument("--models", type=Path, help="folder of one exported model's versions")
    parser.add_argument("--tiny", action="store_true", help="a model of one matrix; not malformed")
    parser.add_argument("--count", type=int, default=10_000, help="malformed requests")
    parser.add_argument("--reloads", type=int, default=5_000, help="at most so many")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="side of the model's images")
    parser.add_argument("--batching", action="store_true")
    options = parser.parse_args()
    if options.tiny and (options.what == "malformed" or options.models):
        parser.error("--tiny goes with kill, reload and soak, and without --models")
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "model"
        if options.tiny:
            write_tiny(models)
        elif options.models is None:
            export_variant("mgmtn_mobilenetv3small", models)
        else:  # a copy: new versions are added to it
            latest = max(
                (path for path in options.models.iterdir() if path.name.isdigit()),
                key=lambda path: int(path.name),
            )
            shutil.copytree(latest, models / "1")
        run = {"malformed": malformed, "kill": kill, "reload": reload, "soak": soak}[options.what]
        problems = run(models, options)
    for problem in problems[:20]:
        print(f"PROBLEM: {problem}")
    print("no problems" if not problems else f"{len(problems)} problems")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
