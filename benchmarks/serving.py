"""What the local server adds to a model, and what batching is worth, in one run on one machine.

    python benchmarks/serving.py                                     # both small variants
    python benchmarks/serving.py --variants mgmtn_mobilenetv3small

The networks have random weights: times do not depend on what was learnt. Rounds of the things that
are compared alternate, so that a busy machine slows all alike; figures are medians over rounds (or
starts of the server) with 95% bootstrap intervals. Ends with status 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
import tensorflow as tf
from local_server import LocalServer, export_variant
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from far_keras.models.variants import VARIANTS, Variant
from far_keras.serving.messages.serving_pb2 import Tensor
from far_keras.serving.tensors import decode_tensor, encode_tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
SIGNATURE = "serve_uint8"
OPTIONS = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]
MAX_ADDED_MS, MIN_GAIN, MAX_FIRST, MAX_IMPORT_SECONDS = 1.2, 1.3, 3.0, 0.4  # the targets
SMALL = "mgmtn_mobilenetv3small"  # which the gain by batching is wanted of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=[SMALL, "mgmtn_efficientnetlite0"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--starts", type=int, default=5, help="of the server (default: 5)")
    parser.add_argument("--calls", type=int, default=60, help="a round (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    if min(options.rounds, options.starts, options.calls, options.clients) < 1:
        parser.error("--rounds, --starts, --calls, --clients: expected at least 1")
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for variant in options.variants:
            version = export_variant(variant, Path(folder) / variant)
            missed += [f"{variant}: {what}" for what in measure(variant, version, options)]
    measure_decoding()
    missed += measure_import(options.rounds)
    for what in missed:
        print(f"MISSED: {what}")
    sys.exit(bool(missed))


def measure(variant: str, version: Path, options: argparse.Namespace) -> list[str]:
    """Prints the figures; returns the targets that were missed."""
    size = Variant(*VARIANTS[variant]).image_size
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.uint8)
    print(f"\n{variant}, {size} px, {SIGNATURE}, {os.cpu_count()} cores")
    models, firsts = version.parent, []
    for number in range(options.starts + 1):
        with LocalServer(models) as server:
            first = first_against_later(variant, server, image)
        if number:  # the client begins cold, too
            firsts.append(first)
    with LocalServer(models) as plain, LocalServer(models, "--batching") as batching:
        added = added_by_grpc(variant, version, plain, image, options)
        gains = gained_by_batching(variant, plain, batching, image, options)
    first, added_ms, gain = map(statistics.median, (firsts, added, gains))
    print(
        f"first request against later ones: {first:.1f} x {interval(firsts, 1)} "
        f"(wanted: at most {MAX_FIRST})\n"
        f"gRPC adds {added_ms:.2f} ms {interval(added, 2)} (wanted: at most {MAX_ADDED_MS})\n"
        f"batching gains {gain:.2f} x {interval(gains, 2)} "
        f"(wanted of the small network: at least {MIN_GAIN})"
    )
    targets = {
        "the first request": first <= MAX_FIRST,
        "what gRPC adds": added_ms <= MAX_ADDED_MS,
        "the gain by batching": gain >= MIN_GAIN or variant != SMALL,
    }
    return [what for what, is_met in targets.items() if not is_met]


def interval(samples: Sequence[float], digits: int) -> str:
    """95% bootstrap interval of the median of independent samples."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(samples, (2000, len(samples))), 1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def first_against_later(variant: str, server: LocalServer, image: np.ndarray) -> float:
    """The time of the first request after the start, as a multiple of the later ones' median."""
    with grpc.insecure_channel(server.address, OPTIONS) as channel:
        grpc.channel_ready_future(channel).result(30)
        call = caller(channel, variant, image)
        first = seconds(call)
        return first / statistics.median(seconds(call) for _ in range(100))


def added_by_grpc(
    variant: str, version: Path, server: LocalServer, image: np.ndarray, options: argparse.Namespace
) -> list[float]:
    """By round: milliseconds of a call over gRPC beyond the same signature in this process."""
    model = tf.saved_model.load(str(version))
    signature = model.signatures[SIGNATURE]

    def direct() -> dict[str, np.ndarray]:
        outputs = signature(images=tf.constant(image))
        return {name: value.numpy() for name, value in outputs.items()}

    with grpc.insecure_channel(server.address, OPTIONS) as channel:
        remote = caller(channel, variant, image)
        for name, value in direct().items():  # the same model, the same outputs
            received = tf.make_ndarray(remote().outputs[name])
            np.testing.assert_allclose(received, value, rtol=1e-4, atol=1e-5)
        rounds = [
            [
                1e3 * statistics.median(seconds(call) for _ in range(options.calls))
                for call in (direct, remote)
            ]
            for _ in range(options.rounds + 1)
        ][1:]
    direct_ms, remote_ms = map(statistics.median, zip(*rounds, strict=True))
    print(f"one image: direct call {direct_ms:.2f} ms, over gRPC {remote_ms:.2f} ms")
    return [over - alone for alone, over in rounds]


def gained_by_batching(
    variant: str,
    plain: LocalServer,
    batching: LocalServer,
    image: np.ndarray,
    options: argparse.Namespace,
) -> list[float]:
    """By round: how many times the requests a second batching brings many clients."""
    rounds = [
        [
            throughput(server, variant, image, options.clients, options.calls)
            for server in (plain, batching)
        ]
        for _ in range(options.rounds + 1)
    ][1:]
    without, with_it = map(statistics.median, zip(*rounds, strict=True))
    print(
        f"{options.clients} clients: {without:.0f} requests/s without batching, {with_it:.0f} with"
    )
    return [merged / single for single, merged in rounds]


def throughput(
    server: LocalServer, variant: str, image: np.ndarray, clients: int, calls: int
) -> float:
    # Bytes in, bytes out: what clients do with their messages is not the server's speed.
    sent = request_of(variant, image).SerializeToString()

    def work(channel: grpc.Channel) -> None:
        predict = channel.unary_unary(PREDICT)
        for _ in range(calls):
            predict(sent, timeout=60)

    channels = [
        grpc.insecure_channel(server.address, [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        for _ in range(clients)
    ]
    for channel in channels:
        grpc.channel_ready_future(channel).result(30)
    threads = [threading.Thread(target=work, args=(channel,)) for channel in channels]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = clients * calls / (time.perf_counter() - start)
    for channel in channels:
        channel.close()
    return rate


def measure_decoding() -> None:
    """What a client does with a response's masks, by the field they come in."""
    masks = np.random.default_rng(0).random((1, 227, 227, 8), np.float32)
    print("\n8 masks of 227 x 227 pixels, decoded by the client")
    for name, as_content in (("float_val", False), ("tensor_content", True)):
        tensor = Tensor()
        encode_tensor(masks, tensor, typed=not as_content)
        sent = tensor.SerializeToString()

        def read(sent: bytes = sent) -> np.ndarray:
            return decode_tensor(Tensor.FromString(sent))

        assert np.array_equal(read(), masks)
        times = [seconds(read) for _ in range(200)]
        print(f"{name:<15} {1e3 * statistics.median(times):.3f} ms")


def measure_import(rounds: int) -> list[str]:
    """A new process that imports the client, against one that imports what the client needs."""
    codes = (
        "",
        "import grpc, numpy, google.protobuf.message",
        "from far_keras.serving import FarClient",
    )

    def run(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    times = [[seconds(partial(run, code)) for code in codes] for _ in range(rounds + 1)][1:]
    alone = [needed - empty for empty, needed, _ in times]
    took = [client - empty for empty, _, client in times]
    print(
        f"\nimporting FarClient takes {statistics.median(took):.2f} s {interval(took, 2)} "
        f"(wanted: at most {MAX_IMPORT_SECONDS}), "
        f"grpc, numpy and protobuf alone {statistics.median(alone):.2f} s"
    )
    is_met = statistics.median(took) <= MAX_IMPORT_SECONDS
    return [] if is_met else ["the import of the client"]


def caller(
    channel: grpc.Channel, variant: str, image: np.ndarray
) -> Callable[[], predict_pb2.PredictResponse]:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = request_of(variant, image)
    return lambda: stub.Predict(request, timeout=60)


def request_of(variant: str, image: np.ndarray) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = variant, SIGNATURE
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(image))
    return request


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
