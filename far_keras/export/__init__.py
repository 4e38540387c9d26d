"""A model as files for others to run: SavedModel for TF Serving, .tflite for phones.

Importing this package is cheap: each public name loads its module, and with it TensorFlow where
that is needed, when it is first used.
"""

from __future__ import annotations

from typing import Any

_PUBLIC = {
    "ExportedModel": "far_keras.export.exported_model",
    "ModelDescription": "far_keras.export.description",
    "describe": "far_keras.export.description",
    "export_saved_model": "far_keras.export.saved_model",
    "load_saved_model": "far_keras.export.exported_model",
}

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'far_keras.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
