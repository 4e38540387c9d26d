"""The metrics over HTTP, where Prometheus looks for those of TensorFlow Serving."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from far_keras.errors import ServerError
from far_keras.serving.server.metrics import ServerMetrics

__all__ = ["METRICS_PATH", "MetricsEndpoint"]

METRICS_PATH = "/monitoring/prometheus/metrics"

_HOST = "127.0.0.1"


class MetricsEndpoint:
    """Answers ``GET /monitoring/prometheus/metrics`` at 127.0.0.1.

    Args:
        metrics: What to show.
        port: 0 for any free one.

    Raises:
        ServerError: The port is in use.
    """

    def __init__(self, metrics: ServerMetrics, port: int):
        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # for callers that connect and say nothing

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
        """Where the metrics are."""
        return f"http://{_HOST}:{self._http.server_address[1]}{METRICS_PATH}"

    def close(self) -> None:
        """Takes no more calls."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is no news."""
