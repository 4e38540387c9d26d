"""What a training came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["TrainResult"]


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Args:
        folder: The model's folder, for `far_keras.models.storage.load_model`.
        history: One row an epoch: ``epoch`` (from 1, through all stages), ``loss``, ``accuracy``,
            ``auc``, ``iou`` and the like, the same of the validation split with ``val_`` before,
            ``seconds``; of a training in two stages also ``stage``, "masks" or "attributes".
        best_epoch: The epoch whose weights were kept: that with the highest ``val_auc``, or
            ``val_iou`` for a mask network alone.
        seconds: Time spent, over all sittings.
        untrained: Attributes that the model does not answer, since their training labels held one
            class or none.
    """

    folder: Path
    history: list[dict[str, Any]]
    best_epoch: int
    seconds: float
    untrained: tuple[str, ...] = ()

    @classmethod
    def from_provenance(
        cls, folder: Path, history: list[dict[str, Any]], provenance: Mapping[str, Any]
    ) -> TrainResult:
        """The result of the training that wrote a model with this history and provenance."""
        untrained = tuple(provenance.get("untrained", ()))
        return cls(folder, history, provenance["best_epoch"], provenance["seconds"], untrained)
