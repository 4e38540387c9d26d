"""Measures how much a server answers, and how soon, when some clients ask without pause."""

from __future__ import annotations

import io
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from far_keras.errors import RequestError, ServingError
from far_keras.serving.client import FarClient

__all__ = ["MAX_CONCURRENCY", "MAX_SECONDS", "LoadReport", "example_picture", "run_load"]

MAX_CONCURRENCY, MAX_SECONDS = 256, 3600

_TICK = 0.1
_AFTER_FAILURE = 0.05  # a server that refuses at once must not be asked in a tight loop


@dataclass(frozen=True)
class LoadReport:
    """What came of it.

    Args:
        seconds: How long requests were made.
        concurrency: How many were on their way at a time.
        batch_size: Images in each.
        milliseconds: (n,) float64, sorted: from the sending of a request to its decoded answer,
            for each of those that were answered.
        errors: How many failed, by gRPC status code.
    """

    seconds: float
    concurrency: int
    batch_size: int
    milliseconds: np.ndarray
    errors: dict[str, int]

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return len(self.milliseconds)

    @property
    def requests_per_second(self) -> float:
        """Answered requests a second, all clients together."""
        return self.answered / self.seconds

    def percentile(self, percent: float) -> float:
        """Milliseconds within which so many of the answers came; NaN if there are none."""
        return float(np.percentile(self.milliseconds, percent)) if self.answered else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data: dict[str, Any] = {
            "seconds": round(self.seconds, 2),
            "concurrency": self.concurrency,
            "batch_size": self.batch_size,
            "answered": self.answered,
            "errors": self.errors,
            "requests_per_second": round(self.requests_per_second, 1),
            "pictures_per_second": round(self.requests_per_second * self.batch_size, 1),
        }
        if self.answered:
            for name, percent in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
                data[f"{name}_ms"] = round(self.percentile(percent), 2)
        return data


def run_load(
    client: FarClient,
    picture: bytes,
    *,
    concurrency: int = 8,
    seconds: float = 10.0,
    batch_size: int = 1,
    masks: bool = True,
    progress: Callable[[float, int, int], None] = lambda seconds, answered, failed: None,
) -> LoadReport:
    """Asks a model about one image again and again: each thread as soon as it has its answer.

    One request is made and waited for before, so that neither connecting nor a server's first
    answer is measured. Ctrl-C ends it early; what was measured until then is reported.

    Args:
        client: Of the server; without retries, or failures are not seen.
        image: Content of a JPEG or PNG file.
        concurrency: Threads, 1 to 256.
        seconds: How long, up to 3,600.
        batch_size: Images in a request.
        masks: Whether masks are asked for.
        progress: Called ten times a second with the seconds that have passed, and how many
            requests were answered and have failed.

    Raises:
        RequestError: An argument is out of its range.
        ServingError: The first request failed.
    """
    for name, value, most in (
        ("concurrency", concurrency, MAX_CONCURRENCY),
        ("seconds", seconds, MAX_SECONDS),
        ("batch_size", batch_size, 1024),
    ):
        if not 0 < value <= most:
            raise RequestError(f"{name}: expected more than 0, up to {most}. Received: {value}")
    inputs = {"image_bytes": [picture] * batch_size}
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


def example_picture() -> bytes:
    """The content of a JPEG file of the size of an aligned face, with about as much detail."""
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (16, 13, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((178, 218), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


class _Worker(threading.Thread):
    """Asks until it is told to stop."""

    def __init__(
        self,
        client: FarClient,
        inputs: dict[str, list[bytes]],
        outputs: tuple[str, ...],
        stop: threading.Event,
    ) -> None:
        super().__init__(name="far_keras-load", daemon=True)
        self._client, self._inputs, self._outputs, self._stop_asking = client, inputs, outputs, stop
        self.milliseconds, self.errors = array("d"), Counter[str]()

    def run(self) -> None:
        while not self._stop_asking.is_set():
            begin = time.perf_counter()
            try:
                self._client.predict_raw(self._inputs, outputs=self._outputs)
            except ServingError as error:
                self.errors[error.code or type(error).__name__] += 1
                self._stop_asking.wait(_AFTER_FAILURE)
            else:
                self.milliseconds.append(1000 * (time.perf_counter() - begin))


def _counts(workers: list[_Worker]) -> tuple[int, int]:
    failed = sum(sum(list(worker.errors.values())) for worker in workers)
    return sum(len(worker.milliseconds) for worker in workers), failed
