"""Runs `far-keras serve` in a separate process, for benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import TracebackType


class LocalServer:
    """Starts a server on a free port, and ends it with the block.

    Args:
        arguments: Of ``far-keras serve``.
    """

    def __init__(self, *arguments: object):
        words = [*map(str, arguments)]
        if "--port" not in words:
            words += ["--port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "far_keras.cli", "serve", *words],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("serving "):
                self.address = line.split(" on ")[-1].strip()
                return
        raise SystemExit(f"the server did not start: status {self.process.wait()}")

    def memory(self) -> float:
        """Resident memory in MB."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
