"""How a server is set up."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from far_keras.errors import ServerError
from far_keras.serving.server.limits import Limits
from far_keras.serving.server.model_settings import (
    ModelSettings,
    find_models,
    read_models_config,
)
from far_keras.serving.server.tls import TlsFiles
from far_keras.serving.server.version_policy import VersionPolicy

__all__ = ["ServerConfig"]


@dataclass(frozen=True)
class ServerConfig:
    """How a server is set up.

    Args:
        models: Folder with ``NAME/<number>/saved_model.pb`` for each model, or the folder of one
            model's versions. Models that appear in it later are served as well.
        models_config: A ``models.config`` file instead of the folder; see `read_models_config`.
        host: Address to listen on.
        port: 0 for any free one.
        versions: Which versions of the models in `models`.
        poll_seconds: Between looks for new versions; 0 to look at the start only.
        batching: Whether requests that wait for the same signature share a run. All models must
            answer each row by itself.
        max_queue: Requests that may wait for their turn; more are refused.
        max_queue_bytes: Of all requests at hand.
        parallel_runs: Runs of models at once; None for one a core, with batching at most 2:
            one is computed while the answers of the other are written.
        threads: Of each run; None for one a core, with batching for the cores shared out among the
            parallel runs. The first server of a process decides for all in it.
        limits: What one request may cost.
        max_message_bytes: Of a request or answer on the wire.
        as_content: Answer in ``tensor_content`` instead of the typed field of TensorFlow Serving.
        tls: Encrypts, and with a client authority also checks who calls.
        metrics_port: Prometheus metrics over HTTP at 127.0.0.1; 0 for any free port, None for none.

    Raises:
        ServerError: An argument is out of range, or there is not one source of models.
    """

    models: Path | None = None
    models_config: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8500
    versions: VersionPolicy = field(default_factory=VersionPolicy)
    poll_seconds: float = 1.0
    batching: bool = False
    max_queue: int = 64
    max_queue_bytes: int = 512 * 1024 * 1024
    parallel_runs: int | None = None
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)
    max_message_bytes: int = 64 * 1024 * 1024
    as_content: bool = False
    tls: TlsFiles | None = None
    metrics_port: int | None = None

    def __post_init__(self) -> None:
        if (self.models is None) == (self.models_config is None):
            raise ServerError(
                "models: expected either a folder of models or a models.config file. "
                f"Received: models={self.models}, models_config={self.models_config}"
            )
        for name, low, high in (
            ("port", 0, 65535),
            ("metrics_port", 0, 65535),
            ("poll_seconds", 0, 86400),
            ("max_queue", 0, 100_000),
            ("parallel_runs", 1, 1024),
            ("threads", 1, 1024),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ServerError(f"{name}: expected {low} to {high}. Received: {value}")
        if not 1 <= self.limits.max_batch <= 4096:
            raise ServerError(f"max_batch: expected 1 to 4096. Received: {self.limits.max_batch}")

    def list_models(self) -> list[ModelSettings]:
        """The models to serve.

        Raises:
            ServerError: There are none, or the file that lists them is wrong.
        """
        if self.models is not None:
            return find_models(self.models, self.versions)
        assert self.models_config is not None  # one of them is given
        return read_models_config(self.models_config)

    @property
    def places(self) -> int:
        """Runs of models at once."""
        cores = os.cpu_count() or 1
        return self.parallel_runs or (min(2, cores) if self.batching else cores)

    @property
    def threads_of_a_run(self) -> int:
        """Threads that share the operations of one run."""
        cores = os.cpu_count() or 1
        return self.threads or (max(1, cores // self.places) if self.batching else cores)

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines may reach the server, without encryption."""
        if self.tls is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return True
