"""Results of recognition per face and per image, and the rules by which attributes are decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from far_keras.console import printable
from far_keras.results import FacePrediction

__all__ = [
    "DECIDED_UNSEEN",
    "SMALLEST_SHARE",
    "FaceResult",
    "ImageResult",
    "decide",
    "is_child",
    "unseen_groups",
]

SMALLEST_SHARE = 1 / 400
"""Share of the aligned frame that a group's mask must cover: 3 cells of a mask of 32 x 32."""

DECIDED_UNSEEN = frozenset({"Bald", "Eyeglasses", "Wearing_Hat"})
"""Attributes that mean that their region is absent or covered."""


@dataclass(frozen=True, kw_only=True)
class FaceResult(FacePrediction):
    """One face of a photograph.

    `FacePrediction` describes the predicted fields. All decisions are None where `is_child`;
    decisions of a group that is `not_visible` are None except `DECIDED_UNSEEN`.

    Args:
        box: (4,) left, top, right, bottom in pixels of the photograph.
        confidence: The detector's, in [0, 1].
        landmarks: (478, 2) x and y in pixels of the photograph.
        matrix: (2, 3) maps pixels of the photograph to pixels of the aligned 178x218 face.
        aligned: (218, 178, 3) uint8 RGB, the aligned face that the network received.
        not_visible: Groups whose mask is empty, see `unseen_groups`.
        childlike: Probability that this is a child's face, by its proportions alone and not
            calibrated on photographs, see `far_keras.faces.child_shape`; None if children are
            treated like adults, or the mouth is not visible.
        track: In a video, the number of the person's track; else None.
    """

    box: NDArray[np.float64]
    confidence: float
    landmarks: NDArray[np.float32]
    matrix: NDArray[np.float64]
    aligned: NDArray[np.uint8]
    not_visible: tuple[str, ...] = ()
    childlike: float | None = None
    track: int | None = None

    @property
    def is_child(self) -> bool:
        """Whether nothing is decided because the face has a child's proportions."""
        return is_child(self.childlike)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without landmarks, images and masks but with the masks' areas."""
        return {
            "box": [round(float(side), 1) for side in self.box],
            "confidence": round(float(self.confidence), 4),
            **({} if self.track is None else {"track": self.track}),
            "not_visible": list(self.not_visible),
            **({} if self.childlike is None else {"childlike": round(self.childlike, 4)}),
            "attributes": self._attributes_to_dict(),
            "matrix": [[round(float(cell), 6) for cell in row] for row in self.matrix],
            **self._mask_areas_to_dict(),
        }


@dataclass(frozen=True)
class ImageResult:
    """One photograph.

    Args:
        file: Its path, or ``"image 3"`` for an image with index 3 and no path.
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
        """Whether the image was read and shows a face."""
        return self.status == "ok"

    @property
    def printable_file(self) -> str:
        """`file`, with replacement characters: file names may contain bytes that are no text."""
        return printable(self.file)

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


def unseen_groups(masks: NDArray[Any], groups: Sequence[str]) -> tuple[str, ...]:
    """The groups whose mask is empty: less than `SMALLEST_SHARE` of it reaches one half.

    Args:
        masks: (G, h, w) probabilities.
        groups: The G names.
    """
    seen = (masks >= 0.5).mean(axis=(1, 2)) >= SMALLEST_SHARE
    return tuple(name for name, is_seen in zip(groups, seen, strict=True) if not is_seen)


def is_child(childlike: float | None) -> bool:
    """Whether nothing is decided because of a child's proportions.

    Args:
        childlike: Probability of a child's face; None if it is unknown or not wanted.
    """
    return childlike is not None and childlike >= 0.5


def decide(
    probabilities: Mapping[str, float],
    thresholds: Mapping[str, float],
    group_of: Mapping[str, str],
    unseen: Sequence[str],
    groups: Sequence[str],
    childlike: float | None = None,
) -> dict[str, bool | None]:
    """By attribute, whether its probability reaches its threshold; None where it is not decided.

    Nothing is decided about a child. An attribute of an unseen group is not decided, unless it is
    one of `DECIDED_UNSEEN`. If all groups are unseen, as in a statue, there is no person and
    nothing is decided.

    Args:
        probabilities: By attribute.
        thresholds: By attribute.
        group_of: By attribute, its group.
        unseen: From `unseen_groups`.
        groups: Names of all groups; none for a model without masks.
        childlike: See `is_child`.
    """

    def can_decide(name: str) -> bool:
        if is_child(childlike):
            return False
        return group_of[name] not in unseen or (
            name in DECIDED_UNSEEN and len(unseen) < len(groups)
        )

    return {
        name: value >= thresholds[name] if can_decide(name) else None
        for name, value in probabilities.items()
    }
