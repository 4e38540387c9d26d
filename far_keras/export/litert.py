"""Runs .tflite files of this package with LiteRT; needs no TensorFlow."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from far_keras.errors import ModelError
from far_keras.export.description import ModelDescription
from far_keras.export.tflite_file import read_metadata
from far_keras.images import resize_image
from far_keras.quiet import quiet
from far_keras.schema import AttributeSchema

__all__ = ["TFLiteModel", "load_tflite"]


class TFLiteModel:
    """A loaded .tflite file: call it with images. Threads may share it; they take turns.

    Args:
        path: The file.
        description: The model's description.
        facts: About the file: ``precision``, ``input`` and so on.
        interpreter: An `ai_edge_litert` interpreter of it, with its memory allocated.
    """

    def __init__(
        self,
        path: Path,
        description: ModelDescription,
        facts: dict[str, Any],
        interpreter: Any,
    ) -> None:
        self.path = path
        self.description = description
        self.facts = facts
        self._interpreter = interpreter
        self._lock = threading.Lock()
        self._input = interpreter.get_input_details()[0]
        signature = interpreter.get_signature_runner("serving_default")
        outputs = signature.get_output_details()
        self._outputs = {name: output["index"] for name, output in outputs.items()}

    @classmethod
    def of_flatbuffer(
        cls,
        path: Path,
        description: ModelDescription,
        facts: dict[str, Any],
        flatbuffer: bytes,
        *,
        threads: int = 1,
    ) -> TFLiteModel:
        """Builds the interpreter.

        Args:
            path: The network's origin, for messages.
            description: The model's description.
            facts: About the file.
            flatbuffer: The network with its weights.
            threads: Number of threads that the runtime may use for one image.

        Raises:
            ModelError: LiteRT cannot be imported, or refuses the network.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelError(
                f"{path}: .tflite files are run by LiteRT, which cannot be imported: {error}. "
                "pip install ai-edge-litert"
            ) from error
        try:
            with quiet():
                interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{path}: the runtime refuses the file: {error}. A newer ai-edge-litert may know it"
            ) from error
        return cls(path, description, facts, interpreter)

    @property
    def precision(self) -> str:
        """``"float32"``, ``"float16"``, ``"dynamic"`` or ``"int8"``."""
        return self.facts["precision"]

    def __call__(self, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Predicts for images, one after another.

        Args:
            images: uint8 (N, H, W, 3), or float32 in [0, 255]: aligned faces. They are resized
                where H or W is not ``description.image_size``, and rounded for an int8 file.

        Returns:
            ``attributes`` (N, A) calibrated probabilities, and ``masks`` (N, h, w, G)
            probabilities if the model has masks; float32.

        Raises:
            ValueError: Another dtype or shape.
        """
        images = np.asarray(images)
        if (
            images.dtype not in (np.uint8, np.float32)
            or images.ndim != 4
            or images.shape[3] != 3
            or not images.size
        ):
            raise ValueError(
                "images: expected uint8 or float32 of shape (N, H, W, 3), not empty. "
                f"Received: {images.dtype} of shape {images.shape}"
            )
        results: dict[str, list[NDArray[Any]]] = {name: [] for name in self._outputs}
        with self._lock:
            for image in images:
                self._interpreter.set_tensor(self._input["index"], self._prepare(image)[None])
                self._interpreter.invoke()
                for name, index in self._outputs.items():
                    results[name].append(self._interpreter.get_tensor(index)[0])
        return {name: np.stack(values) for name, values in results.items()}

    def _prepare(self, image: NDArray[Any]) -> NDArray[Any]:
        size = self.description.image_size
        if image.shape[:2] != (size, size):
            if image.dtype != np.uint8:
                image = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
            image = resize_image(image, size)
        dtype = self._input["dtype"]
        if dtype == np.uint8 and image.dtype != np.uint8:
            image = np.rint(np.clip(image, 0, 255))
        return image.astype(dtype, copy=False)


def load_tflite(
    path: str | Path, schema: AttributeSchema | None = None, *, threads: int = 1
) -> TFLiteModel:
    """Reads what `export_tflite` wrote.

    Args:
        path: The .tflite file.
        schema: The schema that is expected; None accepts any.
        threads: Number of threads that the runtime may use for one image.

    Raises:
        ModelError: The file is missing, no .tflite file, without this package's metadata, truncated
            or altered, has another schema than the expected one, or the runtime refuses it.
    """
    if threads < 1:
        raise ValueError(f"threads: expected at least 1. Received: {threads}")
    path = Path(path)
    description, facts, flatbuffer = read_metadata(path)
    if schema is not None:
        schema.check_equal(description.schema, str(path), ModelError)
    if "weightless" in facts:
        raise ModelError(
            f"{path}: expected a .tflite file with weights. Received: the network of a model's "
            "folder, whose weights are in another file of the folder; give the folder"
        )
    return TFLiteModel.of_flatbuffer(path, description, facts, flatbuffer, threads=threads)
