"""Converts a trained model to .tflite files for phones, in four precisions."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import count as counting
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import far_keras
from far_keras.errors import ModelError
from far_keras.export.description import describe
from far_keras.export.tflite_file import (
    kind_of,
    operations,
    read_flatbuffer,
    with_metadata,
    with_uint8_input,
    write_flatbuffer,
)
from far_keras.extras import require
from far_keras.files import write_atomically
from far_keras.images import resize_image
from far_keras.models.storage import LoadedModel, load_in_float32, require_recogniser
from far_keras.quiet import quiet

if TYPE_CHECKING:
    from far_keras.schema import AttributeSchema

__all__ = [
    "CALIBRATION_IMAGES",
    "PRECISIONS",
    "calibration_images",
    "convert",
    "export_tflite",
    "name_of_records",
    "quantize_dynamic",
    "quantize_int8",
    "rendered_images",
    "training_records",
]

PRECISIONS = ("float32", "float16", "dynamic", "int8")
"""What a file computes with: float32; float32 with weights stored as float16 or as int8; int8."""

CALIBRATION_IMAGES = 200
"""Training images from which int8 takes the range of each tensor."""


def export_tflite(
    model: str | Path | LoadedModel,
    folder: str | Path,
    name: str | None = None,
    *,
    precisions: Sequence[str] = PRECISIONS,
    images: Iterable[np.ndarray] | None = None,
    images_from: str = "",
    licence: str = "",
) -> dict[str, Path]:
    """Writes a model as ``<name>-<precision>.tflite``, one file per precision.

    Every file takes one image, "image" (1, S, S, 3): uint8 for int8, float32 in [0, 255] for the
    others. Its outputs are float32 probabilities: "attributes" (1, A), calibrated, and "masks"
    (1, h, w, G) if the model has them. It uses the runtime's own operations only, and carries its
    description: see `read_metadata`.

    Args:
        model: Folder of a trained model, or what `load_model` returned.
        folder: Where to write; created if missing. Earlier files of the same name are replaced.
        name: The model's name; None for the name of its folder or its variant.
        precisions: Which of `PRECISIONS` to write.
        images: For int8: training images (S, S, 3) in [0, 255], such as those of
            `calibration_images`.
        images_from: Their origin, for the file's metadata.
        licence: The model's licence, likewise.

    Returns:
        The files by precision.

    Raises:
        MissingExtraError: The extra "export" is not installed.
        ModelError: `model` is no model, a precision is unknown, int8 is requested without images,
            or the network needs an operation that the runtime does not have.
        OSError: `folder` cannot be written.

    Example:
        >>> export_tflite("models/mgmtn", "phone", precisions=["float16"])  # doctest: +SKIP
        {'float16': PosixPath('phone/mgmtn-float16.tflite')}
    """
    require("export", "exporting")
    from far_keras.models.summary import count_flops

    if unknown := [precision for precision in precisions if precision not in PRECISIONS]:
        raise ModelError(f"precisions: expected some of {list(PRECISIONS)}. Received: {unknown}")
    calibration = [np.asarray(image) for image in (() if images is None else images)]
    if "int8" in precisions and not calibration:
        raise ModelError(
            "images: expected training images for the precision int8. Received: none; give "
            "some, such as calibration_images(records, image_size, schema)"
        )
    if name is None:
        name = model.config.variant if isinstance(model, LoadedModel) else Path(model).name
    loaded = load_in_float32(model)
    require_recogniser(loaded.model, "a .tflite file")
    description = describe(loaded, name, licence)
    float32 = convert(loaded)
    facts: dict[str, Any] = {
        "precision": "",
        "far_keras": far_keras.__version__,
        "input": {"name": "image", "shape": [1, loaded.image_size, loaded.image_size, 3]},
        "outputs": ["attributes", "masks"] if description.has_masks else ["attributes"],
        "flops": count_flops(loaded.model, loaded.model.inputs[0]),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for precision in precisions:
        facts["precision"] = precision
        facts["input"]["dtype"] = "uint8" if precision == "int8" else "float32"
        flatbuffer = float32
        if precision == "float16":
            flatbuffer = convert(loaded, float16=True)
        elif precision == "dynamic":
            flatbuffer = quantize_dynamic(float32)
        elif precision == "int8":
            flatbuffer = quantize_int8(float32, calibration)
        if operations(flatbuffer)["CUSTOM"]:
            raise ModelError(
                f"the network cannot be written as {precision} .tflite: it needs operations that "
                "the runtime does not have. Use one of the named variants"
            )
        extra = {}
        if precision == "int8":
            extra["calibrated_on"] = {"images": len(calibration), "from": images_from}
        files[precision] = folder / f"{name}-{precision}.tflite"
        write_atomically(
            files[precision], with_metadata(flatbuffer, description, {**facts, **extra})
        )
    return files


def convert(loaded: LoadedModel, float16: bool = False) -> bytes:
    """Converts a model for one image; batch normalization is folded into the convolutions.

    Args:
        loaded: The model.
        float16: Store the weights as float16. The runtime computes in float32 all the same.

    Returns:
        A .tflite file with the signature ``serving_default`` from "image" to "attributes" and, if
        the model has them, "masks".

    Raises:
        ModelError: TensorFlow's converter fails.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    from far_keras.export.inference_graph import phone_model

    model = phone_model(loaded.model, loaded.calibration, loaded.schema.attributes)
    spec = tf.TensorSpec(model.inputs[0].shape, tf.float32, name="image")
    traced = tf.function(
        lambda image: model(image, training=False), input_signature=[spec]
    ).get_concrete_function()
    # With variables, the converter would write operations that read them.
    frozen = convert_variables_to_constants_v2(traced)
    names = sorted(traced.structured_outputs)  # the order in which outputs are flattened
    module = tf.Module()
    module.predict = tf.function(
        lambda image: dict(zip(names, frozen(image), strict=True)), input_signature=[spec]
    )
    with tempfile.TemporaryDirectory() as folder, quiet():
        tf.saved_model.save(module, folder, signatures={"serving_default": module.predict})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises its own class, and others
            lines = [line for line in str(error).splitlines() if "error" in line.lower()]
            raise ModelError(
                f"variant {loaded.config.variant!r} cannot be converted to .tflite: "
                f"{(lines or [str(error)])[0][:300]}"
            ) from error


def quantize_dynamic(content: bytes) -> bytes:
    """Stores weights as int8, channel by channel; activations stay float32 between operations.

    Args:
        content: A float32 .tflite file.
    """
    from litert_quantizer import qtyping, quantizer

    names = qtyping.TFLOperationName
    work = quantizer.Quantizer(bytearray(content))
    for operation in (names.CONV_2D, names.FULLY_CONNECTED, names.CONV_2D_TRANSPOSE):
        work.add_dynamic_config(".*", operation, num_bits=8)
    # The runtime has no fast dynamic kernel for depthwise convolutions: few weights, left alone.
    return write_flatbuffer(read_flatbuffer(_quantize(work, None)))


def quantize_int8(content: bytes, images: Iterable[np.ndarray]) -> bytes:
    """Weights and activations of all convolutions as int8; the input as uint8 pixels.

    These parts are different:

    - Behind the convolutions, masks are averaged and divided by their areas, which int8 cannot
      represent: a small mask's weights are some hundred times those of a large one. That part, less
      than a fiftieth of the work, computes in float32, with int8 weights in its dense layers.
    - The weights of the fusion, a third of all, have 4 bits.
    - The first depthwise convolution stays float32: few channels of very different scale, which
      one common scale makes coarse. In an EfficientNet-Lite0 it alone cost as much accuracy as all
      the rest.
    - MobileNetV3's hard swish stays float32: XNNPACK has no int8 kernel for it, and 17
      interruptions cost five times the rest.

    Args:
        content: A float32 .tflite file of `convert`.
        images: Training images (S, S, 3) in [0, 255], at least one, for the range of each tensor.
    """
    from litert_quantizer import qtyping, quantizer

    from far_keras.export.inference_graph import HEAD

    names = qtyping.TFLOperationName
    work = quantizer.Quantizer(bytearray(content))
    # Operations are chosen by the names of their outputs; those of the model bear the last one.
    float32 = "|".join([HEAD, "PartitionedCall", *map(re.escape, _first_depthwise(content))])
    excluded = (names.ALL_SUPPORTED, names.OUTPUT, names.HARD_SWISH)
    for operation in names:
        if operation not in excluded:
            with contextlib.suppress(ValueError):  # no int8 kernel exists
                work.add_static_config(f"^(?!.*({float32})).*", operation, 8, 8)
    work.add_dynamic_config(f".*{HEAD}.*", names.FULLY_CONNECTED, num_bits=8)
    work.add_dynamic_config(f".*{HEAD}_fusion.*", names.FULLY_CONNECTED, num_bits=4)
    quantized = read_flatbuffer(_quantize(work, _ranges(content, images)))
    return write_flatbuffer(with_uint8_input(quantized))


def calibration_images(
    records: str | Path,
    image_size: int,
    schema: AttributeSchema,
    count: int = CALIBRATION_IMAGES,
) -> Iterator[np.ndarray]:
    """The first training images of a folder of records.

    Args:
        records: Folder that `far-keras annotate` wrote.
        image_size: Side S of the images.
        schema: The model's.
        count: How many, at most.

    Yields:
        float32 (S, S, 3) in [0, 255], not augmented.

    Raises:
        DatasetError: The records are missing or incomplete, or lack a training split.
    """
    from far_keras.datasets.pipeline import load_records

    batches = load_records(
        records,
        "train",
        schema=schema,
        image_size=image_size,
        masks=None,
        cache=False,
        allow_missing=True,
    )
    for images, _ in batches.unbatch().take(count):
        yield images.numpy()


def rendered_images(image_size: int, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Rendered faces for calibration without records, one per person.

    Args:
        image_size: Side S of the images.
        count: How many; each takes about a tenth of a second.
        seed: Of the persons.

    Yields:
        float32 (S, S, 3) in [0, 255].
    """
    from far_keras.synthetic.people.population import Population
    from far_keras.synthetic.renderer import render

    population = Population(seed)
    subjects = (population.identity(identity) for identity in counting())
    for _ in range(count):
        subject = next(subject for subject in subjects if subject.person is not None)
        assert subject.person is not None
        image = render(subject.person, subject.shots[0]).image
        yield resize_image(image, image_size).astype(np.float32)


def training_records(loaded: LoadedModel) -> Path | None:
    """The records that a model was trained on, if they are still there."""
    from far_keras.datasets.records import MANIFEST_FILE

    records = loaded.provenance.get("config", {}).get("records")
    if records is None or not (Path(records) / MANIFEST_FILE).is_file():
        return None
    return Path(records)


def name_of_records(records: str | Path) -> str:
    """Identifies the images of a folder of records, wherever it is: for ``images_from``.

    The hash is that of ``manifest_sha256`` in the provenance of a model trained on them.
    """
    from far_keras.datasets.records import MANIFEST_FILE, read_manifest

    digest = hashlib.sha256((Path(records) / MANIFEST_FILE).read_bytes()).hexdigest()
    return f"{read_manifest(records).name}, training split, manifest_sha256 {digest}"


def _quantize(work: Any, ranges: dict[str, dict[str, np.ndarray]] | None) -> bytes:
    with contextlib.redirect_stderr(io.StringIO()), quiet():  # progress bars and notices
        result = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _ranges(content: bytes, images: Iterable[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """By computed tensor: the minimum and the maximum value that occur."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that keeping all tensors takes memory
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    graph = read_flatbuffer(content).subgraphs[0]
    computed = [int(index) for operation in graph.operators for index in operation.outputs]
    low: dict[int, np.ndarray] = {}
    high: dict[int, np.ndarray] = {}

    def observe(image: np.ndarray, tensors: Iterable[int]) -> None:
        interpreter.set_tensor(entry["index"], np.asarray(image, np.float32)[None])
        interpreter.invoke()
        for index in tensors:
            values = interpreter.get_tensor(index)
            least, greatest = values.min(keepdims=True), values.max(keepdims=True)
            low[index] = np.minimum(low.get(index, least), least)
            high[index] = np.maximum(high.get(index, greatest), greatest)

    for image in images:
        observe(image, [entry["index"], *computed])
    for value in (0, 255):
        observe(np.full(entry["shape"][1:], value), _pixelwise(content))
    return {
        graph.tensors[index].name.decode(): {"min": low[index], "max": high[index]}
        for index in low
        if low[index].dtype == np.float32
    }


def _first_depthwise(content: bytes) -> list[str]:
    """Name of the first depthwise convolution's output; empty if there is none."""
    model = read_flatbuffer(content)
    graph = model.subgraphs[0]
    for operation in graph.operators:
        if kind_of(model, operation) == "DEPTHWISE_CONV_2D":
            return [graph.tensors[operation.outputs[0]].name.decode()]
    return []


def _pixelwise(content: bytes) -> list[int]:
    """The input and what is computed from each of its pixels alone: all values must fit."""
    model = read_flatbuffer(content)
    graph = model.subgraphs[0]
    reached = [int(graph.inputs[0])]
    for operation in graph.operators:
        pixelwise = kind_of(model, operation) in ("ADD", "SUB", "MUL", "DIV")
        if pixelwise and operation.inputs[0] in reached:
            reached.append(int(operation.outputs[0]))
    return reached
