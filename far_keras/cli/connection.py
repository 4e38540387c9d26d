"""The arguments of the commands that call a model server."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from far_keras.serving.client import FarClient

__all__ = ["add_connection", "connect"]


def add_connection(parser: argparse.ArgumentParser, *, model_required: bool = True) -> None:
    """Declares which server, which of its models, and how it is reached."""
    parser.add_argument(
        "--target", required=True, metavar="HOST:PORT", help="the server, such as localhost:8500"
    )
    parser.add_argument("--model", required=model_required, help="the model's name on the server")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, help="of the model (default: the newest)")
    which.add_argument("--label", help="label of a version, such as stable")
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="for a call, with retries (default: %(default)g)",
    )
    tls = parser.add_argument_group("TLS (files in PEM format)")
    tls.add_argument("--tls", action="store_true", help="encrypt, with gRPC's authorities")
    tls.add_argument("--tls-ca", type=Path, help="encrypt, with the authorities of this file")
    tls.add_argument("--tls-cert", type=Path, help="the client's own certificate (mutual TLS)")
    tls.add_argument("--tls-key", type=Path, help="its private key")
    tls.add_argument("--tls-name", help="the certificate's host name, if it is not the target's")


def connect(options: argparse.Namespace, **arguments: Any) -> FarClient:
    """The client that the arguments describe.

    Args:
        options: What was parsed.
        arguments: More for `FarClient`.

    Raises:
        RequestError: An argument is not what it has to be.
    """
    # Native code of gRPC writes lines about failed connections; errors say the same.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from far_keras.serving.channel import Tls
    from far_keras.serving.client import FarClient

    tls = None
    if options.tls or any((options.tls_ca, options.tls_cert, options.tls_key, options.tls_name)):
        tls = Tls(options.tls_ca, options.tls_cert, options.tls_key, options.tls_name)
    return FarClient(
        options.target,
        # Health is asked of a server, whatever its models.
        options.model if options.model is not None else "none",
        version=options.version,
        label=options.label,
        timeout=options.timeout,
        tls=tls,
        **arguments,
    )
