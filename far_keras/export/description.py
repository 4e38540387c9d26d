"""The description that every exported model carries; reading it needs no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from far_keras.calibration import Calibration
from far_keras.errors import FarError, ModelError
from far_keras.geometry import ALIGNED_EYES, ALIGNED_SIZE
from far_keras.models.storage import current_provenance, require_recogniser
from far_keras.schema import AttributeSchema, Group

if TYPE_CHECKING:
    from far_keras.models.storage import LoadedModel

__all__ = ["DESCRIPTION_FILE", "FORMAT", "ModelDescription", "describe"]

DESCRIPTION_FILE = "far_keras.json"
"""Name of the description where it is a separate file."""

FORMAT = 2
"""Format 1, of 0.1.0, is read too: there ``untrained`` is called ``untaught``."""

_INPUT = {
    "frame": {
        "width": ALIGNED_SIZE[1],
        "height": ALIGNED_SIZE[0],
        "eyes": [list(eye) for eye in ALIGNED_EYES],
    },
    "channels": "RGB",
    "range": [0, 255],
    "resize": "bilinear, antialiased, to image_size x image_size whatever the shape, then rounded",
}


@dataclass(frozen=True)
class ModelDescription:
    """Everything that is needed to prepare a model's input and to read its output.

    Args:
        name: The model's name, such as the folder of its versions.
        variant: Which network it is, such as ``"mgmtn_efficientnetlite0"``.
        schema: The A attributes in the order of ``attributes`` and ``logits``, and the G groups in
            the order of the channels of ``masks``.
        image_size: Side S of the network's input, pixels.
        mask_size: Height and width of the masks; None for a model without masks.
        thresholds: By attribute, the probability (calibrated) from which on it is a yes.
        untrained: Attributes whose training labels held one class or none: their probabilities
            are noise and not for use.
        calibration: How logits become probabilities.
        provenance: How and from what the model was made; empty if unknown.
        licence: The model's licence; empty if unknown.
        input: The images that it takes: ``frame`` (width, height, and x, y of the eyes' centres in
            it, the eye on the image's left first), ``channels``, ``range`` and ``resize``.
    """

    name: str
    variant: str
    schema: AttributeSchema
    image_size: int
    mask_size: tuple[int, int] | None
    thresholds: Mapping[str, float]
    untrained: tuple[str, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    input: Mapping[str, Any] = field(default_factory=lambda: dict(_INPUT))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the A attributes, in the order of the outputs."""
        return self.schema.attributes

    @property
    def groups(self) -> tuple[Group, ...]:
        """The G groups, in the order of the masks' channels."""
        return self.schema.groups

    @property
    def has_masks(self) -> bool:
        """Whether the model predicts masks."""
        return self.mask_size is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` reads it back."""
        schema = self.schema.to_dict()
        return {
            "format": FORMAT,
            "name": self.name,
            "variant": self.variant,
            "schema": schema["name"],
            "attributes": schema["attributes"],
            "groups": schema["groups"],
            "sensitive": schema["sensitive"],
            "image_size": self.image_size,
            "mask_size": None if self.mask_size is None else list(self.mask_size),
            "input": dict(self.input),
            "thresholds": dict(self.thresholds),
            "untrained": list(self.untrained),
            "calibration": self.calibration.to_dict(),
            "provenance": dict(self.provenance),
            "licence": self.licence,
        }

    def to_json(self) -> str:
        """`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Any, source: str = "model description") -> ModelDescription:
        """Builds a description from plain data.

        Args:
            data: What `to_dict` gave.
            source: What to call the data in error messages.

        Raises:
            ModelError: The data are of another format, incomplete or contradictory.
        """
        if not isinstance(data, Mapping) or data.get("format") not in (1, FORMAT):
            received = f"format {data.get('format')!r}" if isinstance(data, Mapping) else repr(data)
            raise ModelError(
                f"{source}: expected a model description of format {FORMAT}. "
                f"Received: {received[:80]}; export the model again with this far_keras"
            )
        try:
            schema = AttributeSchema.from_dict(
                {
                    "name": data["schema"],
                    "attributes": data["attributes"],
                    "groups": data["groups"],
                    "sensitive": data.get("sensitive"),  # early descriptions have none
                },
                source,
            )
            mask_size = data["mask_size"]
            return cls(
                name=data["name"],
                variant=data["variant"],
                schema=schema,
                image_size=int(data["image_size"]),
                mask_size=None if mask_size is None else (int(mask_size[0]), int(mask_size[1])),
                thresholds={name: float(data["thresholds"][name]) for name in schema.attributes},
                untrained=tuple(data["untaught" if data["format"] == 1 else "untrained"]),
                calibration=Calibration.from_dict(data["calibration"], f"{source}: calibration"),
                provenance=current_provenance(dict(data["provenance"])),
                licence=data["licence"],
                input=dict(data["input"]),
            )
        except ModelError:
            raise
        except (FarError, KeyError, IndexError, TypeError, ValueError) as error:
            raise ModelError(
                f"{source}: the model description is incomplete: {error!r}; export the model again"
            ) from error

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "model description") -> ModelDescription:
        """Builds a description from JSON text; see `from_dict`."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ModelError(
                f"{source}: not valid JSON: {error}; export the model again"
            ) from error
        return cls.from_dict(data, source)


def describe(loaded: LoadedModel, name: str, licence: str = "") -> ModelDescription:
    """The description of a stored model.

    Args:
        loaded: What `far_keras.models.storage.load_model` returned.
        name: The exported model's name.
        licence: The model's licence; if empty, that of its provenance.

    Raises:
        ModelError: The model needs masks from records, or predicts masks only.
    """
    require_recogniser(loaded.model, "export")
    masks = loaded.model.output.get("masks")
    return ModelDescription(
        name=name,
        variant=loaded.config.variant,
        schema=loaded.schema,
        image_size=loaded.image_size,
        mask_size=None if masks is None else (masks.shape[1], masks.shape[2]),
        thresholds=dict(loaded.thresholds),
        untrained=loaded.untrained,
        calibration=loaded.calibration,
        provenance=loaded.provenance,
        licence=licence or str(loaded.provenance.get("licence", "")),
    )
