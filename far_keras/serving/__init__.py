"""A gRPC client that needs no TensorFlow, and a local server with TensorFlow Serving's API."""

from __future__ import annotations

from typing import Any

_PUBLIC = {
    "AsyncFarClient": "far_keras.serving.async_client",
    "FarClient": "far_keras.serving.client",
    "ModelSignature": "far_keras.serving.protocol",
    "ServedResult": "far_keras.serving.remote_model",
    "TensorSpec": "far_keras.serving.protocol",
    "Tls": "far_keras.serving.channel",
    "VersionStatus": "far_keras.serving.protocol",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'far_keras.serving' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
