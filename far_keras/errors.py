"""The exceptions that far_keras raises on purpose.

Every message names the argument or file, says what was expected, what was received, and what to
do next.
"""

from __future__ import annotations

__all__ = [
    "AssetError",
    "DatasetError",
    "FarError",
    "ImageError",
    "ModelError",
    "SchemaError",
    "SystemLibraryError",
]


class FarError(Exception):
    """Base class: catch it to catch everything that far_keras raises on purpose."""


class SchemaError(FarError, ValueError):
    """An attribute schema contradicts itself, or does not fit the file that it is used with."""


class ImageError(FarError, ValueError):
    """A picture cannot be read: truncated, not a picture, too large, of an unknown kind."""


class DatasetError(FarError, ValueError):
    """A data set folder, label table or record file is missing, incomplete or contradictory."""


class AssetError(FarError, OSError):
    """A file that is too large to ship is not to be found, or its sha256 is not the pinned one."""


class ModelError(FarError, ValueError):
    """A saved model is incomplete, or was made for something else than what is asked of it."""


class SystemLibraryError(FarError, ImportError):
    """A system library that a dependency needs is missing; the message names its package."""
