"""How a server is reached: its address, the certificates, the channel's settings."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import grpc

from far_keras.errors import RequestError

__all__ = ["MAX_MESSAGE_BYTES", "Tls", "channel_options", "check_target", "credentials"]

MAX_MESSAGE_BYTES = 64 << 20
"""Larger requests and answers are refused. gRPC's own limit of 4 MB is 7 images of 227 px."""

_SCHEMES = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:", "xds:")


@dataclass(frozen=True)
class Tls:
    """Certificates, each the path of a PEM file.

    Args:
        ca: Certificates of the authorities that the server's certificate must be signed by; None
            for those that gRPC ships.
        certificate: The client's own certificate, for servers that ask for one (mutual TLS).
        key: The private key of `certificate`.
        server_name: The name that the server's certificate must bear, where it is not the
            target's host.

    Raises:
        RequestError: A certificate without a key or a key without a certificate.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            given = "a certificate" if self.key is None else "a key"
            raise RequestError(
                "tls: expected certificate and key together, for mutual TLS, or neither. "
                f"Received: {given} alone"
            )


def check_target(target: str) -> str:
    """The address of a server, if it is one that gRPC takes.

    Args:
        target: ``"host:8500"``, ``"[::1]:8500"``, or a gRPC address with a scheme such as
            ``"unix:/run/far.sock"`` or ``"dns:///host:8500"``.

    Raises:
        RequestError: No host, no port, an IPv6 address without brackets, or a web address.
    """
    if not isinstance(target, str):
        raise RequestError(
            'target: expected text such as "localhost:8500". '
            f"Received: an object of type {type(target).__name__}"
        )
    text = target.strip()
    if text.startswith(_SCHEMES):
        return text
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]/\s]+):(\d{1,5})", text)
    if match and 1 <= int(match[2]) <= 65535:
        return text
    if "://" in text:
        advice = "; gRPC addresses have no http:// (a TF Serving listens for gRPC on port 8500)"
    elif text.count(":") > 1 and "[" not in text:
        advice = "; put an IPv6 address into brackets: [::1]:8500"
    elif match or re.search(r":\d+$", text):
        advice = "; a port is between 1 and 65535"
    else:
        advice = "; add the port (a TF Serving listens for gRPC on port 8500)"
    raise RequestError(
        f'target: expected "host:port", such as "localhost:8500". Received: {target!r}{advice}'
    )


def credentials(tls: bool | str | Path | Tls | None) -> grpc.ChannelCredentials | None:
    """What a channel is encrypted with.

    Args:
        tls: None or False for a channel in the clear; True for TLS with the authorities that gRPC
            ships; a path for TLS with the authorities of that PEM file; or all of it as `Tls`.

    Raises:
        RequestError: A file is missing or holds no PEM text.
    """
    if tls is None or tls is False:
        return None
    if isinstance(tls, str | Path):
        tls = Tls(ca=tls)
    elif tls is True:
        tls = Tls()
    elif not isinstance(tls, Tls):
        raise RequestError(
            f"tls: expected None, True, the path of a PEM file, or a Tls. Received: {tls!r}"
        )
    return grpc.ssl_channel_credentials(
        _read_pem("ca", tls.ca),
        _read_pem("key", tls.key),
        _read_pem("certificate", tls.certificate),
    )


def channel_options(tls: bool | str | Path | Tls | None) -> list[tuple[str, int | str]]:
    """The channel's settings, as gRPC takes them."""
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        # A connection that died without a word is noticed while a call waits on it. Servers with
        # gRPC's defaults take pings more often than every 5 minutes for an attack and hang up.
        ("grpc.keepalive_time_ms", 300_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # gRPC waits up to 2 minutes before it tries a lost server again.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Channels to one address share their connection unless told otherwise: closing one client
        # must not matter to another.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if isinstance(tls, Tls) and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def _read_pem(name: str, path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RequestError(
            f"tls, {name}: {os.fspath(path)}: cannot read the file: {error.strerror or error}"
        ) from error
    if b"-----BEGIN " not in content:
        raise RequestError(
            f"tls, {name}: {os.fspath(path)}: expected PEM text (-----BEGIN ...). Received: "
            f"{len(content)} bytes of something else; DER files are converted with "
            "`openssl x509 -inform der`"
        )
    return content
