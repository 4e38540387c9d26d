"""What gRPC says went wrong, as one of far_keras' errors."""

from __future__ import annotations

from typing import Any

from far_keras.errors import (
    DeadlineError,
    ModelNotFoundError,
    OverloadedError,
    RequestError,
    ResponseError,
    ServingError,
    UnavailableError,
)
from far_keras.serving.services import RELOAD, Call

__all__ = ["failure", "too_large", "too_late"]

_KINDS: dict[str, tuple[type[ServingError], str]] = {
    "CANCELLED": (ServingError, "the call was cancelled, or the client closed"),
    "DEADLINE_EXCEEDED": (
        DeadlineError,
        "give a longer timeout, or see whether the server is overloaded or stuck",
    ),
    "FAILED_PRECONDITION": (
        RequestError,
        "the model lacks what was asked for; `far-keras status` lists its signatures",
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
    "UNAUTHENTICATED": (ServingError, "give the certificates that the server asks for"),
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
_LOCAL_DEADLINE = "Deadline Exceeded"  # gRPC's own words, not a server's
_TOO_LARGE = "larger than max"


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
        f"{call.about}: no answer within {seconds:g} s; {advice}", "DEADLINE_EXCEEDED"
    )


def too_large(error: ServingError) -> bool:
    """Whether fewer images at a time would have gone through."""
    return error.code == "RESOURCE_EXHAUSTED" and isinstance(error, RequestError)
