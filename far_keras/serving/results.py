"""What the client hands back: an answer or an error per image, and what a server has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far_keras.errors import FarError, ResponseError

if TYPE_CHECKING:
    from far_keras.export.description import ModelDescription

__all__ = [
    "ServedResult",
    "Signature",
    "TensorSpec",
    "VersionStatus",
    "certainty",
    "served_results",
]


@dataclass(frozen=True)
class ServedResult:
    """The answer of a model server to one image of an aligned face, or why there is none.

    Args:
        file: The image's path, or ``"picture 3"`` for what had the index 3 and no path.
        error: Why there is no answer; None if there is one. Without an answer the fields below
            are empty.
        model: The name that the server has the model under.
        version: The version of the model that answered; 0 if the server does not say.
        probabilities: By attribute, calibrated, in [0, 1], in the model's order. Attributes that
            the model was never taught are left out, here and in the next two, and sensitive ones
            unless the client asks for them.
        thresholds: By attribute, the probability from which on the model decides "yes".
        decisions: By attribute: whether the probability reaches the threshold.
        masks: (G, h, w) float32 probabilities of the group masks over the image, or None if the
            model has no masks or none were asked for.
        groups: The G group names, in the order of `masks`; empty if the model has no masks.
        group_of: By attribute, the name of its group.
    """

    file: str
    error: FarError | None = None
    model: str = ""
    version: int = 0
    probabilities: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict, repr=False)
    decisions: dict[str, bool] = field(default_factory=dict)
    masks: NDArray[np.float32] | None = field(default=None, repr=False)
    groups: tuple[str, ...] = field(default=(), repr=False)
    group_of: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None

    def certainty(self, attribute: str) -> float:
        """The probability of "yes", moved so that the threshold lies at one half.

        Raises:
            KeyError: The model does not answer `attribute`, or there is no answer.
        """
        return certainty(self.probabilities[attribute], self.thresholds[attribute])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the masks but with their areas."""
        if self.error is not None:
            kind = type(self.error).__name__
            return {"file": self.file, "status": f"{kind}: {self.error}"}
        data: dict[str, Any] = {
            "file": self.file,
            "status": "ok",
            "model": self.model,
            "version": self.version,
            "attributes": {
                name: {
                    "probability": round(value, 4),
                    "threshold": round(self.thresholds[name], 4),
                    "decision": self.decisions[name],
                }
                for name, value in self.probabilities.items()
            },
        }
        if self.masks is not None:
            shares = (self.masks >= 0.5).mean(axis=(1, 2))
            data["mask_areas"] = {
                name: round(float(share), 4)
                for name, share in zip(self.groups, shares, strict=True)
            }
        return data


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


def certainty(probability: float, threshold: float) -> float:
    """The probability of "yes", moved so that the threshold lies at one half.

    Thresholds of rare attributes are low: a probability of 0.1 may be a clear "yes". This is what
    to show people beside a decision. Where the threshold is the attribute's frequency it is the
    probability that would hold if "yes" and "no" were equally frequent.

    Args:
        probability: In [0, 1].
        threshold: In [0, 1].

    Example:
        >>> certainty(0.1, 0.1)
        0.5
    """
    odds = []
    for share in (probability, threshold):
        share = min(max(share, 1e-6), 1 - 1e-6)
        odds.append(share / (1 - share))
    return odds[0] / (odds[0] + odds[1])


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
