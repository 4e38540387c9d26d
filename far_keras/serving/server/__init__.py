"""A local server with TensorFlow Serving's gRPC API, for laptops and tests.

Importing this package is cheap; TensorFlow is loaded when `Server` is first used.
"""

from __future__ import annotations

from typing import Any

from far_keras.extras import require

_PUBLIC = {
    "Limits": "far_keras.serving.server.limits",
    "Server": "far_keras.serving.server.server",
    "ServerConfig": "far_keras.serving.server.config",
    "TlsFiles": "far_keras.serving.server.config",
    "VersionPolicy": "far_keras.serving.server.config",
}

__all__ = list(_PUBLIC)

require("server", "the local server")


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'far_keras.serving.server' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
