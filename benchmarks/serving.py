"""What the local server adds to a model, and what batching is worth, in one run on one machine.

    python benchmarks/serving.py                                     # both small variants
    python benchmarks/serving.py --variants mgmtn_mobilenetv3small

The networks have random weights: times do not depend on what was learnt. Rounds of the things that
are compared alternate, so that a busy machine slows all alike; figures are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np
import tensorflow as tf
from local_server import LocalServer
from serving_models import export_variant
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from far_keras.models.variants import VARIANTS, Variant
from far_keras.serving.messages.tensor_pb2 import Tensor
from far_keras.serving.server.tensors import encode_tensor
from far_keras.serving.tensors import to_array

PREDICT = "/tensorflow.serving.PredictionService/Predict"
SIGNATURE = "serve_uint8"
OPTIONS = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--variants", nargs="+", default=["mgmtn_mobilenetv3small", "mgmtn_efficientnetlite0"]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=60, help="a round (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for variant in options.variants:
            version = export_variant(variant, Path(folder) / variant)
            measure(variant, version, options)
    measure_decoding()


def measure(variant: str, version: Path, options: argparse.Namespace) -> None:
    size = Variant(*VARIANTS[variant]).image_size
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.uint8)
    print(f"\n{variant}, {size} px, {SIGNATURE}, {os.cpu_count()} cores")
    models = version.parent
    with LocalServer(models) as plain, LocalServer(models, "--batching") as batching:
        first_calls(variant, batching, image, shown=False)  # the client begins cold, too
        first_calls(variant, plain, image)
        one_at_a_time(variant, version, plain, image, options)
        many_at_a_time(variant, plain, batching, image, options)


def first_calls(variant: str, server: LocalServer, image: np.ndarray, shown: bool = True) -> None:
    """The first request after the start, against the later ones."""
    with grpc.insecure_channel(server.address, OPTIONS) as channel:
        grpc.channel_ready_future(channel).result(30)
        call = caller(channel, variant, image)
        first = seconds(call)
        later = statistics.median(seconds(call) for _ in range(100))
    if not shown:
        return
    print(
        f"first request {1e3 * first:.2f} ms, later ones {1e3 * later:.2f}: "
        f"{first / later:.1f} x (wanted: at most 3)"
    )


def one_at_a_time(
    variant: str, version: Path, server: LocalServer, image: np.ndarray, options: argparse.Namespace
) -> None:
    """A call over gRPC against a call of the same signature in this process."""
    model = tf.saved_model.load(str(version))
    signature = model.signatures[SIGNATURE]

    def direct() -> dict[str, np.ndarray]:
        outputs = signature(images=tf.constant(image))
        return {name: value.numpy() for name, value in outputs.items()}

    with grpc.insecure_channel(server.address, OPTIONS) as channel:
        remote = caller(channel, variant, image)
        for name, value in direct().items():  # the same model, the same answer
            answered = tf.make_ndarray(remote().outputs[name])
            np.testing.assert_allclose(answered, value, rtol=1e-4, atol=1e-5)
        both: tuple[list[float], list[float]] = ([], [])
        for number in range(options.rounds + 1):
            for times, call in zip(both, (direct, remote), strict=True):
                spent = [seconds(call) for _ in range(options.calls)]
                if number:
                    times += spent
    direct_ms, remote_ms = (1e3 * statistics.median(times) for times in both)
    print(
        f"one picture: direct call {direct_ms:.2f} ms, over gRPC {remote_ms:.2f} ms: "
        f"{remote_ms - direct_ms:+.2f} ms (wanted: at most +1.2)"
    )


def many_at_a_time(
    variant: str,
    plain: LocalServer,
    batching: LocalServer,
    image: np.ndarray,
    options: argparse.Namespace,
) -> None:
    """Requests a second of clients that call at the same time, without and with batching."""
    rates: tuple[list[float], list[float]] = ([], [])
    for number in range(options.rounds + 1):
        for found, server in zip(rates, (plain, batching), strict=True):
            rate = throughput(server, variant, image, options.clients, options.calls)
            if number:
                found.append(rate)
    ratio = statistics.median(b / a for a, b in zip(*rates, strict=True))
    without, with_it = map(statistics.median, rates)
    print(
        f"{options.clients} clients: {without:.0f} requests/s without batching, {with_it:.0f} "
        f"with: {ratio:.2f} x (wanted of the small network: at least 1.3)"
    )


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
    """What a client does with an answer's masks, by the field they come in."""
    masks = np.random.default_rng(0).random((1, 227, 227, 8), np.float32)
    print("\n8 masks of 227 x 227 pixels, decoded by the client")
    for name, as_content in (("float_val", False), ("tensor_content", True)):
        sent = encode_tensor(masks, as_content=as_content).SerializeToString()

        def read(sent: bytes = sent) -> np.ndarray:
            return to_array(Tensor.FromString(sent))

        assert np.array_equal(read(), masks)
        times = [seconds(read) for _ in range(200)]
        print(f"{name:<15} {1e3 * statistics.median(times):.3f} ms")


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
