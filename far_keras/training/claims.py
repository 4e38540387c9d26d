"""Whose folders those of a training are: refuses to mix one training with another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields
from pathlib import Path
from typing import Any

from far_keras.datasets.manifest import MANIFEST_FILE
from far_keras.errors import FarError, ModelError
from far_keras.files import atomic_path
from far_keras.models.storage import load_model
from far_keras.schema import CELEBA, AttributeSchema
from far_keras.training.config import TrainConfig
from far_keras.training.result import TrainResult

__all__ = ["check_unfinished", "claim", "finished_training"]

_CLAIM = "config.json"


def claim(partial: Path, config: TrainConfig, schema: AttributeSchema) -> None:
    """Makes the folder of an unfinished training, unless it is there."""
    path = partial / _CLAIM
    if path.exists():
        return
    data = {
        "config": config.to_dict(),
        "schema": schema.to_dict(),
        "manifest_sha256": _manifest_sha256(config),
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def check_unfinished(partial: Path, config: TrainConfig) -> None:
    """Refuses the folder of an unfinished training of something else.

    Raises:
        ModelError: Its settings, records or attributes are others, or its description is damaged.
    """
    path = partial / _CLAIM
    if not path.exists():
        return
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        stored, digest = dict(data["config"]), data["manifest_sha256"]
        own_schema = AttributeSchema.from_dict(data["schema"], str(path))
    except (OSError, ValueError, KeyError, TypeError, FarError) as error:
        raise ModelError(
            f"{path}: expected the description of an unfinished training. Received: {error!r:.200}"
            f"; delete {partial} to start anew"
        ) from error
    _compare(stored, config, partial, "an unfinished")
    _compare_data(config, own_schema, digest, partial, "an unfinished")


def finished_training(output: Path, config: TrainConfig) -> TrainResult:
    """The result of the training that `output` holds.

    Raises:
        ModelError: It is not of `config`, or `output` is something else than a model's folder.
    """
    if not (output / _CLAIM).is_file():
        raise ModelError(
            f"{output}: expected a new or empty folder for the model, or one with this training's "
            f"model. Received: {'a folder with other files' if output.is_dir() else 'a file'}; "
            "choose another output"
        )
    loaded = load_model(output)
    provenance = loaded.provenance
    if "config" not in provenance:
        raise ModelError(f"{output}: holds a model already; choose another output")
    _compare(provenance["config"], config, output, "a finished")
    digest = provenance.get("manifest_sha256")
    _compare_data(config, loaded.schema, digest, output, "a finished")
    history = json.loads((output / "history.json").read_text(encoding="utf-8"))
    return TrainResult.from_provenance(output, history, provenance)


def _compare(stored: dict[str, Any], config: TrainConfig, folder: Path, kind: str) -> None:
    # A training of an earlier version lacks the settings that it did not have.
    defaults = {
        item.name: item.default for item in fields(config) if item.default is not NO_DEFAULT
    }
    stored, wanted = {**defaults, **stored}, config.to_dict()
    changed = sorted(key for key in stored | wanted if stored.get(key) != wanted.get(key))
    changed = [key for key in changed if key != "output"]  # folders may be moved
    if changed:
        raise ModelError(
            f"{folder}: holds {kind} training with other settings: "
            + ", ".join(f"{key} {stored.get(key)!r}, not {wanted.get(key)!r}" for key in changed)
            + ". Delete the folder, or choose another output"
        )


def _compare_data(
    config: TrainConfig, schema: AttributeSchema, digest: str | None, folder: Path, kind: str
) -> None:
    """Refuses what is no longer as it was at the paths that `config` names; gone is no change."""
    present, changed = _manifest_sha256(config), ""
    if None not in (present, digest) and present != digest:
        changed = f"records than those that are now in {config.records}"
    elif not config.schema or Path(config.schema).is_file():
        wanted = AttributeSchema.from_file(config.schema) if config.schema else CELEBA
        if difference := wanted.difference(schema):
            changed = f"attributes than {config.schema or wanted.name} has now: {difference}"
    if changed:
        raise ModelError(
            f"{folder}: holds {kind} training with other {changed}. Delete the folder, or "
            "choose another output"
        )


def _manifest_sha256(config: TrainConfig) -> str | None:
    manifest = Path(config.records) / MANIFEST_FILE
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None
