"""What a call ends with when it has no answer: a status code and one short line."""

from __future__ import annotations

import re

import grpc

__all__ = ["RpcError", "one_line"]

_MAX_LENGTH = 400


class RpcError(Exception):
    """Ends a call with a status code, as TensorFlow Serving would.

    Args:
        code: The gRPC status.
        text: One short line for the caller: what was expected, what was received.
    """

    def __init__(self, code: grpc.StatusCode, text: str):
        super().__init__(text)
        self.code = code
        self.text = one_line(text)


def one_line(text: str) -> str:
    """The text in one line without control characters, cut where it is too long for a status."""
    flat = " ".join(re.sub(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]+", " ", text).split())
    return flat if len(flat) <= _MAX_LENGTH else flat[: _MAX_LENGTH - 1] + "…"
