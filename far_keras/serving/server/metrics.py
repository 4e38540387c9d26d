"""The server's metrics for Prometheus, with TensorFlow Serving's names and HTTP path."""

from __future__ import annotations

import bisect
import os
import threading
from collections.abc import Callable, Container, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from far_keras.errors import ServerError

if TYPE_CHECKING:
    import grpc

    from far_keras.serving.server.scheduler import Work

__all__ = ["METRICS_PATH", "MetricsEndpoint", "ServerMetrics"]

METRICS_PATH = "/monitoring/prometheus/metrics"

_HOST = "127.0.0.1"

# Upper bounds of buckets: microseconds as TensorFlow Serving has them, and rows.
_MICROSECONDS = [10 * 1.8**power for power in range(33)]
_ROWS = [2.0**power for power in range(15)]


class _Metric:
    """A counter or, with the upper bounds of its buckets, a histogram."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], bounds: Sequence[float] = ()):
        self.name, self.text, self.labels, self.bounds = name, text, labels, bounds
        self.kind = "histogram" if bounds else "counter"
        self._values: dict[tuple[str, ...], float] = {}
        self._buckets: dict[tuple[str, ...], list[int]] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, value: float = 1.0) -> None:
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + value
            if self.bounds:
                buckets = self._buckets.setdefault(labels, [0] * (len(self.bounds) + 1))
                buckets[bisect.bisect_left(self.bounds, value)] += 1

    def lines(self) -> list[str]:
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
        serving, saved_model = ":tensorflow:serving:", ":tensorflow:cc:saved_model:"
        batching = f"{serving}batching_session:"
        time_of = "Distribution of wall time (in microseconds) "
        by_model = ("model_name",)
        self._requests = _Metric(
            f"{serving}request_count", "The total number of requests.", ("model_name", "status")
        )
        self._latency = _Metric(
            f"{serving}request_latency",
            f"{time_of}for Tensorflow Serving request.",
            ("model_name", "API", "entrypoint"),
            _MICROSECONDS,
        )
        self._runs = _Metric(
            f"{serving}runtime_latency",
            f"{time_of}for Tensorflow runtime.",
            ("model_name", "API", "runtime"),
            _MICROSECONDS,
        )
        self._loads = _Metric(
            f"{saved_model}load_attempt_count",
            "The number of times a SavedModel was requested to be loaded.",
            ("model_path", "status"),
        )
        self._load_latency = _Metric(
            f"{saved_model}load_latency",
            "Latency in microseconds for SavedModels that were successfully loaded.",
            ("model_path",),
        )
        self._warmup = _Metric(
            f"{serving}model_warmup_latency",
            "Latency (in microseconds) for model warmup.",
            ("model_path", "status"),
            _MICROSECONDS,
        )
        self._waits = _Metric(
            f"{batching}queuing_latency", f"{time_of}in queuing.", by_model, _MICROSECONDS
        )
        self._request_rows = _Metric(
            f"{batching}input_batch_size", "Rows of a request.", by_model, _ROWS
        )
        self._run_rows = _Metric(
            f"{batching}processed_batch_size", "Rows of a run.", by_model, _ROWS
        )
        self._known: Container[str] = ()
        self._waiting: Callable[[], int] = lambda: 0

    def watch(self, models: Container[str], waiting: Callable[[], int]) -> None:
        """Sets which models may appear as labels, and what returns the length of the queue."""
        self._known, self._waiting = models, waiting

    def count_request(
        self, method: str, model: str, status: grpc.StatusCode, seconds: float
    ) -> None:
        """A call has ended."""
        # A name that a caller invented must not become a label: labels are kept for good.
        name = model if model in self._known else ""
        self._requests.add(name, status.name)
        self._latency.add(name, method, "GRPC", value=seconds * 1e6)

    def count_wait(self, work: Work, seconds: float) -> None:
        """A request has left the queue after so many seconds."""
        self._waits.add(work.model, value=seconds * 1e6)
        self._request_rows.add(work.model, value=work.rows)

    def count_run(self, work: Work, rows: int, seconds: float) -> None:
        """A run of a model has ended."""
        self._runs.add(work.model, "Predict", "TF1", value=seconds * 1e6)
        self._run_rows.add(work.model, value=rows)

    def count_load(self, folder: Path, loaded: bool, seconds: float, warmup: float) -> None:
        """An attempt to load a version has ended."""
        # By the model's folder, not the version's: labels are kept for good.
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


class MetricsEndpoint:
    """Serves ``GET /monitoring/prometheus/metrics`` at 127.0.0.1.

    Args:
        metrics: To serve.
        port: 0 for any free port.

    Raises:
        ServerError: The port is in use.
    """

    def __init__(self, metrics: ServerMetrics, port: int):
        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # for callers that connect and send nothing

            def do_GET(self) -> None:
                found = self.path.split("?")[0] == METRICS_PATH
                body = metrics.to_text() if found else f"expected {METRICS_PATH}\n"
                content = body.encode()
                self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        try:
            self._http = _HttpServer((_HOST, port), Handler)
        except OSError as error:
            raise ServerError(
                f"metrics_port: expected a free port. Received: {port}: {error.strerror or error}"
            ) from None
        self._thread = threading.Thread(
            target=self._http.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the metrics."""
        return f"http://{_HOST}:{self._http.server_address[1]}{METRICS_PATH}"

    def close(self) -> None:
        """Stops serving."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores callers that hang up."""


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
