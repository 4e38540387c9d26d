"""What the server counts, under the names that TensorFlow Serving gives to Prometheus."""

from __future__ import annotations

import bisect
import os
import threading
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import grpc

from far_keras.serving.server.work import Work

__all__ = ["ServerMetrics"]

# Upper bounds of buckets: microseconds as TensorFlow Serving has them, and rows.
_MICROSECONDS = [10 * 1.8**power for power in range(33)]
_ROWS = [2.0**power for power in range(15)]


class _Metric:
    """Numbers by labels.

    Args:
        name: As Prometheus sees it.
        text: What is counted.
        labels: Names of the labels.
        bounds: Upper bounds of the buckets of a histogram; without, it is a counter.
    """

    def __init__(self, name: str, text: str, labels: tuple[str, ...], bounds: Sequence[float] = ()):
        self.name, self.text, self.labels, self.bounds = name, text, labels, bounds
        self.kind = "histogram" if bounds else "counter"
        self._values: dict[tuple[str, ...], float] = {}
        self._buckets: dict[tuple[str, ...], list[int]] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, value: float = 1.0) -> None:
        """Adds to a counter, or a value to a histogram."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + value
            if self.bounds:
                buckets = self._buckets.setdefault(labels, [0] * (len(self.bounds) + 1))
                buckets[bisect.bisect_left(self.bounds, value)] += 1

    def lines(self) -> list[str]:
        """In Prometheus' text format."""
        lines = [f"# HELP {self.name} {self.text}", f"# TYPE {self.name} {self.kind}"]
        with self._lock:
            for labels, value in sorted(self._values.items()):
                pairs = [f'{k}="{_escape(v)}"' for k, v in zip(self.labels, labels, strict=True)]
                if not self.bounds:
                    lines.append(f"{self.name}{_braces(pairs)} {value:.17g}")
                    continue
                total = 0
                for bound, count in zip([*self.bounds, None], self._buckets[labels], strict=True):
                    total += count
                    le = "+Inf" if bound is None else f"{bound:.10g}"
                    bucket = _braces([*pairs, f'le="{le}"'])
                    lines.append(f"{self.name}_bucket{bucket} {total}")
                lines.append(f"{self.name}_sum{_braces(pairs)} {value:.17g}")
                lines.append(f"{self.name}_count{_braces(pairs)} {total}")
        return lines


class ServerMetrics:
    """All metrics of a server."""

    def __init__(self) -> None:
        serving = ":tensorflow:serving:"
        self._requests = _Metric(
            f"{serving}request_count", "The total number of requests.", ("model_name", "status")
        )
        self._latency = _Metric(
            f"{serving}request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            ("model_name", "API", "entrypoint"),
            _MICROSECONDS,
        )
        self._runs = _Metric(
            f"{serving}runtime_latency",
            "Distribution of wall time (in microseconds) for Tensorflow runtime.",
            ("model_name", "API", "runtime"),
            _MICROSECONDS,
        )
        self._loads = _Metric(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "The number of times a SavedModel was requested to be loaded.",
            ("model_path", "status"),
        )
        self._load_latency = _Metric(
            ":tensorflow:cc:saved_model:load_latency",
            "Latency in microseconds for SavedModels that were successfully loaded.",
            ("model_path",),
        )
        self._warmup = _Metric(
            f"{serving}model_warmup_latency",
            "Latency (in microseconds) for model warmup.",
            ("model_path", "status"),
            _MICROSECONDS,
        )
        batching = f"{serving}batching_session:"
        self._waited = _Metric(
            f"{batching}queuing_latency",
            "Distribution of wall time spent (in microseconds) in queuing.",
            ("model_name",),
            _MICROSECONDS,
        )
        self._asked = _Metric(
            f"{batching}input_batch_size", "Rows of a request.", ("model_name",), _ROWS
        )
        self._rows = _Metric(
            f"{batching}processed_batch_size", "Rows of a run.", ("model_name",), _ROWS
        )
        self._known: Container[str] = ()
        self._waiting: Callable[[], int] = lambda: 0

    def watch(self, models: Container[str], waiting: Callable[[], int]) -> None:
        """Says which models may appear as labels, and how many requests wait."""
        self._known, self._waiting = models, waiting

    def count_request(
        self, method: str, model: str, status: grpc.StatusCode, seconds: float
    ) -> None:
        """A call has ended."""
        # A caller's invention must not become a label: they are kept for good.
        name = model if model in self._known else ""
        self._requests.add(name, status.name)
        self._latency.add(name, method, "GRPC", value=seconds * 1e6)

    def count_turn(self, work: Work, seconds: float) -> None:
        """A request's turn has come after so many seconds in the queue."""
        self._waited.add(work.model, value=seconds * 1e6)
        self._asked.add(work.model, value=work.rows)

    def count_run(self, work: Work, rows: int, seconds: float) -> None:
        """A run of a model has ended."""
        self._runs.add(work.model, "Predict", "TF1", value=seconds * 1e6)
        self._rows.add(work.model, value=rows)

    def count_load(
        self, model: str, folder: Path, loaded: bool, seconds: float, warmup: float
    ) -> None:
        """A version was loaded, or was not."""
        # By the model's folder, not the version's: a label for each version would be kept for good.
        path, status = str(folder.parent), "success" if loaded else "fail"
        self._loads.add(path, status)
        if loaded:
            self._load_latency.add(path, value=seconds * 1e6)
            self._warmup.add(path, status, value=warmup * 1e6)

    def to_text(self) -> str:
        """In Prometheus' text format."""
        lines = [
            line
            for metric in vars(self).values()
            if isinstance(metric, _Metric)
            for line in metric.lines()
        ]
        for name, text, value in (
            (":far_keras:serving:waiting_requests", "Requests in the queue.", self._waiting()),
            ("process_resident_memory_bytes", "Resident memory size in bytes.", _memory()),
        ):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _memory() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _braces(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
