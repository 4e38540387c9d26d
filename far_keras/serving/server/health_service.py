"""The health service, with watchers that cannot stop the server."""

from __future__ import annotations

import threading
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

__all__ = ["HealthService"]


class HealthService(health.HealthServicer):
    """``grpc.health.v1.Health``: a thread for each call that watches.

    Without threads of their own, as is grpcio-health-checking's default, watchers are told while a
    lock is held, and to tell one waits for the one thread that handles all events of the server.
    That thread takes the same lock when a watcher leaves: one that came at that moment froze the
    server for good.

    Args:
        max_watchers: Calls that may watch at the same time; more are refused.
    """

    def __init__(self, max_watchers: int):
        super().__init__(experimental_non_blocking=False)
        self._max_watchers = max_watchers
        self._free = threading.BoundedSemaphore(max_watchers)

    def Watch(  # noqa: N802
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: Any = None,
    ) -> Any:
        """Watch: the status now, and each time it changes."""
        if not self._free.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._max_watchers} calls watch already; use Check",
            )
        if not context.add_callback(self._free.release):  # the caller has left already
            self._free.release()
            return iter(())
        return super().Watch(request, context)
