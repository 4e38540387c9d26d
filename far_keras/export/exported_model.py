"""Loads an exported SavedModel and runs it in this process."""

from __future__ import annotations

# ruff: noqa: E402
from far_keras.extras import require_modules

require_modules("export", "a SavedModel", ("tensorflow",))

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from far_keras.errors import ImageError, ModelError
from far_keras.export.description import DESCRIPTION_FILE, ModelDescription
from far_keras.export.saved_model import SIGNATURES
from far_keras.files import list_versions

__all__ = ["ExportedModel", "load_saved_model"]


@dataclass(frozen=True)
class ExportedModel:
    """A loaded SavedModel: call it with images.

    Args:
        folder: The version's folder.
        version: Its number.
        description: The model's description.
        signatures: By name, functions on tensors: see `write_graph`.
        graph: The object that TensorFlow loaded; holds the signatures' state.
    """

    folder: Path
    version: int
    description: ModelDescription
    signatures: dict[str, Any]
    graph: Any

    def __call__(self, images: NDArray[Any] | Sequence[bytes]) -> dict[str, NDArray[Any]]:
        """Predicts for aligned faces.

        Args:
            images: uint8 (N, H, W, 3), or float32 in [0, 255], resized in the graph where H or W
                is not ``description.image_size``; or the contents of N JPEG or PNG files.

        Returns:
            ``attributes`` (N, A) calibrated probabilities, ``logits`` (N, A), and ``masks``
            (N, h, w, G) probabilities if the model has masks; float32.

        Raises:
            ImageError: Another dtype or shape, or a file's content that cannot be decoded.
        """
        if not isinstance(images, np.ndarray):
            return self._predict_files(images)
        kinds = {np.dtype(np.uint8): "serve_uint8", np.dtype(np.float32): "serve_float"}
        if images.dtype not in kinds or images.ndim != 4 or images.shape[3] != 3 or not images.size:
            raise ImageError(
                "images: expected uint8 or float32 of shape (N, H, W, 3), not empty. "
                f"Received: {images.dtype} of shape {images.shape}"
            )
        return self._run(kinds[images.dtype], images=images)

    def _predict_files(self, contents: Sequence[bytes]) -> dict[str, NDArray[Any]]:
        if not contents or not all(isinstance(content, bytes) for content in contents):
            raise ImageError(
                "images: expected an array, or a list with the contents of JPEG or PNG files as "
                f"bytes. Received: {type(contents).__name__} of {len(contents)}"
            )
        try:
            return self._run("serving_default", image_bytes=np.array(contents, object))
        except tf.errors.InvalidArgumentError as error:
            raise ImageError(
                "images: expected the contents of JPEG or PNG files of aligned faces. Received: "
                f"{len(contents)}, of which one gives {_reason(error.message)!r}"
            ) from error

    def _run(self, signature: str, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = self.signatures[signature](**tensors)
        return {name: value.numpy() for name, value in outputs.items()}


def load_saved_model(folder: str | Path) -> ExportedModel:
    """Reads what `export_saved_model` wrote.

    Args:
        folder: The folder of a model's versions, of which the highest is taken, or of one version.

    Raises:
        ModelError: There is no exported model, it is incomplete or truncated, or its description
            cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "nothing of that name"
        raise ModelError(f"{folder}: expected the folder of an exported model. Received: {kind}")
    if not (folder / "saved_model.pb").exists():
        versions = list_versions(folder)
        if not versions:
            raise ModelError(
                f"{folder}: expected versions of an exported model, folders named 1, 2 and so on. "
                "Received: none; export one with far-keras export"
            )
        folder = versions[max(versions)]
    path = folder / DESCRIPTION_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read: {error.strerror or error}; expected the version of a model "
            "that far-keras export wrote"
        ) from error
    description = ModelDescription.from_json(text, str(path))
    try:
        graph = tf.saved_model.load(str(folder))
        signatures = {name: graph.signatures[name] for name in SIGNATURES}
    except Exception as error:  # TensorFlow's error depends on the missing byte
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"{folder}: the exported model is incomplete or damaged: {reason}. Copy the version's "
            "whole folder again, or export the model again"
        ) from error
    number = int(folder.name) if folder.name.isdigit() else 0
    return ExportedModel(folder, number, description, signatures, graph)


def _reason(message: str) -> str:
    """The cause of an error, without TensorFlow's text about the place in the graph."""
    before, _, _ = message.partition("[[{{node")
    line = (before.strip().splitlines() or [message])[-1].strip()
    return line.removeprefix("assertion failed: ").strip("[]")
