"""Predictions of a model on a server: images in, results out, without making a call itself.

As in `far_keras.serving.protocol`, a method that needs responses is an `Exchange`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from far_keras.errors import (
    FarError,
    ImageError,
    ModelNotFoundError,
    RequestError,
    ResponseError,
    ServingError,
)
from far_keras.images import image_name, open_image_file
from far_keras.results import FacePrediction
from far_keras.serving.channel import MAX_MESSAGE_BYTES, too_large
from far_keras.serving.protocol import ADVICE, Exchange, ModelReference, predict

if TYPE_CHECKING:
    from far_keras.export.description import ModelDescription

__all__ = ["Batcher", "NamedImage", "RemoteModel", "ServedImage", "ServedResult", "load_images"]

ServedImage = str | Path | bytes | np.ndarray
"""A path or a file's content, JPEG or PNG, or a uint8 RGB array (H, W, 3)."""

# Half of what a message may be: names and framing are small, but responses with masks are not.
_REQUEST_BYTES = MAX_MESSAGE_BYTES // 2

_MOST_DESCRIPTIONS = 16  # versions come and go on a server that runs for long
_BAD_INPUT = ("INVALID_ARGUMENT", "OUT_OF_RANGE")


@dataclass(frozen=True)
class ServedResult(FacePrediction):
    """The prediction of a model server for one image of an aligned face, or why there is none.

    With an error, the fields of `far_keras.results.FacePrediction` are empty.

    Args:
        file: The image's path, or ``"image 3"`` for what had the index 3 and no path.
        error: Why there is no prediction; None if there is one.
        model: The model's name on the server.
        version: The version of the model that predicted; 0 if the server does not report it.
    """

    file: str
    error: FarError | None = None
    model: str = ""
    version: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is a prediction."""
        return self.error is None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the masks but with their areas."""
        if self.error is not None:
            kind = type(self.error).__name__
            return {"file": self.file, "status": f"{kind}: {self.error}"}
        return {
            "file": self.file,
            "status": "ok",
            "model": self.model,
            "version": self.version,
            "attributes": self._attributes_to_dict(),
            **self._mask_areas_to_dict(),
        }


@dataclass(frozen=True)
class NamedImage:
    """An image that was given to the client.

    Args:
        name: Its path, or ``"image 3"``.
        source: What was given.
    """

    name: str
    source: Any

    @property
    def kind(self) -> tuple[int, ...] | str:
        """Images of one kind go into one request: encoded ones, or arrays of one shape."""
        return self.source.shape if isinstance(self.source, np.ndarray) else "encoded"


@dataclass(frozen=True)
class LoadedImage:
    """The content of an image, or an error instead.

    Args:
        name: Its path, or ``"image 3"``.
        content: The bytes of a JPEG or PNG file, or a uint8 array (H, W, 3).
        error: Why there is no content.
    """

    name: str
    content: bytes | np.ndarray = b""
    error: FarError | None = None


class Batcher:
    """Gathers images into batches, in order.

    Args:
        size: Images of one kind in a batch, at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: list[NamedImage] = []
        self._index = 0

    def add(self, source: Any) -> list[list[NamedImage]]:
        """Takes an image, or a uint8 array (N, H, W, 3) of several.

        Returns:
            The batches that are complete.
        """
        if isinstance(source, np.ndarray) and source.ndim == 4:
            return [batch for image in source for batch in self.add(image)]
        image, complete = NamedImage(image_name(source, self._index), source), []
        self._index += 1
        if self._waiting and self._waiting[0].kind != image.kind:
            complete += self.flush()
        self._waiting.append(image)
        if len(self._waiting) >= self._size:
            complete += self.flush()
        return complete

    def flush(self) -> list[list[NamedImage]]:
        """The rest, as a batch of its own."""
        batch, self._waiting = self._waiting, []
        return [batch] if batch else []


def is_one_image(source: Any) -> bool:
    """Whether this stands for one image: text, bytes and arrays are iterable too."""
    if isinstance(source, np.ndarray):
        return source.ndim != 4
    return isinstance(source, str | Path | bytes | bytearray | memoryview)


def load_images(batch: Sequence[NamedImage]) -> list[LoadedImage]:
    """Reads the files; one that cannot be read becomes an `ImageError` in its place."""
    loaded = []
    for image in batch:
        try:
            loaded.append(LoadedImage(image.name, _content(image)))
        except ImageError as error:
            loaded.append(LoadedImage(image.name, error=error))
    return loaded


class RemoteModel:
    """One model on a server.

    Args:
        reference: Which model.
        sensitive: Whether results hold sensitive attributes too.
    """

    def __init__(self, reference: ModelReference, sensitive: bool) -> None:
        self.reference = reference
        self._sensitive = sensitive
        self._descriptions: dict[int, ModelDescription] = {}
        self._last: ModelDescription | None = None
        self._lock = threading.Lock()

    def describe(self, version: int | None = None) -> Exchange[ModelDescription]:
        """What the model's outputs mean; requested once per version.

        Args:
            version: The version meant; None for the server's choice, or the last one used.

        Raises:
            RequestError: The model has no signature ``describe``.
        """
        version = version or None  # 0: the server does not report it
        known = self._last if version is None else self._descriptions.get(version)
        if known is not None:
            self._last = known
            return known
        from far_keras.export.description import ModelDescription

        model = self.reference
        try:
            # One row, whatever it holds: servers that batch refuse requests without an input.
            rows = {"rows": np.zeros(1, np.int32)}
            outputs, used = yield from predict(model, rows, "describe", ("json",), version)
        except RequestError as error:
            unknown_label = error.code == "INVALID_ARGUMENT" and model.label is not None
            if error.code not in ("FAILED_PRECONDITION", "INVALID_ARGUMENT") or unknown_label:
                raise
            raise RequestError(
                f"{error}. The signature 'describe', which models exported by far_keras have, says "
                "what a model's outputs mean; call other models with `predict_raw`",
                error.code,
            ) from error
        text = outputs.get("json")
        if text is None or text.dtype != object or text.size != 1:
            raise ResponseError(
                f"{model}: expected the signature 'describe' to return one text 'json'. "
                f"Received: { {name: value.shape for name, value in outputs.items()} }"
            )
        description = ModelDescription.from_json(text.ravel()[0], f"{model}, description")
        with self._lock:
            self._descriptions[version or used] = self._last = description
            while len(self._descriptions) > _MOST_DESCRIPTIONS:
                del self._descriptions[next(iter(self._descriptions))]
        return description

    def predict(self, images: Sequence[LoadedImage], masks: bool) -> Exchange[list[ServedResult]]:
        """A result for each image of a batch, in order.

        A server refuses a batch as a whole. Where one image may be the reason, the halves are sent
        again, until the broken ones are alone and all others have a prediction.
        """
        try:
            # First: it fails at once if the model is another's, whose signatures would refuse the
            # images with less clear words.
            yield from self.describe()
        except FarError as error:
            return [ServedResult(image.name, image.error or error) for image in images]
        predicted: list[ServedResult] = []
        for part in _split([image for image in images if image.error is None]):
            predicted += yield from self._predict_part(part, masks)
        rest = iter(predicted)
        return [
            next(rest) if image.error is None else ServedResult(image.name, image.error)
            for image in images
        ]

    def predict_aligned(
        self, images: np.ndarray, batch_size: int
    ) -> Exchange[dict[str, np.ndarray]]:
        """The outputs by name for aligned faces, uint8 (N, H, W, 3)."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise RequestError(
                "images: expected aligned faces as a uint8 RGB array of shape (N, H, W, 3). "
                f"Received: dtype {images.dtype}, shape {images.shape}"
            )
        description = yield from self.describe()
        if not len(images):
            return _no_outputs(description)
        most = max(1, _REQUEST_BYTES // max(1, images[0].nbytes))
        size, parts = min(batch_size, most), []
        for start in range(0, len(images), size):
            batch = {"images": images[start : start + size]}
            outputs, _ = yield from predict(self.reference, batch, "serve_uint8", ())
            parts.append(outputs)
        try:
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        except (KeyError, ValueError) as error:
            raise ResponseError(
                f"{self.reference}: expected the same outputs for each batch. Received: others "
                f"({error}); was the model replaced meanwhile?"
            ) from error

    def _predict_part(
        self, part: Sequence[LoadedImage], masks: bool
    ) -> Exchange[list[ServedResult]]:
        try:
            return (yield from self._predict_request(part, masks))
        except FarError as error:
            if isinstance(error, ServingError) and (error.code in _BAD_INPUT or too_large(error)):
                if len(part) > 1:
                    middle = len(part) // 2
                    first = yield from self._predict_part(part[:middle], masks)
                    return first + (yield from self._predict_part(part[middle:], masks))
                named = type(error)(f"{part[0].name}: {error}", error.code)
                named.__cause__ = error.__cause__
                return [ServedResult(part[0].name, named)]
            return [ServedResult(image.name, error) for image in part]

    def _predict_request(
        self, part: Sequence[LoadedImage], masks: bool, again: bool = False
    ) -> Exchange[list[ServedResult]]:
        contents = [image.content for image in part]
        inputs: dict[str, Any]
        if isinstance(contents[0], np.ndarray):
            signature, inputs = "serve_uint8", {"images": np.stack(contents)}
        else:
            signature, inputs = "serving_default", {"image_bytes": contents}
        wanted = () if masks else ("attributes",)
        outputs, version = yield from predict(self.reference, inputs, signature, wanted)
        try:
            description = yield from self.describe(version)
        except ModelNotFoundError:
            # Unloaded since it predicted: the next version serves now.
            if again or self.reference.version is not None:
                raise
            return (yield from self._predict_request(part, masks, again=True))
        attributes = set(description.attributes) - set(description.untrained)
        if not self._sensitive:
            attributes -= set(description.schema.sensitive or ())
        try:
            return _results(
                [image.name for image in part],
                outputs,
                description,
                attributes=attributes,
                model=self.reference.name,
                version=version,
                masks=masks and description.has_masks,
            )
        except ResponseError as error:
            raise ResponseError(f"{self.reference}: {error}; {ADVICE}", error.code) from error


def _results(
    files: Sequence[str],
    outputs: dict[str, np.ndarray],
    description: ModelDescription,
    *,
    attributes: Collection[str],
    model: str,
    version: int,
    masks: bool,
) -> list[ServedResult]:
    """One result per image from the outputs of a request."""
    schema = description.schema
    probabilities = _output(outputs, "attributes", (len(files), schema.num_attributes))
    areas: Sequence[np.ndarray | None] = [None] * len(files)
    if masks:
        assert description.mask_size is not None
        shape = (len(files), *description.mask_size, schema.num_groups)
        # (G, h, w) each, copied where others share the memory: one kept result must not keep all.
        stacked = np.asarray(_output(outputs, "masks", shape), np.float32)
        areas = [np.moveaxis(a.copy() if len(files) > 1 else a, -1, 0) for a in stacked]
    columns = [(i, name) for i, name in enumerate(schema.attributes) if name in attributes]
    thresholds = {name: description.thresholds[name] for _, name in columns}
    group_of = {name: group.name for group in schema.groups for name in group.attributes}
    results = []
    for file, row, area in zip(files, probabilities.tolist(), areas, strict=True):
        values = {name: row[index] for index, name in columns}
        results.append(
            ServedResult(
                file=file,
                model=model,
                version=version,
                probabilities=values,
                thresholds=dict(thresholds),
                decisions={name: value >= thresholds[name] for name, value in values.items()},
                masks=area,
                groups=schema.group_names if masks else (),
                group_of=dict(group_of),
            )
        )
    return results


def _output(outputs: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in outputs:
        raise ResponseError(f"expected an output {name!r}. Received: {sorted(outputs)}")
    value = outputs[name]
    if value.shape != shape or value.dtype.kind != "f":
        raise ResponseError(
            f"output {name!r}: expected floating-point numbers of shape {shape}. "
            f"Received: {value.dtype} of shape {value.shape}"
        )
    # Also false for NaN.
    if not (value.min(initial=0) >= 0 and value.max(initial=0) <= 1):
        raise ResponseError(
            f"output {name!r}: expected probabilities in [0, 1]. "
            f"Received: {value.min()} to {value.max()}"
        )
    return value


def _no_outputs(description: ModelDescription) -> dict[str, np.ndarray]:
    count, size = len(description.attributes), description.mask_size
    outputs = {name: np.zeros((0, count), np.float32) for name in ("attributes", "logits")}
    if size is not None:
        outputs["masks"] = np.zeros((0, *size, len(description.groups)), np.float32)
    return outputs


def _split(images: Sequence[LoadedImage]) -> Iterator[Sequence[LoadedImage]]:
    """Cuts a batch where one message would be too large."""
    start = total = 0
    for index, image in enumerate(images):
        size = _nbytes(image.content)
        if index > start and total + size > _REQUEST_BYTES:
            yield images[start:index]
            start, total = index, 0
        total += size
    if start < len(images):
        yield images[start:]


def _nbytes(content: bytes | np.ndarray) -> int:
    return content.nbytes if isinstance(content, np.ndarray) else len(content)


def _content(image: NamedImage) -> bytes | np.ndarray:
    source = image.source
    content: bytes | np.ndarray
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise ImageError(
                "image: expected a uint8 RGB array of shape (H, W, 3), an aligned face. "
                f"Received: dtype {source.dtype}, shape {source.shape}"
            )
        content = source
    elif isinstance(source, str | Path):
        content = _read(Path(source))
    elif isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    else:
        raise ImageError(
            "image: expected a path, bytes or a uint8 RGB array. "
            f"Received: an object of type {type(source).__name__}"
        )
    if not _nbytes(content):
        raise ImageError(f"{image.name}: expected the content of a file. Received: 0 bytes")
    _check_size(image.name, _nbytes(content), MAX_MESSAGE_BYTES - 1024)
    return content


def _check_size(name: object, size: int, most: int = MAX_MESSAGE_BYTES) -> None:
    if size > most:
        raise ImageError(
            f"{name}: expected at most {MAX_MESSAGE_BYTES:,} bytes. Received: {size:,}; scale the "
            "image down"
        )


def _read(path: Path) -> bytes:
    with open_image_file(path) as file:
        # Before it is read: a file may be larger than the memory.
        _check_size(path, os.fstat(file.fileno()).st_size)
        return file.read()
