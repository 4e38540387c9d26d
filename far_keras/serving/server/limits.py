"""What one request may cost, and the error that ends a call."""

from __future__ import annotations

import re
from dataclasses import dataclass

import grpc

__all__ = ["Limits", "RpcError", "one_line"]

_MAX_LENGTH = 400


@dataclass(frozen=True)
class Limits:
    """What one request, and one run of the model, may cost.

    Args:
        max_batch: Rows in one run. Only models whose rows are independent are split into runs.
        max_rows: Rows in one request to such a model.
        max_pixels: Of one encoded image, and of all images that one run decodes, unless a single
            image has as many.
        max_response_bytes: Of all outputs in one response.
    """

    max_batch: int = 32
    max_rows: int = 10_000
    max_pixels: int = 2**25
    max_response_bytes: int = 64 * 1024 * 1024


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
    """The text in one line without control characters, truncated to the length of a status."""
    flat = " ".join(re.sub(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]+", " ", text).split())
    return flat if len(flat) <= _MAX_LENGTH else flat[: _MAX_LENGTH - 1] + "…"
