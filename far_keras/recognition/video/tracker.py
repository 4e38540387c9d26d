"""Follows faces from frame to frame and calms their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from far_keras.recognition.results import FaceResult
from far_keras.recognition.visibility import decide, unseen_groups

__all__ = ["FaceTracker"]


@dataclass
class _Track:
    number: int
    face: FaceResult  # smoothed
    seen: float  # seconds


class FaceTracker:
    """Numbers persons and smooths what is said of each.

    A face continues the track whose box shares most of their union with its own (greedily, from
    `min_overlap` on); else it begins a new one. Boxes, probabilities (of a child's face too) and
    masks are exponentially smoothed: after a change, a share of 1 - exp(-t / tau) of it shows
    after t seconds. Decisions and visibility follow from the smoothed values; landmarks and
    confidence are the frame's own.

    Args:
        box_tau: Seconds, for boxes.
        answer_tau: Seconds, for probabilities and masks.
        min_overlap: Intersection over union of boxes, 0 to 1.
        patience: Seconds for which a track without a face is kept.
    """

    def __init__(
        self,
        box_tau: float = 0.08,
        answer_tau: float = 0.5,
        min_overlap: float = 0.3,
        patience: float = 0.75,
    ) -> None:
        self._taus = (box_tau, answer_tau)
        self._min_overlap = min_overlap
        self._patience = patience
        self._tracks: list[_Track] = []
        self.count = 0
        """How many tracks there have been."""

    def update(self, faces: Sequence[FaceResult], seconds: float) -> list[FaceResult]:
        """The faces of the next frame, smoothed and with their tracks' numbers, in their order.

        Args:
            faces: As the recogniser returned them.
            seconds: The frame's time, not before that of the frame before.
        """
        self._tracks = [t for t in self._tracks if seconds - t.seen <= self._patience]
        matched = self._match(faces)
        smoothed = []
        for index, face in enumerate(faces):
            track = matched.get(index)
            if track is None:
                self.count += 1
                track = _Track(self.count, replace(face, track=self.count), seconds)
                self._tracks.append(track)
            else:
                track.face = self._smooth(track, face, seconds - track.seen)
                track.seen = seconds
            smoothed.append(track.face)
        return smoothed

    def _match(self, faces: Sequence[FaceResult]) -> dict[int, _Track]:
        pairs = [
            (_overlap(face.box, track.face.box), index, position)
            for index, face in enumerate(faces)
            for position, track in enumerate(self._tracks)
        ]
        matched: dict[int, _Track] = {}
        taken: set[int] = set()
        for overlap, index, position in sorted(pairs, reverse=True):
            if overlap >= self._min_overlap and index not in matched and position not in taken:
                matched[index] = self._tracks[position]
                taken.add(position)
        return matched

    def _smooth(self, track: _Track, face: FaceResult, elapsed: float) -> FaceResult:
        old = track.face
        box_share, share = (1 - np.exp(-elapsed / tau) if tau > 0 else 1.0 for tau in self._taus)
        probabilities = {
            name: float(value + (1 - share) * (old.probabilities[name] - value))
            for name, value in face.probabilities.items()
        }
        masks, unseen = face.masks, face.not_visible
        if masks is not None and old.masks is not None:
            masks = (masks + (1 - share) * (old.masks - masks)).astype(np.float32)
            unseen = unseen_groups(np.moveaxis(masks, 0, -1), face.groups)
        childlike = face.childlike
        if childlike is None:  # the mouth is hidden now: what was judged before stands
            childlike = old.childlike
        elif old.childlike is not None:
            childlike = float(childlike + (1 - share) * (old.childlike - childlike))
        decisions = decide(
            probabilities, face.thresholds, face.group_of, unseen, face.groups, childlike
        )
        return replace(
            face,
            box=face.box + (1 - box_share) * (old.box - face.box),
            probabilities=probabilities,
            decisions=decisions,
            childlike=childlike,
            masks=masks,
            not_visible=unseen,
            track=track.number,
        )


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    inner = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(inner, 0)))
    union = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / union if union > 0 else 0.0
