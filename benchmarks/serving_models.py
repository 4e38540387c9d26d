"""Exported networks with random weights, for benchmarks of the server.

The time of a call depends on the network's shape, not on what it has learnt.
"""

from __future__ import annotations

from pathlib import Path

from far_keras.export.saved_model import export_saved_model
from far_keras.models.storage import LoadedModel
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import CELEBA


def export_variant(variant: str, folder: Path) -> Path:
    """Writes the next version of a named network into `folder`, with random weights."""
    config = ModelConfig(variant)
    model = build_model(config)
    thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
    loaded = LoadedModel(model, CELEBA, thresholds, config, {})
    return export_saved_model(loaded, folder, VARIANTS[variant].network)
