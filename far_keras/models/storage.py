"""Saves, loads and runs models: folders, Keras files, and their inputs and outputs."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from far_keras.calibration import Calibration
from far_keras.errors import ModelError, SchemaError
from far_keras.files import atomic_path
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    import keras

__all__ = [
    "LoadedModel",
    "compile_forward",
    "given_mask_size",
    "load_in_float32",
    "load_keras_file",
    "load_model",
    "load_weights_file",
    "mask_size",
    "read_model_config",
    "read_schema",
    "require_recogniser",
    "save_keras_file",
    "save_model",
    "save_weights_file",
]

FORMAT = 1
CONFIG, WEIGHTS, SCHEMA = "config.json", "model.weights.h5", "schema.json"
THRESHOLDS, PROVENANCE = "thresholds.json", "provenance.json"
CALIBRATION = "calibration.json"
WEIGHTLESS = "network.tflite"  # optional, see `far_keras.export.weightless_tflite`


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
        _write_json(temporary / SCHEMA, schema.to_dict())
        _write_json(
            temporary / THRESHOLDS,
            {name: float(given.get(name, 0.5)) for name in _answered(config, schema)},
        )
        _write_json(temporary / CALIBRATION, (calibration or Calibration()).to_dict())
        _write_json(temporary / PROVENANCE, dict(provenance or {}))
        for name, document in (documents or {}).items():
            _write_json(temporary / name, document)
        _write_json(
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
        own_schema = AttributeSchema.from_dict(_read_json(folder / SCHEMA), str(folder / SCHEMA))
    except SchemaError as error:
        raise ModelError(f"{folder}: the model's description cannot be used: {error}") from error
    if schema is not None and (difference := schema.difference(own_schema)):
        raise ModelError(
            f"{folder}: the model answers the schema {own_schema.name!r}, not {schema.name!r}: "
            f"{difference}"
        )
    thresholds = _read_json(folder / THRESHOLDS)
    if missing := [name for name in _answered(config, own_schema) if name not in thresholds]:
        raise ModelError(f"{folder / THRESHOLDS}: the attributes {missing} have no threshold")
    provenance = _read_json(folder / PROVENANCE)
    calibration = Calibration()  # models of before had none
    if (folder / CALIBRATION).exists():
        calibration = Calibration.from_dict(
            _read_json(folder / CALIBRATION), str(folder / CALIBRATION)
        )

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
    data = _read_json(folder / CONFIG)
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


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
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


_MEMBER = "far_keras.schema.json"  # of a .keras archive
_ATTRIBUTE = "far_keras_schema"  # of an HDF5 file
_ENDINGS = (".keras", ".weights.h5")


def save_keras_file(model: keras.Model, path: str | Path, schema: AttributeSchema) -> Path:
    """Writes a ``.keras`` file, network and weights, with its schema inside.

    ``keras.models.load_model`` reads it too, once `far_keras.layers` is imported.

    Args:
        model: A network of `far_keras.models`.
        path: Ends in ``.keras``.
        schema: What it answers.
    """
    path = _checked(path, ".keras")
    text = json.dumps(schema.to_dict())
    with atomic_path(path) as temporary:
        # Keras wants its own ending, which a temporary name lacks.
        whole = temporary.with_name(temporary.name + ".keras")
        try:
            model.save(whole)
            with zipfile.ZipFile(whole, "a") as archive:
                archive.writestr(_MEMBER, text)
            whole.replace(temporary)
        finally:
            whole.unlink(missing_ok=True)
    return path


def load_keras_file(path: str | Path, schema: AttributeSchema | None = None) -> keras.Model:
    """Reads a ``.keras`` file.

    Args:
        path: What `save_keras_file` wrote.
        schema: The schema that is wanted; None takes whatever the file has.

    Raises:
        ModelError: The file is missing, damaged or without a schema, or answers another one.
    """
    import keras

    import far_keras.layers
    import far_keras.models.backbones  # noqa: F401

    path = _checked(path, ".keras")
    _compare(path, schema)
    try:
        return keras.models.load_model(path)
    except Exception as error:  # Keras raises almost anything on what it cannot build
        raise ModelError(f"{path}: Keras cannot read the model: {error!s:.300}") from error


def save_weights_file(model: keras.Model, path: str | Path, schema: AttributeSchema) -> Path:
    """Writes a ``.weights.h5`` file, weights only, with its schema inside.

    ``model.load_weights`` of Keras reads it too.
    """
    path = _checked(path, ".weights.h5")
    with atomic_path(path) as temporary:
        whole = temporary.with_name(temporary.name + ".weights.h5")
        try:
            write_weights(model, whole, schema)
            whole.replace(temporary)
        finally:
            whole.unlink(missing_ok=True)
    return path


def load_weights_file(model: keras.Model, path: str | Path, schema: AttributeSchema) -> None:
    """Reads weights into a network that was built alike.

    Args:
        model: The network.
        path: What `save_weights_file` wrote, or the ``model.weights.h5`` of a model's folder.
        schema: What the network answers.

    Raises:
        ModelError: The file is missing, damaged, without a schema, of another schema, or of
            another network.
    """
    path = _checked(path, ".weights.h5")
    _compare(path, schema)
    try:
        read_weights(model, path)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ModelError(
            f"{path}: these are not the weights of a network like {model.name!r}: {error!s:.300}"
        ) from error


def read_schema(path: str | Path) -> AttributeSchema:
    """The schema inside a ``.keras`` or ``.weights.h5`` file.

    Raises:
        ModelError: The file is missing, damaged, or Keras alone wrote it.
    """
    path = _checked(path, *_ENDINGS)
    if not path.is_file():
        raise ModelError(f"{path}: expected a {' or '.join(_ENDINGS)} file; there is none")
    try:
        text = _read_member(path) if path.name.endswith(".keras") else _read_attribute(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: the file is truncated or damaged: {error}") from error
    if text is None:
        raise ModelError(
            f"{path}: expected a file with the schema of its attributes. Received: one that Keras "
            "alone wrote; write it with far_keras.models.storage"
        )
    try:
        return AttributeSchema.from_dict(json.loads(text), str(path))
    except (ValueError, SchemaError) as error:
        raise ModelError(f"{path}: the schema inside cannot be used: {error}") from error


def write_weights(
    model: keras.Model, path: Path, schema: AttributeSchema, *, half: bool = False
) -> None:
    """Writes weights and schema to a file ``….weights.h5`` in place.

    Args:
        model: The network.
        path: Ends in ``.weights.h5``.
        schema: What the network answers.
        half: Round the weights to float16, which halves the file. They are float32 again once
            they are read.

    Raises:
        ModelError: `half`, and a weight is beyond float16's range of 65504.
    """
    import h5py
    import keras

    # A model that was compiled would put its optimiser's state, twice its size, into the file.
    keras.Model(model.input, model.output).save_weights(path)
    if half:
        _round_to_half(path)
    with h5py.File(path, "a") as file:
        file.attrs[_ATTRIBUTE] = json.dumps(schema.to_dict())


def read_weights(model: keras.Model, path: Path) -> None:
    """Reads weights; a layer that the file lacks is an error."""
    with warnings.catch_warnings():
        # Keras only warns of layers that the file lacks, and leaves them at random.
        warnings.simplefilter("error", UserWarning)
        model.load_weights(path)


def _round_to_half(path: Path) -> None:
    """Writes an HDF5 file anew, with float16 for float32: HDF5 does not give up space."""
    import h5py

    rounded = path.with_name(path.name + ".half")

    def copy(source: Any, target: Any) -> None:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        for name, item in source.items():
            if isinstance(item, h5py.Group):
                copy(item, target.create_group(name))
                continue
            values = item[()]
            if values.dtype == np.float32:
                if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                    raise ModelError(
                        f"weights: {item.name} holds a value beyond float16's range; store the "
                        "model in float32"
                    )
                values = values.astype(np.float16)
            target.create_dataset(name, data=values)

    try:
        with h5py.File(path, "r") as source, h5py.File(rounded, "w") as target:
            copy(source, target)
        rounded.replace(path)
    finally:
        rounded.unlink(missing_ok=True)


def _read_member(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        return archive.read(_MEMBER).decode() if _MEMBER in archive.namelist() else None


def _read_attribute(path: Path) -> str | None:
    import h5py

    with h5py.File(path, "r") as file:
        value: Any = file.attrs.get(_ATTRIBUTE)
        return None if value is None else str(value)


def _compare(path: Path, schema: AttributeSchema | None) -> None:
    own = read_schema(path)
    if schema is not None and (difference := schema.difference(own)):
        raise ModelError(
            f"{path}: the model answers the schema {own.name!r}, not {schema.name!r}: {difference}"
        )


def _checked(path: str | Path, *endings: str) -> Path:
    path = Path(path)
    if not path.name.endswith(endings):
        raise ModelError(f"{path}: expected a name that ends in {' or '.join(endings)}")
    return path


def given_mask_size(model: keras.Model) -> int | None:
    """Height and width of the masks (B, h, h, G) that are an input, see `mgmtn`; None without."""
    return next((tensor.shape[1] for tensor in model.inputs if tensor.name == "masks"), None)


def mask_size(model: keras.Model) -> int | None:
    """Height and width of the masks that a network predicts or is given; None without masks."""
    return model.output["masks"].shape[1] if "masks" in model.output else given_mask_size(model)


def require_recogniser(model: keras.Model, purpose: str) -> None:
    """Refuses a network that does not answer attributes from an image alone.

    Args:
        model: The network.
        purpose: What is to be done with it, such as ``"recognition"``.

    Raises:
        ModelError: Masks are one of its inputs, or it answers masks only.
    """
    if "attributes" not in model.output:
        raise ModelError(
            f"model: {purpose} needs a network that answers attributes. Received: {model.name!r} "
            "of task 'masks', a mask network alone, which `far-keras evaluate` measures and "
            "`far-keras train --mask-mode two_stage --masks-from` starts from"
        )
    if given_mask_size(model) is not None:
        raise ModelError(
            f"model: {purpose} needs a network that answers from images alone. Received: "
            f"{model.name!r} with mask_mode 'given', whose masks come from records: it is an upper "
            "bound to measure with `far-keras evaluate`. Train with mask_mode joint or two_stage"
        )


def compile_forward(
    model: keras.Model,
) -> Callable[[np.ndarray | Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Traces the model once, for inference.

    ``model.predict_on_batch`` traces anew for new batch sizes, and warns when several models do.

    Args:
        model: From one image input (B, S, S, 3), or from a dict of inputs, to a dict of outputs.

    Returns:
        A function from images, (B, S, S, 3) in [0, 255] of any dtype, or from a dict like the
        model's, to the outputs by name as float32 arrays.
    """
    import keras
    import tensorflow as tf

    # training=False must be said: without it Keras may run dropout in a traced call.
    run = tf.function(
        lambda inputs: model(inputs, training=False),
        input_signature=[
            keras.tree.map_structure(
                lambda tensor: tf.TensorSpec((None, *tensor.shape[1:]), tf.float32), model.input
            )
        ],
    ).get_concrete_function()

    def forward(inputs: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = run(
            keras.tree.map_structure(
                lambda array: tf.convert_to_tensor(np.asarray(array, np.float32)), inputs
            )
        )
        return {name: value.numpy().astype(np.float32) for name, value in outputs.items()}

    return forward
