"""Where a model comes from: what made it, of which version, from which data."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import far_keras
from far_keras.datasets.manifest import read_manifest
from far_keras.datasets.records import read_table_of_records
from far_keras.schema import CELEBA, AttributeSchema
from far_keras.training.config import TrainConfig

__all__ = ["training_provenance"]

_PACKAGES = ("tensorflow", "keras", "keras-cv", "numpy")


def training_provenance(config: TrainConfig) -> dict[str, Any]:
    """JSON data on the run of `config` that ends now; `load_model` hands it back."""
    manifest = Path(config.records) / "manifest.json"
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "far_keras": far_keras.__version__,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "untrained": _untrained(config),
        "seed": config.seed,
        "config": config.to_dict(),
    }


def _untrained(config: TrainConfig) -> list[str]:
    """The attributes of which the training labels show one class only, or none."""
    if config.task == "masks":
        return []
    labels = read_table_of_records(config.records, "train").labels
    names = read_manifest(config.records).attributes
    both = (labels == 1).any(axis=0) & (labels == 0).any(axis=0)
    schema = AttributeSchema.from_file(config.schema) if config.schema else CELEBA
    taught = {name for name, has_both in zip(names, both, strict=True) if has_both}
    return [name for name in schema.attributes if name not in taught]


def _git_revision() -> str | None:
    """The revision of the checkout that the package runs from; None for an installed package."""
    root = Path(far_keras.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
