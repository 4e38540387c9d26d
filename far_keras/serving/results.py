"""What the client hands back: an answer or an error per image, and what a server has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far_keras.errors import FarError, ResponseError
from far_keras.results import FacePrediction

if TYPE_CHECKING:
    from far_keras.export.description import ModelDescription

__all__ = [
    "ServedResult",
    "Signature",
    "TensorSpec",
    "VersionStatus",
    "served_results",
]


@dataclass(frozen=True)
class ServedResult(FacePrediction):
    """The prediction of a model server for one image of an aligned face, or why there is none.

    With an error, the fields of `far_keras.results.FacePrediction` are empty.

    Args:
        file: The image's path, or ``"image 3"`` for what had the index 3 and no path.
        error: Why there is no prediction; None if there is one.
        model: The name that the server has the model under.
        version: The version of the model that predicted; 0 if the server does not report it.
    """

    file: str
    error: FarError | None = None
    model: str = ""
    version: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is a prediction."""
        return self.error is None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the masks but with their areas."""
        if self.error is not None:
            kind = type(self.error).__name__
            return {"file": self.file, "status": f"{kind}: {self.error}"}
        return {
            "file": self.file,
            "status": "ok",
            "model": self.model,
            "version": self.version,
            "attributes": self._attributes_to_dict(),
            **self._mask_areas_to_dict(),
        }


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on a server.

    Args:
        version: Its number.
        state: ``"START"``, ``"LOADING"``, ``"AVAILABLE"``, ``"UNLOADING"``, ``"END"`` or
            ``"UNKNOWN"``.
        code: Number of the gRPC status code that it failed with; 0 if it did not fail.
        message: Why it failed; empty if it did not.
    """

    version: int
    state: str
    code: int = 0
    message: str = ""

    @property
    def available(self) -> bool:
        """Whether it answers."""
        return self.state == "AVAILABLE"


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a signature.

    Args:
        dtype: ``"float"``, ``"uint8"``, ``"string"`` ...
        shape: -1 for a size that may vary; None if even the number of sizes may.
    """

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Signature:
    """A way to call a model.

    Args:
        inputs: By name.
        outputs: By name.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


def served_results(
    files: Sequence[str],
    outputs: dict[str, np.ndarray],
    description: ModelDescription,
    *,
    answered: Collection[str],
    model: str,
    version: int,
    masks: bool,
) -> list[ServedResult]:
    """A result an image from the outputs for all of them.

    Args:
        files: What the n images are called.
        outputs: ``attributes`` (n, A) and, with `masks`, ``masks`` (n, h, w, G).
        description: Of the version that answered.
        answered: Names of the attributes that results shall hold.
        model: The name that the server has the model under.
        version: The version that answered.
        masks: Whether masks are wanted, if the model has them.

    Raises:
        ResponseError: The outputs are not what the description promises.
    """
    schema = description.schema
    probabilities = _output(outputs, "attributes", (len(files), schema.num_attributes))
    wanted = masks and description.mask_size is not None
    if wanted:
        assert description.mask_size is not None
        shape = (len(files), *description.mask_size, schema.num_groups)
        areas = np.asarray(_output(outputs, "masks", shape), np.float32)
    columns = [(i, name) for i, name in enumerate(schema.attributes) if name in answered]
    thresholds = {name: description.thresholds[name] for _, name in columns}
    group_of = {name: group.name for group in schema.groups for name in group.attributes}
    results = []
    for row, file in enumerate(files):
        values = probabilities[row].tolist()
        said = {name: values[index] for index, name in columns}
        results.append(
            ServedResult(
                file=file,
                model=model,
                version=version,
                probabilities=said,
                thresholds=dict(thresholds),
                decisions={name: p >= thresholds[name] for name, p in said.items()},
                # Copied where others share the memory: one kept result must not keep them all.
                masks=_by_group(areas[row], copy=len(files) > 1) if wanted else None,
                groups=schema.group_names if wanted else (),
                group_of=dict(group_of),
            )
        )
    return results


def _output(outputs: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in outputs:
        raise ResponseError(f"expected an output {name!r}. Received: {sorted(outputs)}")
    value = outputs[name]
    if value.shape != shape or value.dtype.kind != "f":
        raise ResponseError(
            f"output {name!r}: expected floating-point numbers of shape {shape}. "
            f"Received: {value.dtype} of shape {value.shape}"
        )
    # Also false for NaN.
    if not (value.min(initial=0) >= 0 and value.max(initial=0) <= 1):
        raise ResponseError(
            f"output {name!r}: expected probabilities in [0, 1]. "
            f"Received: {value.min()} to {value.max()}"
        )
    return value


def _by_group(masks: NDArray[np.float32], copy: bool) -> NDArray[np.float32]:
    """(h, w, G) to (G, h, w)."""
    return np.moveaxis(masks.copy() if copy else masks, -1, 0)
