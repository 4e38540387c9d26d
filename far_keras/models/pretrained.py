"""The trained models that come with the package."""

from __future__ import annotations

from pathlib import Path

import far_keras
from far_keras.errors import ModelError

__all__ = ["PRETRAINED", "pretrained_folder"]

PRETRAINED = "mgmtn_efficientnetlite0"
"""The model that answers where none is named."""


def pretrained_folder(name: str = PRETRAINED) -> Path:
    """The folder of a model that comes with the package, for `load_model`.

    Args:
        name: Which one; its ``MODEL_CARD.md`` says how it was made, and how good it is.

    Raises:
        ModelError: No model of this name comes with the package.
    """
    models = Path(far_keras.__file__).with_name("pretrained")
    if not (models / name / "config.json").is_file():
        known = sorted(path.parent.name for path in models.glob("*/config.json"))
        raise ModelError(
            f"{name!r}: expected one of the models that come with far_keras: "
            f"{', '.join(known) or 'none is installed'}"
        )
    return models / name
