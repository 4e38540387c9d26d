"""Face attribute recognition with mask-guided multi-task networks.

Importing the package is cheap: each public name loads its module, and with it TensorFlow where
that is needed, when it is first used.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "CELEBA": "far_keras.schema",
    "AttributeSchema": "far_keras.schema",
    "FarClient": "far_keras.serving.client",
    "FarError": "far_keras.errors",
    "Group": "far_keras.schema",
    "Recognizer": "far_keras.recognition.recognizer",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'far_keras' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
