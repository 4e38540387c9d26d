"""A model as a folder: network, weights, schema, thresholds, and where it comes from."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from far_keras.calibration import Calibration
from far_keras.errors import ModelError, SchemaError
from far_keras.models.keras_files import read_weights, write_weights
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    import keras

__all__ = ["LoadedModel", "load_in_float32", "load_model", "read_model_config", "save_model"]

FORMAT = 1
CONFIG, WEIGHTS, SCHEMA = "config.json", "model.weights.h5", "schema.json"
THRESHOLDS, PROVENANCE = "thresholds.json", "provenance.json"
CALIBRATION = "calibration.json"
HOLLOW = "network.tflite"  # perhaps, see `far_keras.export.hollow`


@dataclass(frozen=True)
class LoadedModel:
    """A stored model, ready to use.

    Args:
        model: From images (B, S, S, 3) in [0, 255] to a dict of logits: ``"attributes"`` (B, A),
            and ``"masks"`` (B, h, w, G) if the network has them; of the task "masks" these alone.
            Of a network with given masks, the input is a dict, see `far_keras.models.mgmtn`.
        schema: What the logits mean.
        thresholds: By attribute: the calibrated probability in [0, 1] from which on it is a yes;
            empty for the task "masks".
        config: Which network it is.
        provenance: How and from what it was trained; empty if unknown.
        calibration: How attribute logits become probabilities.
    """

    model: keras.Model
    schema: AttributeSchema
    thresholds: dict[str, float]
    config: ModelConfig
    provenance: dict[str, Any]
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def image_size(self) -> int:
        """Height and width S of the model's input."""
        return self.model.inputs[0].shape[1]

    def probabilities(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Calibrated probabilities (B, A) of the model's attribute logits (B, A)."""
        return self.calibration.probabilities(logits, self.schema.attributes)


def save_model(
    model: keras.Model,
    folder: str | Path,
    *,
    config: ModelConfig,
    schema: AttributeSchema,
    thresholds: Mapping[str, float] | None = None,
    calibration: Calibration | None = None,
    provenance: Mapping[str, Any] | None = None,
    documents: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Writes a model as a folder that `load_model` reads. The folder appears whole or not at all.

    Args:
        model: What `build_model` made from `config` and `schema`, trained.
        folder: The folder to write; an earlier model in it is replaced.
        config: Which network it is.
        schema: The attributes and groups that it answers.
        thresholds: By attribute, calibrated probabilities in [0, 1]; 0.5 for those left out.
        calibration: How attribute logits become probabilities; None for the plain sigmoid.
        provenance: JSON data on how the model was made.
        documents: Further JSON files to put beside it, by file name, such as ``history.json``.
        half: Store the weights in float16, half the size.

    Returns:
        The folder.

    Raises:
        ModelError: `folder` holds something else than a model, a threshold is no probability
            of one of the schema's attributes, or a weight is beyond float16's range.
        OSError: The folder cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG).is_file() and any(folder.iterdir()):
        raise ModelError(
            f"{folder}: expected a new folder or one with a model; it holds other files"
        )
    given = dict(thresholds or {})
    for name, value in given.items():
        if name not in schema.attributes or not 0 <= value <= 1:
            raise ModelError(
                "thresholds: expected probabilities in [0, 1] of attributes of the schema. "
                f"Received: {name!r}: {value!r}"
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.tmp")
    temporary.mkdir()
    try:
        write_weights(model, temporary / WEIGHTS, schema, half=half)
        _write(temporary / SCHEMA, schema.to_dict())
        _write(
            temporary / THRESHOLDS,
            {name: float(given.get(name, 0.5)) for name in _answered(config, schema)},
        )
        _write(temporary / CALIBRATION, (calibration or Calibration()).to_dict())
        _write(temporary / PROVENANCE, dict(provenance or {}))
        for name, document in (documents or {}).items():
            _write(temporary / name, document)
        _write(
            temporary / CONFIG,
            {
                "format": FORMAT,
                "variant": config.variant,
                "arguments": dict(config.written_out().arguments),
                "task": config.task,
                "weights_sha256": _sha256(temporary / WEIGHTS),
            },
        )
        _replace_folder(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def read_model_config(folder: str | Path) -> ModelConfig:
    """Which network a stored model is, without loading it.

    Raises:
        ModelError: The folder holds no model, or one of another format.
    """
    return _read_config(Path(folder))[0]


def load_model(folder: str | Path, schema: AttributeSchema | None = None) -> LoadedModel:
    """Reads a model that `save_model` wrote.

    Args:
        folder: The model's folder.
        schema: The schema that is wanted; None takes whatever the model has.

    Raises:
        ModelError: A file is missing, truncated or altered, the folder is of another format, or
            the model answers another schema than the one wanted.
    """
    folder = Path(folder)
    config, digest = _read_config(folder)
    try:
        own_schema = AttributeSchema.from_dict(_read(folder / SCHEMA), str(folder / SCHEMA))
    except SchemaError as error:
        raise ModelError(f"{folder}: the model's description cannot be used: {error}") from error
    if schema is not None and (difference := schema.difference(own_schema)):
        raise ModelError(
            f"{folder}: the model answers the schema {own_schema.name!r}, not {schema.name!r}: "
            f"{difference}"
        )
    thresholds = _read(folder / THRESHOLDS)
    if missing := [name for name in _answered(config, own_schema) if name not in thresholds]:
        raise ModelError(f"{folder / THRESHOLDS}: the attributes {missing} have no threshold")
    provenance = _read(folder / PROVENANCE)
    calibration = Calibration()  # models of before had none
    if (folder / CALIBRATION).exists():
        calibration = Calibration.from_dict(_read(folder / CALIBRATION), str(folder / CALIBRATION))

    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"{weights}: the file is missing; copy the model's whole folder")
    if _sha256(weights) != digest:
        raise ModelError(
            f"{weights}: the file is truncated or was changed: its sha256 is not that of "
            f"{CONFIG}. Copy the model's folder again"
        )
    model = build_model(config, own_schema)
    try:
        read_weights(model, weights)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ModelError(
            f"{weights}: these are not the weights of the {config.variant!r} that {CONFIG} "
            "describes; they may be of an earlier version of the network. Train the model again"
        ) from error
    return LoadedModel(model, own_schema, thresholds, config, provenance, calibration)


def load_in_float32(model: str | Path | LoadedModel) -> LoadedModel:
    """A model with layers that compute in float32, whatever policy it was built under or is set.

    Args:
        model: A model's folder, or what `load_model` returned.

    Raises:
        ModelError: As `load_model`.
    """
    import keras

    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        loaded = model if isinstance(model, LoadedModel) else load_model(model)
        if all(layer.compute_dtype == "float32" for layer in _layers(loaded.model)):
            return loaded
        precise = build_model(loaded.config, loaded.schema)
        precise.set_weights(loaded.model.get_weights())
    finally:
        keras.config.set_dtype_policy(previous)
    return replace(loaded, model=precise)


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers, those of nested models too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer


def _read_config(folder: Path) -> tuple[ModelConfig, str | None]:
    """The network, and the sha256 of its weights."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: expected the folder of a trained model; there is none")
    data = _read(folder / CONFIG)
    if data.get("format") != FORMAT:
        raise ModelError(
            f"{folder / CONFIG}: expected a model of format {FORMAT}. "
            f"Received: format {data.get('format')!r}; use the version of far_keras that wrote it"
        )
    try:
        # Models of before had one task only.
        config = ModelConfig(data["variant"], data["arguments"], data.get("task", "attributes"))
    except (ModelError, KeyError) as error:
        raise ModelError(f"{folder}: the model's description cannot be used: {error}") from error
    return config, data.get("weights_sha256")


def _answered(config: ModelConfig, schema: AttributeSchema) -> tuple[str, ...]:
    return schema.attributes if config.task == "attributes" else ()


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path}: the file is missing; expected the folder of a trained model"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: expected a JSON object. Received: {type(data).__name__}")
    return data


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace_folder(new: Path, folder: Path) -> None:
    """Puts `new` in the place of `folder`. A non-empty folder cannot be replaced in one step."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.old")
        os.replace(folder, old)
        os.replace(new, folder)
        shutil.rmtree(old)
    else:
        os.replace(new, folder)
