"""What decides the model that comes with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from far_keras.errors import DatasetError

__all__ = ["Recipe"]

LEAST_PICTURES = 200


@dataclass(frozen=True)
class Recipe:
    """Data and training of the model that comes with the package.

    Why the defaults are these: docs/transfer.md.

    Args:
        images: How many faces are rendered, at least 200.
        seed: Of the faces and of the training.
        training: Fields of `far_keras.training.config.TrainConfig` that differ from its defaults,
            for MGMTN and baseline alike.
        model: Arguments of MGMTN that differ from its variant's.

    Raises:
        DatasetError: `pictures` is too small for a split with both classes.
    """

    pictures: int = 20_000
    seed: int = 0
    training: Mapping[str, Any] = field(
        default_factory=lambda: {"masks": "true", "epochs": 10},
    )
    model: Mapping[str, Any] = field(default_factory=lambda: {"levels": ["P3", "P4", "P5"]})

    def __post_init__(self) -> None:
        if self.pictures < LEAST_PICTURES:
            raise DatasetError(
                f"images: expected at least {LEAST_PICTURES}. Received: {self.pictures}"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {**vars(self), "training": dict(self.training), "model": dict(self.model)}
