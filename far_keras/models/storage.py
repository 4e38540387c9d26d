"""Saves, loads and runs models: model folders, Keras files, and a network's inputs and outputs."""

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
    "current_provenance",
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

_MEMBER = "far_keras.schema.json"  # of a .keras archive
_ATTRIBUTE = "far_keras_schema"  # of an HDF5 file
_ENDINGS = (".keras", ".weights.h5")


@dataclass(frozen=True)
class LoadedModel:
    """A stored model, ready to use.

    Args:
        model: From images (B, S, S, 3) in [0, 255] to a dict of logits: ``"attributes"`` (B, A),
            and ``"masks"`` (B, h, w, G) if the network has them; for the task "masks" these alone.
            A network with given masks takes a dict, see `far_keras.models.mgmtn`.
        schema: The attributes and groups of the logits.
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

    @property
    def untrained(self) -> tuple[str, ...]:
        """Attributes whose training labels held one class or none: their output is noise."""
        return tuple(self.provenance.get("untrained", ()))

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
    """Writes a model as a folder that `load_model` reads; it appears complete or not at all.

    Args:
        model: What `build_model` made from `config` and `schema`, trained.
        folder: The folder to write; an earlier model in it is replaced.
        config: Which network it is.
        schema: Its attributes and groups.
        thresholds: By attribute, calibrated probabilities in [0, 1]; the default is 0.5.
        calibration: How attribute logits become probabilities; None for the plain sigmoid.
        provenance: JSON data on how the model was made.
        documents: Further JSON files to write into the folder, by name, such as ``history.json``.
        half: Store the weights in float16, half the size.

    Returns:
        The folder.

    Raises:
        ModelError: `folder` exists and holds something else, a threshold is not a probability of
            an attribute, or a weight cannot be stored in float16.
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
        _write_weights(model, temporary / WEIGHTS, schema, half=half)
        with (temporary / WEIGHTS).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        contents = {
            SCHEMA: schema.to_dict(),
            THRESHOLDS: {name: float(given.get(name, 0.5)) for name in _predicted(config, schema)},
            CALIBRATION: (calibration or Calibration()).to_dict(),
            PROVENANCE: dict(provenance or {}),
            **(documents or {}),
            CONFIG: {
                "format": FORMAT,
                "variant": config.variant,
                "arguments": dict(config.written_out().arguments),
                "task": config.task,
                "weights_sha256": digest,
            },
        }
        for name, data in contents.items():
            _write_json(temporary / name, data)
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
        schema: The schema that is expected; None accepts any.

    Raises:
        ModelError: A file is missing, truncated or altered, the folder is of another format, or
            the model has another schema than the expected one.
    """
    folder = Path(folder)
    config, digest = _read_config(folder)
    try:
        own_schema = AttributeSchema.from_dict(_read_json(folder / SCHEMA), str(folder / SCHEMA))
    except SchemaError as error:
        raise ModelError(f"{folder}: the model's description cannot be used: {error}") from error
    if schema is not None:
        schema.check_equal(own_schema, str(folder), ModelError)
    thresholds = _read_json(folder / THRESHOLDS)
    if missing := [name for name in _predicted(config, own_schema) if name not in thresholds]:
        raise ModelError(f"{folder / THRESHOLDS}: the attributes {missing} have no threshold")
    provenance = current_provenance(_read_json(folder / PROVENANCE))
    calibration = Calibration()  # early models have no such file
    path = folder / CALIBRATION
    if path.exists():
        calibration = Calibration.from_dict(_read_json(path), str(path))

    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"{weights}: the file is missing; copy the model's whole folder")
    with weights.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise ModelError(
                f"{weights}: the file is truncated or was changed: its sha256 is not that of "
                f"{CONFIG}. Copy the model's folder again"
            )
    model = build_model(config, own_schema)
    try:
        _read_weights(model, weights)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ModelError(
            f"{weights}: these are not the weights of the {config.variant!r} that {CONFIG} "
            "describes; they may be of an earlier version of the network. Train the model again"
        ) from error
    return LoadedModel(model, own_schema, thresholds, config, provenance, calibration)


def load_in_float32(model: str | Path | LoadedModel) -> LoadedModel:
    """A model whose layers compute in float32, whatever policy it was built under or is set.

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


def current_provenance(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A stored provenance under the present names of its keys: 0.1.0 wrote ``untaught``."""
    return {"untrained" if key == "untaught" else key: v for key, v in provenance.items()}


# A network's inputs and outputs.


def given_mask_size(model: keras.Model) -> int | None:
    """Height and width of the masks (B, h, h, G) that are an input, see `mgmtn`; None without."""
    return next((tensor.shape[1] for tensor in model.inputs if tensor.name == "masks"), None)


def mask_size(model: keras.Model) -> int | None:
    """Height and width of the masks that a network predicts or is given; None without masks."""
    return model.output["masks"].shape[1] if "masks" in model.output else given_mask_size(model)


def require_recogniser(model: keras.Model, purpose: str) -> None:
    """Refuses a network that does not predict attributes from an image alone.

    Args:
        model: The network.
        purpose: What it is needed for, such as ``"recognition"``.

    Raises:
        ModelError: Masks are one of its inputs, or it predicts masks only.
    """
    if "attributes" not in model.output:
        raise ModelError(
            f"model: {purpose} needs a network that predicts attributes. Received: {model.name!r} "
            "of task 'masks', a mask network alone, which `far-keras evaluate` measures and "
            "`far-keras train --mask-mode two_stage --masks-from` starts from"
        )
    if given_mask_size(model) is not None:
        raise ModelError(
            f"model: {purpose} needs a network that predicts from images alone. Received: "
            f"{model.name!r} with mask_mode 'given', whose masks come from records: it is an upper "
            "bound to measure with `far-keras evaluate`. Train with mask_mode joint or two_stage"
        )


def compile_forward(
    model: keras.Model,
) -> Callable[[np.ndarray | Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Traces a model once for inference on batches of any size.

    ``model.predict_on_batch`` retraces for new batch sizes, and warns when several models do.

    Args:
        model: From one image input (B, S, S, 3), or from a dict of inputs, to a dict of outputs.

    Returns:
        A function from images, (B, S, S, 3) in [0, 255] of any dtype, or from a dict like the
        model's, to the outputs by name as float32 arrays.
    """
    import keras
    import tensorflow as tf

    # Without training=False, Keras may run dropout in a traced call.
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


# Keras' own files with the schema inside. Keras reads them too, but compares shapes at most: it
# would load weights for as many other attributes without an error.


def save_keras_file(model: keras.Model, path: str | Path, schema: AttributeSchema) -> Path:
    """Writes a ``.keras`` file, network and weights, with its schema inside.

    ``keras.models.load_model`` reads it too, once `far_keras.layers` is imported.

    Args:
        model: A network of `far_keras.models`.
        path: Ends in ``.keras``.
        schema: Its attributes and groups.
    """
    path = _checked(path, ".keras")
    with atomic_path(path) as temporary:  # keeps the ending, which Keras demands
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_MEMBER, json.dumps(schema.to_dict()))
    return path


def load_keras_file(path: str | Path, schema: AttributeSchema | None = None) -> keras.Model:
    """Reads a ``.keras`` file.

    Args:
        path: What `save_keras_file` wrote.
        schema: The schema that is expected; None accepts any.

    Raises:
        ModelError: The file is missing, damaged, without a schema or of another one.
    """
    import keras

    import far_keras.layers
    import far_keras.models.backbones  # noqa: F401  registers the backbones

    path = _checked(path, ".keras")
    own_schema = read_schema(path)
    if schema is not None:
        schema.check_equal(own_schema, str(path), ModelError)
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
        renamed = temporary.with_name(temporary.name + ".weights.h5")  # Keras demands the ending
        try:
            _write_weights(model, renamed, schema)
            renamed.replace(temporary)
        finally:
            renamed.unlink(missing_ok=True)
    return path


def load_weights_file(model: keras.Model, path: str | Path, schema: AttributeSchema) -> None:
    """Reads weights into a network of the same architecture.

    Args:
        model: The network.
        path: What `save_weights_file` wrote, or the ``model.weights.h5`` of a model's folder.
        schema: The network's attributes and groups.

    Raises:
        ModelError: The file is missing, damaged, without a schema, of another schema, or of
            another network.
    """
    path = _checked(path, ".weights.h5")
    schema.check_equal(read_schema(path), str(path), ModelError)
    try:
        _read_weights(model, path)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ModelError(
            f"{path}: these are not the weights of a network like {model.name!r}: {error!s:.300}"
        ) from error


def read_schema(path: str | Path) -> AttributeSchema:
    """The schema inside a ``.keras`` or ``.weights.h5`` file.

    Raises:
        ModelError: The file is missing, damaged, or was written by Keras alone.
    """
    import h5py

    path = _checked(path, *_ENDINGS)
    if not path.is_file():
        raise ModelError(f"{path}: expected a {' or '.join(_ENDINGS)} file; there is none")
    text: Any = None
    try:
        if path.name.endswith(".keras"):
            with zipfile.ZipFile(path) as archive:
                text = archive.read(_MEMBER) if _MEMBER in archive.namelist() else None
        else:
            with h5py.File(path, "r") as file:
                text = file.attrs.get(_ATTRIBUTE)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: the file is truncated or damaged: {error}") from error
    if text is None:
        raise ModelError(
            f"{path}: expected a file with the schema of its attributes. Received: one that Keras "
            "alone wrote; write it with save_keras_file or save_weights_file of "
            "far_keras.models.storage"
        )
    try:
        return AttributeSchema.from_dict(json.loads(text), str(path))
    except (ValueError, SchemaError) as error:
        raise ModelError(f"{path}: the schema inside cannot be used: {error}") from error


def _write_weights(
    model: keras.Model, path: Path, schema: AttributeSchema, *, half: bool = False
) -> None:
    """Writes weights and schema to a file ``….weights.h5``, not atomically.

    With `half`, the file holds float16, from which Keras makes float32 when it reads them.
    """
    import h5py
    import keras

    # A compiled model would write its optimiser's state, twice its size, too.
    keras.Model(model.input, model.output).save_weights(path)
    if half:
        _round_to_half(path)
    with h5py.File(path, "a") as file:
        file.attrs[_ATTRIBUTE] = json.dumps(schema.to_dict())


def _read_weights(model: keras.Model, path: Path) -> None:
    """Reads weights; a layer that the file lacks is an error."""
    with warnings.catch_warnings():
        # Keras only warns of layers that the file lacks, and leaves them at random.
        warnings.simplefilter("error", UserWarning)
        model.load_weights(path)


def _round_to_half(path: Path) -> None:
    """Rewrites an HDF5 file with float16 for float32: a new file, since HDF5 never shrinks one."""
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


def _checked(path: str | Path, *endings: str) -> Path:
    path = Path(path)
    if not path.name.endswith(endings):
        raise ModelError(f"{path}: expected a name that ends in {' or '.join(endings)}")
    return path


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
        # Early models have no task.
        config = ModelConfig(data["variant"], data["arguments"], data.get("task", "attributes"))
    except (ModelError, KeyError) as error:
        raise ModelError(f"{folder}: the model's description cannot be used: {error}") from error
    return config, data.get("weights_sha256")


def _predicted(config: ModelConfig, schema: AttributeSchema) -> tuple[str, ...]:
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


def _replace_folder(new: Path, folder: Path) -> None:
    """Puts `new` in the place of `folder`. A non-empty folder cannot be replaced in one step."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.old")
        os.replace(folder, old)
        os.replace(new, folder)
        shutil.rmtree(old)
    else:
        os.replace(new, folder)
