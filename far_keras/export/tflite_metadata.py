"""What a .tflite file says of itself, in a zip archive behind the flatbuffer.

The runtime reads the flatbuffer from the front and needs nothing else; zip readers look from the
end. So one file is both, and `zipfile`, `unzip` or 30 lines on a phone read what belongs to it.
The archive is not compressed, so that they need no inflating.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from far_keras.errors import ModelError
from far_keras.export.description import DESCRIPTION_FILE, ModelDescription

__all__ = ["FILE_FACTS", "LICENCE_FILE", "read_metadata", "with_metadata"]

FILE_FACTS = "tflite.json"
"""The archive's entry on this very file: precision, inputs, outputs, its bytes and their sha256."""

LICENCE_FILE = "LICENSE"
"""The archive's entry with the licence under which far_keras itself is given."""

_IDENTIFIER = b"TFL3"
_ZIP_ENTRY, _ZIP_END = b"PK\x03\x04", b"PK\x05\x06"
_NO_DATE = (1980, 1, 1, 0, 0, 0)  # equal models give equal files


def with_metadata(
    flatbuffer: bytes, description: ModelDescription, facts: Mapping[str, Any]
) -> bytes:
    """Puts the archive behind a flatbuffer.

    Args:
        flatbuffer: A .tflite file without an archive.
        description: What the model's inputs and outputs mean.
        facts: JSON data on the file, such as its precision; length and sha256 are added.
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
    """Reads a .tflite file of this package and checks that it is whole.

    Args:
        path: The file.

    Returns:
        What the model's inputs and outputs mean, the facts about the file, and the flatbuffer.

    Raises:
        ModelError: There is no such file, or it is no .tflite, truncated, altered, or without
            what `with_metadata` adds.
    """
    path = Path(path)
    content = _read(path)
    if content[4:8] != _IDENTIFIER:
        raise ModelError(
            f"{path}: expected a .tflite file. Received: {len(content):,} bytes of another kind "
            f"(bytes 4 to 7 are {content[4:8]!r}, not {_IDENTIFIER!r})"
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
    return ModelDescription.from_json(text, f"{path}: {DESCRIPTION_FILE}"), facts, flatbuffer


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelError(f"{path}: expected a .tflite file. Received: a folder")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: cannot read the .tflite file: {error.strerror or error}. Check the path"
        ) from error


def _licence() -> str:
    """The package's licence, from the installed package or the checkout."""
    beside = Path(__file__).parents[2] / LICENCE_FILE
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    for file in metadata.files("far_keras") or ():
        if file.name == LICENCE_FILE:
            return file.read_text(encoding="utf-8")
    return "Apache-2.0\n"
