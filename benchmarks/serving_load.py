"""Measures a server's throughput and latency: some clients call without pause, for a bounded time.

    python benchmarks/serving_load.py --target localhost:8500 --model faces --concurrency 8

Ctrl-C ends it early and reports the requests until then. It loads no TensorFlow. Ends with status 1
if no request succeeded.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import numpy as np
from PIL import Image
from rich.table import Table

from far_keras.console import progress_bar, table_console
from far_keras.errors import FarError, ServingError
from far_keras.serving import FarClient

MAX_CONCURRENCY, MAX_SECONDS, MAX_BATCH = 256, 3600, 1024

_TICK = 0.1
_AFTER_FAILURE = 0.05  # seconds; a server that refuses at once must not be called in a tight loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--model", required=True, help="the model's name on the server")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds, for a call")
    parser.add_argument("--concurrency", type=int, default=8, help="simultaneous requests")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch-size", type=int, default=1, help="images per request")
    parser.add_argument("--image", type=Path, help="JPEG or PNG file (default: a made one)")
    parser.add_argument("--no-masks", action="store_true", help="request attributes only")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    for name, most in (
        ("concurrency", MAX_CONCURRENCY),
        ("seconds", MAX_SECONDS),
        ("batch_size", MAX_BATCH),
    ):
        if not 0 < (value := getattr(options, name)) <= most:
            parser.error(f"--{name}: expected more than 0, up to {most}. Received: {value}")
    try:
        report = measure(options)
    except FarError as error:
        raise SystemExit(f"{error}") from None
    if options.json:
        print(json.dumps(report.to_dict()))
    else:
        show(report, options)
    sys.exit(not report.succeeded)


@dataclass(frozen=True)
class LoadReport:
    """The result of `run_load`.

    Args:
        seconds: How long requests were made.
        concurrency: Simultaneous requests.
        batch_size: Images in each.
        milliseconds: (n,) float64, sorted: the latency of each request that succeeded, from sending
            it to its decoded response.
        errors: How many failed, by gRPC status code.
    """

    seconds: float
    concurrency: int
    batch_size: int
    milliseconds: np.ndarray
    errors: dict[str, int]

    @property
    def succeeded(self) -> int:
        """Requests that succeeded."""
        return len(self.milliseconds)

    @property
    def requests_per_second(self) -> float:
        """Requests that succeeded, all clients together."""
        return self.succeeded / self.seconds

    def percentile(self, percent: float) -> float:
        """Of the latency, in milliseconds; NaN if no request succeeded."""
        return float(np.percentile(self.milliseconds, percent)) if self.succeeded else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data: dict[str, Any] = {
            "seconds": round(self.seconds, 2),
            "concurrency": self.concurrency,
            "batch_size": self.batch_size,
            "succeeded": self.succeeded,
            "errors": self.errors,
            "requests_per_second": round(self.requests_per_second, 1),
            "images_per_second": round(self.requests_per_second * self.batch_size, 1),
        }
        if self.succeeded:
            for name, percent in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
                data[f"{name}_ms"] = round(self.percentile(percent), 2)
        return data


def measure(options: argparse.Namespace) -> LoadReport:
    """Runs the load with a progress bar."""
    image = options.image.read_bytes() if options.image else example_image()
    client = FarClient(options.target, options.model, timeout=options.timeout, retries=0)
    with client, progress_bar() as bar:
        task = bar.add_task("", total=options.seconds)

        def progress(seconds: float, succeeded: int, failed: int) -> None:
            text = f"{succeeded} succeeded, {failed} failed"
            bar.update(task, completed=round(seconds, 1), description=text)

        return run_load(
            client,
            image,
            concurrency=options.concurrency,
            seconds=options.seconds,
            batch_size=options.batch_size,
            masks=not options.no_masks,
            progress=progress,
        )


def show(report: LoadReport, options: argparse.Namespace) -> None:
    table = Table()
    for name in ("requests/s", "images/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "failed"):
        table.add_column(name, justify="right")
    rate = report.requests_per_second
    table.add_row(
        f"{rate:.1f}",
        f"{rate * report.batch_size:.1f}",
        *(f"{report.percentile(percent):.1f}" for percent in (50, 95, 99, 100)),
        ", ".join(f"{count} {code}" for code, count in report.errors.items()) or "0",
    )
    images = "1 image" if report.batch_size == 1 else f"{report.batch_size} images"
    print(
        f"{options.model} at {options.target}, {report.seconds:.1f} s, {report.concurrency} "
        f"simultaneous requests with {images} each"
    )
    table_console().print(table)


def run_load(
    client: FarClient,
    image: bytes,
    *,
    concurrency: int = 8,
    seconds: float = 10.0,
    batch_size: int = 1,
    masks: bool = True,
    progress: Callable[[float, int, int], None] = lambda seconds, succeeded, failed: None,
) -> LoadReport:
    """Predicts one image again and again: each thread calls as soon as it has its response.

    One request is made before, so that neither connecting nor a server's first response is
    measured.

    Args:
        client: Without retries, or failures are not seen.
        image: Content of a JPEG or PNG file.
        concurrency: Threads.
        seconds: Duration.
        batch_size: Images per request.
        masks: Whether masks are requested.
        progress: Called ten times per second with the seconds that have passed, and the numbers of
            requests that succeeded and failed.

    Raises:
        ServingError: The first request failed.
    """
    inputs = {"image_bytes": [image] * batch_size}
    outputs = () if masks else ("attributes",)
    client.predict_raw(inputs, outputs=outputs)

    stop = threading.Event()
    workers = [_Worker(client, inputs, outputs, stop) for _ in range(concurrency)]
    begin = time.monotonic()
    for worker in workers:
        worker.start()
    try:
        while (passed := time.monotonic() - begin) < seconds:
            progress(passed, *_counts(workers))
            stop.wait(min(_TICK, seconds - passed))
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    passed = time.monotonic() - begin
    progress(passed, *_counts(workers))
    errors: Counter[str] = sum((worker.errors for worker in workers), Counter())
    times = np.concatenate([np.frombuffer(worker.milliseconds) for worker in workers])
    return LoadReport(passed, concurrency, batch_size, np.sort(times), dict(errors.most_common()))


def example_image() -> bytes:
    """The content of a JPEG file of the size of an aligned face, with about as much detail."""
    coarse = np.random.default_rng(0).integers(0, 256, (16, 13, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((178, 218), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


class _Worker(threading.Thread):
    """Calls until it is stopped."""

    def __init__(
        self,
        client: FarClient,
        inputs: dict[str, list[bytes]],
        outputs: tuple[str, ...],
        stop: threading.Event,
    ) -> None:
        super().__init__(name="serving-load", daemon=True)
        self._client, self._inputs, self._outputs, self._end = client, inputs, outputs, stop
        self.milliseconds, self.errors = array("d"), Counter[str]()

    def run(self) -> None:
        while not self._end.is_set():
            begin = time.perf_counter()
            try:
                self._client.predict_raw(self._inputs, outputs=self._outputs)
            except ServingError as error:
                self.errors[error.code or type(error).__name__] += 1
                self._end.wait(_AFTER_FAILURE)
            else:
                self.milliseconds.append(1000 * (time.perf_counter() - begin))


def _counts(workers: list[_Worker]) -> tuple[int, int]:
    failed = sum(sum(list(worker.errors.values())) for worker in workers)
    return sum(len(worker.milliseconds) for worker in workers), failed


if __name__ == "__main__":
    main()
