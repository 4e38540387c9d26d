"""What recognition hands back: per image a status, per face a box, answers and masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from far_keras.recognition.visibility import is_child
from far_keras.results import certainty

__all__ = ["FaceResult", "PictureResult"]


@dataclass(frozen=True)
class FaceResult:
    """One face of a photograph.

    Args:
        box: (4,) left, top, right, bottom in pixels of the photograph.
        confidence: The detector's, in [0, 1].
        landmarks: (478, 2) x and y in pixels of the photograph.
        probabilities: By attribute, in [0, 1], calibrated, in the schema's order. Attributes that
            the model was never taught, and sensitive ones unless they were asked for, are left
            out, here and in the next two.
        thresholds: By attribute, the probability from which on the model decides "yes".
        decisions: By attribute: whether the probability reaches the threshold; None where that
            cannot be seen, see `not_visible`, and all None where `is_child`.
        masks: (G, h, w) float32 probabilities of the group masks over the aligned face, or None
            if the model has no masks.
        groups: The G group names, in the order of `masks`.
        group_of: By attribute, the name of its group.
        not_visible: Groups whose mask is empty, see `far_keras.recognition.visibility`.
        matrix: (2, 3) maps pixels of the photograph to pixels of the aligned 178x218 face.
        aligned: (218, 178, 3) uint8 RGB, the aligned face that the network saw.
        childlike: Probability that this is a child's face, by its proportions alone and not
            calibrated on photographs, see `far_keras.faces.child_shape`; None if children are
            decided about like adults, or the mouth is not visible.
        track: In a video, the number of the person's track; else None.
    """

    box: NDArray[np.float64]
    confidence: float
    landmarks: NDArray[np.float32]
    probabilities: dict[str, float]
    thresholds: dict[str, float]
    decisions: dict[str, bool | None]
    masks: NDArray[np.float32] | None
    groups: tuple[str, ...]
    group_of: dict[str, str]
    matrix: NDArray[np.float64]
    aligned: NDArray[np.uint8]
    not_visible: tuple[str, ...] = ()
    childlike: float | None = None
    track: int | None = None

    @property
    def is_child(self) -> bool:
        """Whether nothing is decided since the face has a child's proportions."""
        return is_child(self.childlike)

    def certainty(self, attribute: str) -> float:
        """The probability of "yes", moved so that the threshold lies at one half.

        See `far_keras.results.certainty`.

        Raises:
            KeyError: The model does not answer `attribute`.
        """
        return certainty(self.probabilities[attribute], self.thresholds[attribute])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without landmarks, images and masks but with the masks' areas."""
        data: dict[str, Any] = {
            "box": [round(float(side), 1) for side in self.box],
            "confidence": round(float(self.confidence), 4),
            **({} if self.track is None else {"track": self.track}),
            "not_visible": list(self.not_visible),
            **({} if self.childlike is None else {"childlike": round(self.childlike, 4)}),
            "attributes": {
                name: {
                    "probability": round(float(value), 4),
                    "threshold": round(float(self.thresholds[name]), 4),
                    "decision": self.decisions[name],
                }
                for name, value in self.probabilities.items()
            },
            "matrix": [[round(float(cell), 6) for cell in row] for row in self.matrix],
        }
        if self.masks is not None:
            shares = (self.masks >= 0.5).mean(axis=(1, 2))
            data["mask_areas"] = {
                name: round(float(share), 4)
                for name, share in zip(self.groups, shares, strict=True)
            }
        return data


@dataclass(frozen=True)
class PictureResult:
    """One photograph.

    Args:
        file: Its path, or ``"picture 3"`` for what had the index 3 and no path.
        status: ``"ok"``, ``"no face"``, ``"unreadable: "`` and why, or ``"failed: "`` and why.
        faces: From the largest to the smallest; empty unless the status is ``"ok"``.
        size: (width, height) that boxes and landmarks refer to: the image's own size, or that
            to which a very large one was reduced when it was read. None if it could not be read.
        frame: In a video, the frame's number from 0; else None.
        seconds: In a video, the frame's time; else None.
    """

    file: str
    status: str
    faces: list[FaceResult] = field(default_factory=list)
    size: tuple[int, int] | None = None
    frame: int | None = None
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the image was read and holds a face."""
        return self.status == "ok"

    @property
    def printable_file(self) -> str:
        """`file`, with a sign in place of what is no text: names of files may hold any bytes."""
        return self.file.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data: dict[str, Any] = {
            "file": self.file,
            "status": self.status,
            "size": None if self.size is None else list(self.size),
            "faces": [face.to_dict() for face in self.faces],
        }
        if self.frame is not None:
            data |= {"frame": self.frame, "seconds": self.seconds}
        return data
