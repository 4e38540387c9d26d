"""From what an engine says of aligned faces to what is handed back of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from far_keras.export.description import ModelDescription
from far_keras.faces.alignment import AlignedFace
from far_keras.faces.child_shape import ChildShape
from far_keras.faces.detector import DetectedFace
from far_keras.images import resize_image
from far_keras.recognition.engines.engine import Answers, Engine
from far_keras.recognition.results import FaceResult
from far_keras.recognition.visibility import decide, unseen_groups

__all__ = ["FaceAnswerer", "FoundFace"]

FoundFace = tuple[DetectedFace, AlignedFace]


class FaceAnswerer:
    """Asks an engine about faces and decides what is answered.

    Args:
        engine: What answers aligned faces.
        sensitive: Whether sensitive attributes are answered.
        children: Whether faces with a child's proportions are decided like others.

    Attributes:
        attributes: Names of what is answered, in the schema's order.
        untrained: Names of what is not answered since the model's training could not teach it.
        left_out: Names of what is not answered since it is sensitive.
    """

    def __init__(self, engine: Engine, sensitive: bool, children: bool = False) -> None:
        self._engine = engine
        self._child_shape = None if children else ChildShape.load()
        description: ModelDescription = engine.description
        schema = description.schema
        # Nothing was learned about these, so that their answers would be noise.
        self.untrained = tuple(n for n in schema.attributes if n in description.untrained)
        hidden = () if sensitive else schema.sensitive or ()
        self.left_out = tuple(
            n for n in schema.attributes if n in hidden and n not in self.untrained
        )
        silent = {*self.untrained, *hidden}
        self._answered = [name not in silent for name in schema.attributes]
        self.attributes = tuple(compress(schema.attributes, self._answered))
        self._thresholds: dict[str, float] = {}
        self._groups = schema.group_names
        self._with_mouth = {group.name for group in schema.groups if "mouth" in group.regions}
        self._group_of = {name: schema.group_of(name).name for name in schema.attributes}

    def answer(self, found: Sequence[FoundFace]) -> list[FaceResult]:
        """Answers faces, in one batch."""
        size = self._engine.description.image_size
        images = [resize_image(aligned.image, size) for _, aligned in found]
        answers = self._engine(np.stack(images))
        thresholds = self._engine.description.thresholds  # a server may have changed its version
        self._thresholds = {name: thresholds[name] for name in self.attributes}
        return [self._result(face, answers, row) for row, face in enumerate(found)]

    def _result(self, found: FoundFace, answers: Answers, row: int) -> FaceResult:
        detected, aligned = found
        masks = None if answers.masks is None else answers.masks[row]  # (h, w, G)
        unseen = () if masks is None else unseen_groups(masks, self._groups)
        said = dict(
            zip(
                self.attributes,
                compress(answers.probabilities[row].tolist(), self._answered),
                strict=True,
            )
        )
        childlike = None
        # Landmarks behind a mask are guessed.
        if self._child_shape is not None and self._with_mouth.isdisjoint(unseen):
            childlike = self._child_shape(detected.landmarks)
        return FaceResult(
            box=np.asarray(detected.box, np.float64),
            confidence=float(detected.confidence),
            landmarks=np.asarray(detected.landmarks[:, :2], np.float32),
            probabilities=said,
            thresholds=self._thresholds,
            decisions=decide(
                said, self._thresholds, self._group_of, unseen, self._groups, childlike
            ),
            childlike=childlike,
            # A copy: a view would keep the whole batch in memory.
            masks=None if masks is None else np.moveaxis(masks, -1, 0).copy(),
            groups=() if masks is None else self._groups,
            group_of=self._group_of,
            not_visible=unseen,
            matrix=aligned.matrix,
            aligned=aligned.image,
        )
