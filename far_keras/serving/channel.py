"""How calls reach a server: address, certificates, deadlines, retries; errors of failures."""

from __future__ import annotations

import os
import random
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from far_keras.errors import (
    DeadlineError,
    ModelNotFoundError,
    OverloadedError,
    RequestError,
    ResponseError,
    ServingError,
    UnavailableError,
)
from far_keras.serving.protocol import RELOAD, Call

__all__ = [
    "MAX_MESSAGE_BYTES",
    "CallScope",
    "Deadline",
    "Retry",
    "Tls",
    "channel_options",
    "check_target",
    "credentials",
    "failure",
    "too_large",
    "too_late",
]

MAX_MESSAGE_BYTES = 64 << 20
"""Larger requests and responses are refused. gRPC's own limit of 4 MB is 7 images of 227 px."""

_SCHEMES = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:", "xds:")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

_KINDS: dict[str, tuple[type[ServingError], str]] = {
    "CANCELLED": (ServingError, "the call was cancelled, or the client closed"),
    "DEADLINE_EXCEEDED": (
        DeadlineError,
        "give a longer timeout, or see whether the server is overloaded or stuck",
    ),
    "FAILED_PRECONDITION": (
        RequestError,
        "the model lacks what was requested; `far-keras status` lists its signatures",
    ),
    "INVALID_ARGUMENT": (
        RequestError,
        "check the image (JPEG or PNG) and the version label; `far-keras status` shows what the "
        "model takes",
    ),
    "NOT_FOUND": (
        ModelNotFoundError,
        "check the model's name and version, and that it has loaded",
    ),
    "OUT_OF_RANGE": (RequestError, "check the inputs"),
    "PERMISSION_DENIED": (ServingError, "the server does not let this client do that"),
    "RESOURCE_EXHAUSTED": (
        OverloadedError,
        "send fewer requests at a time, or start more servers; it is not tried again by itself",
    ),
    "UNAUTHENTICATED": (ServingError, "give the certificates that the server requires"),
    "UNAVAILABLE": (
        UnavailableError,
        # One that turns a client away for its certificate mostly closes the connection in silence.
        "check the address, that the server runs, and whether it wants TLS or a client certificate",
    ),
    "UNIMPLEMENTED": (
        RequestError,
        "the server knows no such method: check that it is a TF Serving, and the port for gRPC "
        "(8500, not 8501)",
    ),
    "INTERNAL": (ResponseError, "look into the server's log"),
    "DATA_LOSS": (ResponseError, "look into the server's log"),
}
_OTHERS = (ServingError, "look into the server's log")
_TLS_WORDS = ("ssl", "tls", "certificate", "handshake", "peer name", "verif")
_LOCAL_DEADLINE = "Deadline Exceeded"  # gRPC's own text, not a server's
_TOO_LARGE = "larger than max"


@dataclass(frozen=True)
class Tls:
    """Certificates, each the path of a PEM file.

    Args:
        ca: Certificates of the authorities that the server's certificate must be signed by; None
            for those that gRPC ships.
        certificate: The client's own certificate, for servers that require one (mutual TLS).
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
        # Notices a dead connection while a call waits on it. Servers with gRPC's
        # defaults take pings more often than every 5 minutes for an attack and hang up.
        ("grpc.keepalive_time_ms", 300_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # gRPC waits up to 2 minutes before it tries a lost server again.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Channels to one address share their connection by default: closing one client
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


class Deadline:
    """A moment until which something must be done.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then; negative when it is past."""
        return self._end - time.monotonic()


class Retry:
    """Exponential backoff with full jitter, for calls that found no server.

    The pause before try n + 1 is drawn evenly from 0 to 0.1 x 2^n seconds, at most 2: clients that
    lost the same server do not come back at the same moment (M. Brooker, "Exponential Backoff And
    Jitter", 2015). No other failure is tried again: it would happen again, or load a server that
    has too much to do already.

    Args:
        retries: How often a call is tried again, at most.
    """

    def __init__(self, retries: int) -> None:
        if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
            raise RequestError(f"retries: expected a whole number from 0 on. Received: {retries!r}")
        self.retries = retries

    def pause(self, tried: int, error: ServingError, deadline: Deadline) -> float | None:
        """Seconds until the next try; None for no further try.

        Args:
            tried: How often the call was tried.
            error: How it failed the last time.
            deadline: When the call must have ended.
        """
        if not isinstance(error, UnavailableError) or tried > self.retries:
            return None
        longest = min(_FIRST_PAUSE * 2 ** (tried - 1), _LONGEST_PAUSE)
        pause = random.uniform(0, longest)
        return pause if pause < deadline.left() else None


class CallScope:
    """The calls of one stream, which end with it.

    Attributes:
        cancelled: Set when they must end.
    """

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._calls: set[Any] = set()

    def result(self, call: Any) -> Any:
        """Waits for a call.

        Args:
            call: A `grpc.Future` that has begun.

        Raises:
            ServingError: It was cancelled.
            grpc.RpcError: It failed.
        """
        with self._lock:
            self._calls.add(call)
        try:
            if self.cancelled.is_set():
                call.cancel()
            return call.result()
        except grpc.FutureCancelledError:
            raise ServingError("the stream was closed", "CANCELLED") from None
        finally:
            with self._lock:
                self._calls.discard(call)

    def cancel(self) -> None:
        """Ends all calls, and those that would begin later."""
        self.cancelled.set()
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()


def failure(error: Any, call: Call, seconds: float) -> ServingError:
    """The error of a call that failed.

    Args:
        error: A `grpc.RpcError`, with ``code()`` and ``details()``.
        call: What was called.
        seconds: How long it could take.
    """
    code = error.code().name if error.code() is not None else "UNKNOWN"
    details = " ".join(str(error.details() or "").split())[:400]
    if code == "DEADLINE_EXCEEDED" and details == _LOCAL_DEADLINE:
        return too_late(call, seconds)
    kind, advice = _KINDS.get(code, _OTHERS)
    if code == "RESOURCE_EXHAUSTED" and _TOO_LARGE in details:
        kind, advice = RequestError, "send fewer or smaller images at a time, or leave out masks"
    elif code == "INVALID_ARGUMENT" and call.method is RELOAD:
        advice = "check names and folders: paths are absolute, on the server's machine"
    elif code == "UNAVAILABLE" and any(word in details.lower() for word in _TLS_WORDS):
        advice = (
            "the encrypted connection failed: check that both sides use TLS, the authorities' file "
            "(ca), that the certificate bears the target's host name, and for mutual TLS the "
            "client's own certificate"
        )
    return kind(f"{call.about}: {code}: {details or 'no details'}; {advice}", code)


def too_late(call: Call, seconds: float) -> DeadlineError:
    """The error of a call for which there is no time left."""
    advice = _KINDS["DEADLINE_EXCEEDED"][1]
    return DeadlineError(
        f"{call.about}: no response within {seconds:g} s; {advice}", "DEADLINE_EXCEEDED"
    )


def too_large(error: ServingError) -> bool:
    """Whether fewer images at a time would have gone through."""
    return error.code == "RESOURCE_EXHAUSTED" and isinstance(error, RequestError)
