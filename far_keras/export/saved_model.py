"""Writes a trained model as numbered SavedModel versions for TF Serving."""

from __future__ import annotations

# ruff: noqa: E402
from far_keras.extras import require_modules

require_modules("export", "a SavedModel", ("tensorflow",))

import errno
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from PIL import Image

from far_keras.errors import ModelError
from far_keras.export.description import DESCRIPTION_FILE, ModelDescription, describe
from far_keras.files import list_versions
from far_keras.geometry import ALIGNED_SIZE
from far_keras.models.storage import CONFIG, LoadedModel, load_in_float32
from far_keras.tf_images import decode_images, prepare_images

if TYPE_CHECKING:
    import keras
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

__all__ = [
    "IMAGE_FEATURE",
    "SIGNATURES",
    "WARMUP_FILE",
    "Version",
    "export_saved_model",
    "new_version",
    "write_graph",
    "write_warmup",
]

IMAGE_FEATURE = "image/encoded"
"""The encoded image's name in ``tf.Example``s for ``classify``, as usual in TensorFlow."""

SIGNATURES = ("serving_default", "serve_uint8", "serve_float", "classify", "describe")
"""The signatures of an exported model, see `write_graph`."""

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Where TF Serving expects warm-up requests, from the version's folder."""

_WARMUP_BATCHES = (1, 4)
_GREY = 128


def export_saved_model(
    model: str | Path | LoadedModel,
    to: str | Path,
    name: str | None = None,
    *,
    version: int | None = None,
    licence: str = "",
) -> Path:
    """Writes a model as the next version of a folder that TF Serving can serve as it is.

    The version holds ``saved_model.pb`` with the signatures of `write_graph`, warm-up requests, and
    the model's description (`ModelDescription`) as ``far_keras.json``, next to the graph and in
    ``assets/``. It appears complete, by one renaming: see `new_version`.

    Args:
        model: Folder of a trained model, or what `load_model` returned.
        to: Folder of the model's versions, such as ``saved_models/mgmtn``.
        name: The model's name; None for the name of `to`.
        version: The version's number; None for one more than the highest in `to`.
        licence: The model's licence, for its description.

    Returns:
        The folder of the new version, such as ``saved_models/mgmtn/1``.

    Raises:
        ModelError: `model` is no model or an incomplete one, `to` is no folder for versions, or it
            has the `version` already.
        OSError: `to` cannot be written.

    Example:
        >>> export_saved_model("models/mgmtn", "saved_models/mgmtn")  # doctest: +SKIP
        PosixPath('saved_models/mgmtn/1')
    """
    to = Path(to)
    _check_target(to)
    loaded = load_in_float32(model)
    description = describe(loaded, name or to.absolute().name, licence)
    with new_version(to, version) as written:
        write_graph(loaded.model, description, str(written.folder))
        write_warmup(description, written.folder)
        for folder in (written.folder, written.folder / "assets"):
            folder.mkdir(exist_ok=True)
            text = description.to_json() + "\n"
            (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    return written.folder


def _check_target(to: Path) -> None:
    name = to.absolute().name
    if name.isdigit():
        raise ModelError(
            f"{to}: expected the folder of a model's versions, such as {to.parent / 'mgmtn'}. "
            f"Received: {name!r}, which servers take for a version; the number is chosen for you"
        )
    if to.exists() and not to.is_dir():
        raise ModelError(f"{to}: expected a folder for versions. Received: a file")
    for file in (CONFIG, "saved_model.pb"):
        if (to / file).exists():
            kind = "a trained model" if file == CONFIG else "one version of an exported model"
            raise ModelError(
                f"{to}: expected a new folder, or one with versions. Received: the folder of "
                f"{kind}; choose another"
            )


def write_graph(model: keras.Model, description: ModelDescription, folder: str) -> None:
    """Writes ``saved_model.pb``, ``variables/`` and ``assets/``.

    Three signatures differ in their input: ``serving_default`` takes the encoded images
    ``image_bytes`` (string, (N,); JPEG or PNG of any size), ``serve_uint8`` and ``serve_float`` the
    pixels ``images`` (uint8 or float32 in [0, 255], (N, H, W, 3), resized where H or W is not
    ``image_size``). They return

    - ``attributes``: float32 (N, A) calibrated probabilities,
    - ``logits``: float32 (N, A), the network's output before the calibration,
    - ``masks``: float32 (N, h, w, G) probabilities, unless the model has none.

    ``classify`` is for TF Serving's Classify, with the names that it demands: ``inputs``, string
    (N,), are serialized ``tf.Example`` with an encoded image as ``image/encoded``; ``classes``,
    string (N, A), are the attributes' names, and ``scores``, float32 (N, A), their probabilities.

    ``describe`` returns ``json``, string (N,), the description, for each of its ``rows``, int32
    (N,) of any values: TF Serving with batching refuses requests without an input.

    Args:
        model: From images (B, S, S, 3) to logits, computing in float32.
        description: Of the model.
        folder: Where to write.
    """
    servable = tf.Module()
    predict = _prediction(model, description, servable)
    size = description.image_size

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return predict(decode_images(image_bytes, size))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")])
    def serve_uint8(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return predict(prepare_images(images, size))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="images")])
    def serve_float(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return predict(prepare_images(images, size))

    names, text = list(description.attributes), description.to_json()

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="inputs")])
    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        features = {IMAGE_FEATURE: tf.io.FixedLenFeature((), tf.string)}
        contents = tf.io.parse_example(inputs, features)[IMAGE_FEATURE]
        scores = predict(decode_images(contents, size))["attributes"]
        return {"classes": tf.tile([names], (tf.size(inputs), 1)), "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="rows")])
    def describe(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"json": tf.fill(tf.shape(rows), text)}

    functions = (serve_bytes, serve_uint8, serve_float, classify, describe)
    tf.saved_model.save(servable, folder, dict(zip(SIGNATURES, functions, strict=True)))


def _prediction(
    model: keras.Model, description: ModelDescription, servable: tf.Module
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The function from the network's input to the outputs, which all signatures share.

    Its variables are attached to `servable`, each once: a Keras model would bring its list of
    layers and its list of weights, and every weight twice.
    """
    from far_keras.export.inference_graph import fold_batch_normalization

    size = description.image_size
    slopes = description.calibration.slopes(description.attributes)
    offsets = description.calibration.offsets(description.attributes)
    weights = fold_batch_normalization(model)
    # A folded normalization leaves constants, of which TensorFlow drops the factors.
    variables = {
        position: tf.Variable(value, name=model.variables[position].path)
        for position, value in enumerate(weights.values)
        if weights.used[position] and not weights.folded[position]
    }
    servable.weights = list(variables.values())
    positions = {id(variable): position for position, variable in enumerate(model.variables)}

    def values(own: list[keras.Variable]) -> list[tf.Tensor]:
        found = []
        for variable in own:
            position = positions[id(variable)]
            if position in variables:
                found.append(variables[position].value())
            elif weights.used[position]:
                found.append(tf.constant(weights.values[position]))
            else:
                found.append(tf.zeros(variable.shape, variable.dtype))
        return found

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32)])
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        # Without training=False, Keras may run dropout in a traced call.
        outputs, _ = model.stateless_call(
            values(model.trainable_variables),
            values(model.non_trainable_variables),
            images,
            training=False,
        )
        logits = tf.cast(outputs["attributes"], tf.float32)
        results = {"attributes": tf.sigmoid(logits * slopes + offsets), "logits": logits}
        if "masks" in outputs:
            results["masks"] = tf.sigmoid(tf.cast(outputs["masks"], tf.float32))
        return results

    return predict


def write_warmup(description: ModelDescription, folder: str | Path) -> Path:
    """Writes requests for each signature, with one image and with several.

    Without them the first requests take ten times as long as later ones, since TensorFlow optimizes
    a graph when it first runs.

    Args:
        description: Of the model.
        folder: The version's folder.

    Returns:
        The file, TFRecords of ``tensorflow.serving.PredictionLog``.
    """
    path = Path(folder) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, name, value in _warmup_inputs(description.image_size):
            writer.write(_log(description.name, signature, name, value).SerializeToString())
    return path


def _log(model: str, signature: str, name: str, value: Any) -> PredictionLog:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    if signature == "classify":  # not a request for Predict
        request = log.classify_log.request
        for example in value:
            request.input.example_list.examples.append(example)
    else:
        request = log.predict_log.request
        request.inputs[name].CopyFrom(value)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    return log


def _warmup_inputs(size: int) -> Iterator[tuple[str, str, Any]]:
    """Signature, input and its value: images of the network's size, and of the aligned one."""
    for count in _WARMUP_BATCHES:
        yield "describe", "rows", tf.make_tensor_proto(0, tf.int32, (count,))
    for height, width in ((size, size), ALIGNED_SIZE):
        encoded = []
        for kind in ("JPEG", "PNG"):
            buffer = io.BytesIO()
            Image.new("RGB", (width, height), (_GREY,) * 3).save(buffer, kind)
            encoded.append(buffer.getvalue())
        for count in _WARMUP_BATCHES:
            contents = [encoded[i % 2] for i in range(count)]
            yield "serving_default", "image_bytes", tf.make_tensor_proto(contents)
            yield "classify", "inputs", [_example(content) for content in contents]
            # One value stands for all pixels, which keeps the file small.
            shape = (count, height, width, 3)
            yield "serve_uint8", "images", tf.make_tensor_proto(_GREY, tf.uint8, shape)
            yield "serve_float", "images", tf.make_tensor_proto(_GREY, tf.float32, shape)


def _example(image: bytes) -> tf.train.Example:
    content = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    return tf.train.Example(features=tf.train.Features(feature={IMAGE_FEATURE: content}))


class Version:
    """A version that is being written: its folder and, afterwards, its number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0


@contextmanager
def new_version(folder: str | Path, version: int | None = None) -> Iterator[Version]:
    """Provides a folder whose content becomes the next version at the end of the block.

    The version appears complete, by one renaming, after its content has reached the disk: a server
    that watches `folder` never sees a part of it. Two processes that do this at once get two
    numbers. If the block raises, nothing is left; after a kill a hidden folder ``.<random>.tmp``
    may remain.

    Args:
        folder: The folder of a model's versions; created if missing.
        version: Its number; None for one more than the highest present.

    Yields:
        The version: write into its ``folder``. After the block, ``folder`` is its final folder and
        ``number`` its number.

    Raises:
        ModelError: `version` is below 1 or exists already.
        OSError: `folder` cannot be created or written.
    """
    folder = Path(folder)
    if version is not None:
        _check_free(folder, version)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(6)}.tmp"
    temporary.mkdir()
    written = Version(temporary)
    try:
        yield written
        for directory, _, files in os.walk(temporary):
            for name in files:
                _flush(Path(directory) / name)
            _flush(Path(directory))
        while True:
            number = version or max(list_versions(folder), default=0) + 1
            try:
                # An empty folder would be replaced silently.
                if (folder / str(number)).exists():
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                os.rename(temporary, folder / str(number))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                if version is not None:
                    _check_free(folder, version)
                continue  # another exporter was faster
            break
        _flush(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    written.folder, written.number = folder / str(number), number


def _check_free(folder: Path, version: int) -> None:
    if version < 1:
        raise ModelError(f"version: expected a number from 1 on. Received: {version}")
    versions = list_versions(folder) if folder.is_dir() else {}
    if version in versions:
        raise ModelError(
            f"{folder / str(version)}: this version is there already, and servers may have loaded "
            f"it. Expected a new number, such as {max(versions) + 1}"
        )


def _flush(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
