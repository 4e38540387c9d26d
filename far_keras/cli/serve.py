"""`far-keras serve`: a local server with TensorFlow Serving's gRPC API."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from far_keras.cli.program import command
from far_keras.errors import ServerError
from far_keras.quiet import load_tensorflow

if TYPE_CHECKING:
    from far_keras.serving.server import ServerConfig

__all__ = ["add_command", "run"]

_EXIT_SECONDS = 15  # beyond those that calls are given
_MAX_GRACE = 86_400  # seconds


def add_command(commands) -> None:
    parser = command(
        commands,
        "serve",
        run,
        "serve exported models over TensorFlow Serving's gRPC API, for laptops and tests",
        when_interrupted="starts over",
    )
    parser.add_argument(
        "models",
        nargs="?",
        type=Path,
        help="folder with NAME/<version>/ for each model, or of one model's versions",
    )
    parser.add_argument(
        "--models-config", type=Path, help="a models.config file instead of the folder"
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8500, help="0: any free (default: %(default)s)")
    parser.add_argument(
        "--versions",
        default="latest",
        help="of each model: latest, latest:N, all, or numbers such as 3,5 (default: %(default)s)",
    )
    parser.add_argument(
        "--poll-seconds",
        type=float,
        default=1.0,
        help="interval of the search for new versions; 0: never (default: %(default)s)",
    )
    parser.add_argument(
        "--grace-seconds",
        type=float,
        default=30.0,
        help="for calls in progress when the server stops (default: %(default)s)",
    )
    load = parser.add_argument_group("load")
    load.add_argument(
        "--batching", action="store_true", help="requests that wait at the same time share a run"
    )
    load.add_argument(
        "--max-batch", type=int, default=32, help="rows in one run (default: %(default)s)"
    )
    load.add_argument(
        "--max-queue",
        type=int,
        default=64,
        help="requests that may wait; more are refused (default: %(default)s)",
    )
    load.add_argument(
        "--parallel-runs",
        type=int,
        help="runs at once (default: one per core; at most 2 with --batching)",
    )
    load.add_argument(
        "--threads",
        type=int,
        help="threads per run (default: one per core; with --batching the runs share the cores)",
    )
    tls = parser.add_argument_group("TLS (files in PEM format)")
    tls.add_argument("--tls-cert", type=Path, help="certificate of the server")
    tls.add_argument("--tls-key", type=Path, help="its private key")
    tls.add_argument(
        "--tls-client-ca", type=Path, help="clients need a certificate of this authority"
    )
    other = parser.add_argument_group("other")
    other.add_argument(
        "--metrics-port", type=int, help="Prometheus metrics over HTTP at 127.0.0.1; 0: any free"
    )
    other.add_argument(
        "--tensor-content",
        action="store_true",
        help="respond in tensor_content; default: in float_val, as TensorFlow Serving",
    )


def run(options: argparse.Namespace) -> None:
    tls_files = (options.tls_cert, options.tls_key)
    if None in tls_files and any([*tls_files, options.tls_client_ca]):
        raise ServerError("TLS: expected both --tls-cert and --tls-key. Received: not both")
    if not 0 <= options.grace_seconds <= _MAX_GRACE:
        raise ServerError(
            f"--grace-seconds: expected 0 to {_MAX_GRACE}, a day. "
            f"Received: {options.grace_seconds:g}"
        )
    from far_keras.serving.server import Limits, ServerConfig, TlsFiles, VersionPolicy

    config = ServerConfig(
        models=options.models,
        models_config=options.models_config,
        host=options.host,
        port=options.port,
        versions=VersionPolicy.parse(options.versions),
        poll_seconds=options.poll_seconds,
        batching=options.batching,
        max_queue=options.max_queue,
        parallel_runs=options.parallel_runs,
        threads=options.threads,
        limits=Limits(max_batch=options.max_batch),
        tensor_content=options.tensor_content,
        tls=TlsFiles(*tls_files, options.tls_client_ca) if options.tls_cert else None,
        metrics_port=options.metrics_port,
    )
    if config.models is not None:
        config.list_models()  # reports a wrong folder before TensorFlow is loaded
    print(
        "far-keras serve: a server with TensorFlow Serving's gRPC API, for laptops and tests; "
        "production is for TensorFlow Serving, with the same files",
        flush=True,
    )
    if config.is_exposed:
        print(
            f"far-keras serve: warning: {config.host} lets other machines call without "
            "encryption or authentication; use --tls-cert, --tls-key and --tls-client-ca",
            file=sys.stderr,
            flush=True,
        )
    load_tensorflow(config.threads_per_run)
    with _log_to_stderr():
        _serve(config, options.grace_seconds)


def _serve(config: ServerConfig, grace: float) -> NoReturn:
    from far_keras.serving.server.saved_model import prepare_memory
    from far_keras.serving.server.server import Server, stop_signal

    server = Server(config)
    prepare_memory()
    # The time that a thread waits for Python's lock after a run; by default 5 ms.
    sys.setswitchinterval(5e-4)
    server.start()
    with stop_signal() as wait:
        if server.metrics_address:
            _print(f"metrics at {server.metrics_address}")
        _print(f"serving {', '.join(server.models)} on {server.address}")
        wait()
    _print("finishing the calls in progress")
    # If the shutdown hangs, the process ends nevertheless and prints where it hung.
    faulthandler.dump_traceback_later(grace + _EXIT_SECONDS, exit=True)
    server.stop(grace)
    _print("stopped")
    # Not by a return: Python would wait for the runs of cancelled calls, and unload native
    # libraries while threads still use them.
    os._exit(0)


def _print(text: str) -> None:
    with suppress(BrokenPipeError):  # the reader may have left
        print(text, flush=True)


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Shows the server's log."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s"))
    logger = logging.getLogger("far_keras.serving.server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
