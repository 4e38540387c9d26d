"""A trained model as .tflite files for phones, in four precisions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import far_keras
from far_keras.datasets.manifest import MANIFEST_FILE, read_manifest
from far_keras.errors import ModelError
from far_keras.export.conversion import convert
from far_keras.export.description import describe
from far_keras.export.flatbuffer import operations
from far_keras.export.tflite_metadata import with_metadata
from far_keras.files import atomic_path
from far_keras.models.flops import count_flops
from far_keras.models.inputs import require_recogniser
from far_keras.models.storage import LoadedModel, load_in_float32

if TYPE_CHECKING:
    from far_keras.schema import AttributeSchema

__all__ = [
    "CALIBRATION_PICTURES",
    "PRECISIONS",
    "calibration_pictures",
    "export_tflite",
    "name_of_records",
    "training_records",
]

PRECISIONS = ("float32", "float16", "dynamic", "int8")
"""What a file computes with: float32; float32 with weights stored as float16 or as int8; int8."""

CALIBRATION_PICTURES = 200
"""Training images that show the int8 file which values occur."""


def export_tflite(
    model: str | Path | LoadedModel,
    folder: str | Path,
    name: str | None = None,
    *,
    precisions: Sequence[str] = PRECISIONS,
    pictures: Iterable[np.ndarray] | None = None,
    pictures_from: str = "",
    licence: str = "",
) -> dict[str, Path]:
    """Writes a model as ``<name>-<precision>.tflite``, one file a precision.

    Every file takes one image, "image" (1, S, S, 3): uint8 for int8, float32 in [0, 255] for the
    others. It answers probabilities, float32: "attributes" (1, A), calibrated, and "masks"
    (1, h, w, G) if the model has them. It needs nothing beside the runtime's own operations. What
    it must be told and what it answers stands in the file: see `read_metadata`.

    Args:
        model: Folder of a trained model, or what `load_model` returned.
        folder: Where to write; made if missing. Earlier files of the same name are replaced.
        name: What the model is called; None for the name of its folder or its variant.
        precisions: Which of `PRECISIONS` to write.
        images: For int8: training images (S, S, 3) in [0, 255], such as
            `calibration_pictures` gives.
        pictures_from: Where they come from, for the file's metadata.
        licence: What may be done with the model, for the same.

    Returns:
        The files by precision.

    Raises:
        ModelError: `model` is no model, a precision is unknown, int8 is asked for without
            images, or the network needs an operation that the runtime does not have.
        OSError: `folder` cannot be written.

    Example:
        >>> export_tflite("models/mgmtn", "phone", precisions=["float16"])  # doctest: +SKIP
        {'float16': PosixPath('phone/mgmtn-float16.tflite')}
    """
    if unknown := [precision for precision in precisions if precision not in PRECISIONS]:
        raise ModelError(f"precisions: expected some of {list(PRECISIONS)}. Received: {unknown}")
    calibration = None if pictures is None else [np.asarray(picture) for picture in pictures]
    if "int8" in precisions and not calibration:
        raise ModelError(
            "images: expected training images for the precision int8. Received: none; give "
            "some, such as calibration_pictures(records, image_size)"
        )
    if name is None:
        name = model.config.variant if isinstance(model, LoadedModel) else Path(model).name
    loaded = load_in_float32(model)
    require_recogniser(loaded.model, "a .tflite file")
    description = describe(loaded, name, licence)
    flops = count_flops(loaded.model, loaded.model.inputs[0])
    float32 = convert(loaded)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for precision in precisions:
        flatbuffer = _in_precision(float32, loaded, precision, calibration)
        _refuse_foreign(flatbuffer, precision)
        facts: dict[str, Any] = {
            "precision": precision,
            "far_keras": far_keras.__version__,
            "input": {
                "name": "image",
                "shape": [1, loaded.image_size, loaded.image_size, 3],
                "dtype": "uint8" if precision == "int8" else "float32",
            },
            "outputs": ["attributes", "masks"] if description.has_masks else ["attributes"],
            "flops": flops,
        }
        if precision == "int8" and calibration is not None:
            facts["calibrated_on"] = {"pictures": len(calibration), "from": pictures_from}
        files[precision] = folder / f"{name}-{precision}.tflite"
        with atomic_path(files[precision]) as temporary:
            temporary.write_bytes(with_metadata(flatbuffer, description, facts))
    return files


def calibration_pictures(
    records: str | Path,
    image_size: int,
    schema: AttributeSchema,
    count: int = CALIBRATION_PICTURES,
) -> Iterator[np.ndarray]:
    """The first training images of a folder of records.

    Args:
        records: Folder that `far-keras annotate` wrote.
        image_size: Side S of the images.
        schema: The model's.
        count: How many, if there are as many.

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


def name_of_records(records: str | Path) -> str:
    """Which images a folder of records holds, wherever it lies: for ``pictures_from``.

    The hash is that of ``manifest_sha256`` in the provenance of a model trained on them.
    """
    manifest = Path(records) / MANIFEST_FILE
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    return f"{read_manifest(records).name}, training split, manifest_sha256 {digest}"


def training_records(loaded: LoadedModel) -> Path | None:
    """The records that a model was trained on, if they are still where they were."""
    records = loaded.provenance.get("config", {}).get("records")
    if records is None or not (Path(records) / MANIFEST_FILE).is_file():
        return None
    return Path(records)


def _in_precision(
    float32: bytes, loaded: LoadedModel, precision: str, pictures: list[np.ndarray] | None
) -> bytes:
    if precision == "float32":
        return float32
    if precision == "float16":
        return convert(loaded, float16=True)
    from far_keras.export.quantization import quantize_dynamic, quantize_int8

    if precision == "dynamic":
        return quantize_dynamic(float32)
    assert pictures is not None
    return quantize_int8(float32, pictures)


def _refuse_foreign(flatbuffer: bytes, precision: str) -> None:
    if operations(flatbuffer)["CUSTOM"]:
        raise ModelError(
            f"the network cannot be written as {precision} .tflite: it needs operations that the "
            "runtime does not have. Use one of the named variants"
        )
