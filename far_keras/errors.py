"""Exceptions of the package.

Every message names the argument or file, says what was expected, what was received, and what to
do next.
"""

from __future__ import annotations

__all__ = [
    "AssetError",
    "DatasetError",
    "DeadlineError",
    "FarError",
    "ImageError",
    "MissingExtraError",
    "ModelError",
    "ModelNotFoundError",
    "OutputError",
    "OverloadedError",
    "RequestError",
    "ResponseError",
    "SchemaError",
    "ServerError",
    "ServingError",
    "SystemLibraryError",
    "UnavailableError",
    "VideoError",
]


class FarError(Exception):
    """Base class of all exceptions of the package."""


class SchemaError(FarError, ValueError):
    """An attribute schema contradicts itself, or does not fit the file that it is used with."""


class ImageError(FarError, ValueError):
    """An image cannot be read: truncated, not an image, too large, unknown format."""


class DatasetError(FarError, ValueError):
    """A data set folder, label table or record file is missing, incomplete or contradictory."""


class AssetError(FarError, OSError):
    """A downloaded model file is missing, or its SHA-256 differs from the pinned one."""


class ModelError(FarError, ValueError):
    """A saved model is incomplete, or does not fit its use."""


class OutputError(FarError, ValueError):
    """A result file cannot be written, or was started with other settings."""


class VideoError(FarError, ValueError):
    """A video cannot be read or written: not a video, damaged, unknown format."""


class ServerError(FarError, ValueError):
    """The local server cannot start, or cannot take a configuration, as it was asked to."""


class MissingExtraError(FarError, ImportError):
    """An optional dependency is not installed; the message has the ``pip install`` for it."""


class SystemLibraryError(FarError, ImportError):
    """A system library that a dependency needs is missing; the message names its package."""


class ServingError(FarError):
    """A call to a model server failed; its children say in which way.

    Args:
        message: What happened and what to do.
        code: The name of the gRPC status code, such as ``"INTERNAL"``; empty if the call did not
            get so far.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class RequestError(ServingError, ValueError):
    """What was asked for is wrong: the image, an argument, a signature, an output, the target."""


class ModelNotFoundError(ServingError, LookupError):
    """The server has no such model, or not that version of it."""


class DeadlineError(ServingError, TimeoutError):
    """No response within the deadline."""


class UnavailableError(ServingError, ConnectionError):
    """The server is not reached: not running, restarting, or the connection is refused or lost."""


class OverloadedError(ServingError):
    """The server is reached but has too much to do: its queue is full."""


class ResponseError(ServingError):
    """The response does not match the model's signature: wrong shapes, values or bytes."""
