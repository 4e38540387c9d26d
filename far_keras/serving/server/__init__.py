"""A local server that speaks TensorFlow Serving's gRPC API, for laptops and tests.

Importing this package is cheap; TensorFlow is loaded when a name is first used.
"""

from __future__ import annotations

from typing import Any

_PUBLIC = {
    "Limits": "far_keras.serving.server.limits",
    "Server": "far_keras.serving.server.server",
    "ServerConfig": "far_keras.serving.server.config",
    "TlsFiles": "far_keras.serving.server.tls",
    "VersionPolicy": "far_keras.serving.server.version_policy",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'far_keras.serving.server' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
