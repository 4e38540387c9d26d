"""The .tflite file format: a flatbuffer, and this package's metadata in a zip archive behind it.

The runtime reads the flatbuffer from the front and needs nothing else; zip readers look from the
end. So `zipfile`, `unzip` or 30 lines on a phone read the metadata, which is not compressed.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from far_keras.errors import ModelError
from far_keras.export.description import DESCRIPTION_FILE, ModelDescription

__all__ = [
    "FILE_FACTS",
    "IDENTIFIER",
    "LICENCE_FILE",
    "kind_of",
    "operations",
    "read_flatbuffer",
    "read_metadata",
    "with_metadata",
    "with_uint8_input",
    "write_flatbuffer",
]

FILE_FACTS = "tflite.json"
"""The archive's entry about this file: precision, inputs, outputs, size and sha256."""

LICENCE_FILE = "LICENSE"
"""The archive's entry with the licence of far_keras."""

_ZIP_ENTRY, _ZIP_END = b"PK\x03\x04", b"PK\x05\x06"
_NO_DATE = (1980, 1, 1, 0, 0, 0)  # equal models give equal files


def with_metadata(
    flatbuffer: bytes, description: ModelDescription, facts: Mapping[str, Any]
) -> bytes:
    """Puts the archive behind a flatbuffer.

    Args:
        flatbuffer: A .tflite file without an archive.
        description: The model's description.
        facts: JSON data about the file, such as its precision; length and sha256 are added.
    """
    facts = {
        **facts,
        "flatbuffer_bytes": len(flatbuffer),
        "flatbuffer_sha256": hashlib.sha256(flatbuffer).hexdigest(),
    }
    file = io.BytesIO()
    file.write(flatbuffer)
    # Appending to what is no archive makes one whose positions count from the file's start.
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        for name, text in (
            (DESCRIPTION_FILE, description.to_json()),
            (FILE_FACTS, json.dumps(facts, ensure_ascii=False)),
            (LICENCE_FILE, _licence()),
        ):
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), text)
    return file.getvalue()


def read_metadata(path: str | Path) -> tuple[ModelDescription, dict[str, Any], bytes]:
    """Reads a .tflite file of this package and checks that it is complete.

    Args:
        path: The file.

    Returns:
        The model's description, the facts about the file, and the flatbuffer.

    Raises:
        ModelError: The file does not exist, is no .tflite file, is truncated or altered, or lacks
            what `with_metadata` adds.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ModelError(f"{path}: expected a .tflite file. Received: a folder")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: cannot read the .tflite file: {error.strerror or error}. Check the path"
        ) from error
    if content[4:8] != IDENTIFIER:
        raise ModelError(
            f"{path}: expected a .tflite file. Received: {len(content):,} bytes of another kind "
            f"(bytes 4 to 7 are {content[4:8]!r}, not {IDENTIFIER!r})"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            text = archive.read(DESCRIPTION_FILE) if DESCRIPTION_FILE in names else None
            facts = json.loads(archive.read(FILE_FACTS)) if FILE_FACTS in names else None
        if facts is not None:
            length, digest = int(facts["flatbuffer_bytes"]), facts["flatbuffer_sha256"]
    except Exception as error:  # what zip and JSON raise depends on which byte is wrong
        if _ZIP_END in content[-66_000:] or _ZIP_ENTRY + b"\x14\x00" in content:
            raise ModelError(
                f"{path}: the file is truncated or damaged: its metadata cannot be read. "
                "Copy it again"
            ) from error
        names, text, facts = [], None, None
    if text is None or facts is None:
        raise ModelError(
            f"{path}: expected a .tflite file with the metadata that `far-keras export --tflite` "
            f"adds ({DESCRIPTION_FILE} and {FILE_FACTS} in a zip archive at the end). Received: a "
            "file without them; it is of other origin, or truncated. Export the model again, or "
            "copy it again"
        )
    flatbuffer = content[:length]
    if hashlib.sha256(flatbuffer).hexdigest() != digest:
        raise ModelError(
            f"{path}: the file was changed or damaged: the sha256 of the network is not that of "
            f"{FILE_FACTS}. Copy it again"
        )
    if "hollow" in facts:  # 0.1.0
        facts["weightless"] = facts.pop("hollow")
    return ModelDescription.from_json(text, f"{path}: {DESCRIPTION_FILE}"), facts, flatbuffer


def _licence() -> str:
    """The package's licence, from the installed package or the checkout."""
    checkout = Path(__file__).parents[2] / LICENCE_FILE
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    for file in metadata.files("far_keras") or ():
        if file.name == LICENCE_FILE:
            return file.read_text(encoding="utf-8")
    return "Apache-2.0\n"


IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of every .tflite file."""

_KINDS = {number: name for name, number in vars(schema.BuiltinOperator).items()}
_ALIGNMENT = 16  # of weights, as the format demands
_ADDED_BY_UINT8 = 128  # int8 is uint8 minus this


def read_flatbuffer(content: bytes) -> Any:
    """The file's content as a tree of plain objects, a ``schema_py_generated.ModelT``.

    Weights that the quantizer put behind the flatbuffer, where only new runtimes read them, are
    moved inside.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 mean no data
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(content[buffer.offset : end], np.uint8)
        buffer.offset = buffer.size = 0
    return model


def write_flatbuffer(model: Any) -> bytes:
    """The bytes of a model of `read_flatbuffer`.

    The format's own writer neither aligns weights nor shares equal data; this one does both.
    Without sharing, the zero points of a quantized EfficientNet-Lite0, all of them 0, take 350 kB.
    """
    builder = flatbuffers.Builder(1 << 20)
    vectors: dict[bytes, int] = {}
    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.Pack = _Packer(_pack_buffer, buffer)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = _short(_text(tensor.name))
            if tensor.quantization is not None:
                tensor.quantization.Pack = _Packer(_pack_quantization, tensor.quantization, vectors)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def operations(content: bytes) -> Counter[str]:
    """The number of operations of each kind in a file, by the format's names.

    Operations that need more than the runtime are ``"CUSTOM"``, among them those that run on
    TensorFlow's kernels ("Flex").
    """
    model = read_flatbuffer(content)
    return Counter(
        kind_of(model, operation) for graph in model.subgraphs for operation in graph.operators
    )


def kind_of(model: Any, operation: Any) -> str:
    """The format's name for the kind of an operation of `read_flatbuffer`'s tree."""
    code = model.operatorCodes[operation.opcodeIndex]
    # Old files have the number in one field, new ones in the other; the unused one is 0.
    return _KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]


def with_uint8_input(model: Any) -> Any:
    """Lets an int8 model take uint8 pixels: an operation in front subtracts 128.

    Args:
        model: Of `read_flatbuffer`, with one int8 input. It is changed.
    """
    graph = model.subgraphs[0]
    old = int(graph.inputs[0])
    inner = graph.tensors[old]
    outer = schema.TensorT()
    outer.__dict__.update(inner.__dict__)
    outer.type = schema.TensorType.UINT8
    outer.quantization = schema.QuantizationParametersT(
        scale=inner.quantization.scale,
        zeroPoint=np.array([int(inner.quantization.zeroPoint[0]) + _ADDED_BY_UINT8]),
    )
    inner.name = f"{_text(inner.name)}_int8"
    inner.buffer = outer.buffer = 0
    new = len(graph.tensors)
    graph.tensors.append(outer)
    code = schema.OperatorCodeT(
        builtinCode=schema.BuiltinOperator.QUANTIZE,
        deprecatedBuiltinCode=schema.BuiltinOperator.QUANTIZE,
        version=2,  # the first that takes uint8 to int8
    )
    model.operatorCodes.append(code)
    quantize = schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1,
        inputs=np.array([new], np.int32),
        outputs=np.array([old], np.int32),
    )
    graph.operators.insert(0, quantize)
    graph.inputs = np.array([new], np.int32)
    for signature in model.signatureDefs or ():
        for entry in signature.inputs:
            if entry.tensorIndex == old:
                entry.tensorIndex = new
    return model


class _Packer:
    """Replaces an object's method ``Pack``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __call__(self, builder: flatbuffers.Builder) -> int:
        return self.function(builder, *self.arguments)


def _pack_buffer(builder: flatbuffers.Builder, buffer: Any) -> int:
    data = _vector(builder, np.asarray(buffer.data, np.uint8), _ALIGNMENT)
    schema.BufferStart(builder)
    schema.BufferAddData(builder, data)
    return schema.BufferEnd(builder)


def _pack_quantization(
    builder: flatbuffers.Builder, quantization: Any, vectors: dict[bytes, int]
) -> int:
    def shared(values: Any, dtype: str) -> int:
        array = np.asarray(values, dtype)
        key = dtype.encode() + array.tobytes()
        if key not in vectors:
            vectors[key] = _vector(builder, array, array.itemsize)
        return vectors[key]

    scale = None if quantization.scale is None else shared(quantization.scale, "<f4")
    zero = None if quantization.zeroPoint is None else shared(quantization.zeroPoint, "<i8")
    details = None if quantization.details is None else quantization.details.Pack(builder)
    schema.QuantizationParametersStart(builder)
    if scale is not None:
        schema.QuantizationParametersAddScale(builder, scale)
    if zero is not None:
        schema.QuantizationParametersAddZeroPoint(builder, zero)
    if details is not None:
        schema.QuantizationParametersAddDetailsType(builder, quantization.detailsType)
        schema.QuantizationParametersAddDetails(builder, details)
    schema.QuantizationParametersAddQuantizedDimension(builder, quantization.quantizedDimension)
    return schema.QuantizationParametersEnd(builder)


def _vector(builder: flatbuffers.Builder, array: np.ndarray, alignment: int) -> int:
    """Writes a vector that begins at a multiple of `alignment`."""
    content = array.tobytes()
    builder.StartVector(array.itemsize, len(array), alignment)
    builder.head -= len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
    return builder.EndVector()


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _short(name: str) -> str:
    """The last two words of the first of the names that the converter joined."""
    return "/".join(name.split(";")[0].split("/")[-2:])
