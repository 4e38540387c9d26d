"""What is asked of a model server, and what its answers mean, without sending anything.

Each question is a generator: it yields `Call`s, is sent the answers, and returns the result. So the
blocking and the asynchronous client ask the same questions and differ in how calls are made.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from far_keras.errors import FarError, ModelNotFoundError, RequestError, ResponseError, ServingError
from far_keras.serving.failures import too_large
from far_keras.serving.messages.serving_pb2 import ModelSpec
from far_keras.serving.pictures import Loaded, requests
from far_keras.serving.results import ServedResult, served_results
from far_keras.serving.services import PREDICT, Call
from far_keras.serving.tensors import TensorError, decode_tensor, encode_tensor

if TYPE_CHECKING:
    from far_keras.export.description import ModelDescription

__all__ = ["Question", "RemoteModel"]

Answer = TypeVar("Answer")
Question = Generator[Call, Any, Answer]

_MOST_DESCRIPTIONS = 16  # versions come and go on a server that runs for long
_ADVICE = "look into the server's log, and export the model again"
_BAD_INPUT = ("INVALID_ARGUMENT", "OUT_OF_RANGE")


class RemoteModel:
    """One model on a server.

    Args:
        target: The server's address.
        name: The name that the server has it under.
        version: The version to ask; None for the server's choice, the newest.
        label: The label of the version to ask, such as ``"stable"``; not beside `version`.
        sensitive: Whether sensitive attributes are answered too.

    Raises:
        RequestError: An empty name, a version that is no number from 1 on, or both.
    """

    def __init__(
        self, target: str, name: str, version: int | None, label: str | None, sensitive: bool
    ) -> None:
        if not isinstance(name, str) or not name:
            raise RequestError(f"model: expected the model's name. Received: {name!r}")
        if version is not None and (
            not isinstance(version, int) or isinstance(version, bool) or version < 1
        ):
            raise RequestError(f"version: expected a number from 1 on. Received: {version!r}")
        if label is not None and (not isinstance(label, str) or not label):
            raise RequestError(f"label: expected text. Received: {label!r}")
        if version is not None and label is not None:
            raise RequestError(
                f"expected a version or a label, not both. Received: {version} and {label!r}"
            )
        self.target, self.name, self.version, self.label = target, name, version, label
        self._sensitive = sensitive
        self._descriptions: dict[int, ModelDescription] = {}
        self._last: ModelDescription | None = None
        self._lock = threading.Lock()

    def __str__(self) -> str:
        chosen = f", version {self.version}" if self.version is not None else ""
        label = f", label {self.label!r}" if self.label is not None else ""
        return f"{self.target}: model {self.name!r}{chosen}{label}"

    def spec(self, signature: str = "", version: int | None = None) -> ModelSpec:
        """Which model is meant; `version` instead of the chosen one if given."""
        spec = ModelSpec(name=self.name, signature_name=signature)
        if version is None:
            version = self.version
        if version is not None:
            spec.version.value = version
        elif self.label is not None:
            spec.version_label = self.label
        return spec

    def describe(self, version: int | None = None) -> Question[ModelDescription]:
        """What the model answers, asked once a version.

        Args:
            version: The version meant; None for the one that answers now, or that answered last.

        Raises:
            RequestError: The model has no signature ``describe``.
        """
        version = version or None  # 0: the server does not say
        known = self._last if version is None else self._descriptions.get(version)
        if known is not None:
            self._last = known
            return known
        from far_keras.export.description import ModelDescription

        try:
            # One row, whatever it holds: servers that batch refuse requests without an input.
            rows = {"rows": np.zeros(1, np.int32)}
            outputs, answered = yield from self.predict_raw(rows, "describe", ("json",), version)
        except RequestError as error:
            unknown_label = error.code == "INVALID_ARGUMENT" and self.label is not None
            if error.code not in ("FAILED_PRECONDITION", "INVALID_ARGUMENT") or unknown_label:
                raise
            raise RequestError(
                f"{error}. What the model's outputs mean is told by a signature 'describe', which "
                "models exported by far_keras have; other models answer `predict_raw`",
                error.code,
            ) from error
        text = outputs.get("json")
        if text is None or text.dtype != object or text.size != 1:
            raise ResponseError(
                f"{self}: expected the signature 'describe' to give one text 'json'. "
                f"Received: { {name: value.shape for name, value in outputs.items()} }"
            )
        description = ModelDescription.from_json(text.ravel()[0], f"{self}, description")
        with self._lock:
            self._descriptions[version or answered] = self._last = description
            while len(self._descriptions) > _MOST_DESCRIPTIONS:
                del self._descriptions[next(iter(self._descriptions))]
        return description

    def predict_raw(
        self,
        inputs: Mapping[str, Any],
        signature: str,
        outputs: Sequence[str],
        version: int | None = None,
    ) -> Question[tuple[dict[str, np.ndarray], int]]:
        """Arrays in, arrays and the version that answered out."""
        message = PREDICT.request(
            model_spec=self.spec(signature, version), output_filter=list(outputs)
        )
        for name, value in inputs.items():
            try:
                encode_tensor(value, message.inputs[name])
            except TensorError as error:
                raise RequestError(f"inputs, {name!r}: {error}") from error
        response = yield Call(PREDICT, message, str(self))
        arrays = {}
        for name, tensor in response.outputs.items():
            try:
                arrays[name] = decode_tensor(tensor)
            except TensorError as error:
                raise ResponseError(f"{self}, output {name!r}: {error}; {_ADVICE}") from error
        return arrays, response.model_spec.version.value

    def answer(self, pictures: Sequence[Loaded], masks: bool) -> Question[list[ServedResult]]:
        """A result for each image of a batch, in order; see `ServedResult`.

        A server refuses a batch as a whole. Where one image may be the reason, the halves are
        asked again, until the broken ones stand alone and all others are answered.
        """
        try:
            # First: it says at once if the model is another's, whose signatures would refuse the
            # images with less clear words.
            yield from self.describe()
        except FarError as error:
            return [ServedResult(p.name, error=p.error or error) for p in pictures]
        results: dict[int, ServedResult] = {
            index: ServedResult(picture.name, error=picture.error)
            for index, picture in enumerate(pictures)
            if picture.error is not None
        }
        readable = [index for index in range(len(pictures)) if index not in results]
        answered: list[ServedResult] = []
        for part in requests([pictures[index] for index in readable]):
            answered += yield from self._answer(part, masks)
        results.update(zip(readable, answered, strict=True))
        return [results[index] for index in range(len(pictures))]

    def answer_aligned(
        self, images: np.ndarray, batch_size: int
    ) -> Question[dict[str, np.ndarray]]:
        """The outputs by name for aligned faces, uint8 (N, H, W, 3)."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise RequestError(
                "images: expected aligned faces as a uint8 RGB array of shape (N, H, W, 3). "
                f"Received: dtype {images.dtype}, shape {images.shape}"
            )
        description = yield from self.describe()
        if not len(images):
            return _no_outputs(description)
        parts = []
        for start in range(0, len(images), batch_size):
            faces = [Loaded("", face) for face in images[start : start + batch_size]]
            for part in requests(faces):
                batch = np.stack([np.asarray(face.content) for face in part])
                outputs, _ = yield from self.predict_raw({"images": batch}, "serve_uint8", ())
                parts.append(outputs)
        if len(parts) == 1:
            return parts[0]
        try:
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        except (KeyError, ValueError) as error:
            raise ResponseError(
                f"{self}: expected the same outputs for each batch. Received: others "
                f"({error}); was the model replaced meanwhile?"
            ) from error

    def _answer(self, part: Sequence[Loaded], masks: bool) -> Question[list[ServedResult]]:
        try:
            return (yield from self._ask(part, masks))
        except FarError as error:
            if len(part) > 1 and _may_be_one_picture(error):
                middle = len(part) // 2
                first = yield from self._answer(part[:middle], masks)
                return first + (yield from self._answer(part[middle:], masks))
            if _may_be_one_picture(error):
                assert isinstance(error, ServingError)
                named = type(error)(f"{part[0].name}: {error}", error.code)
                named.__cause__ = error.__cause__
                error = named
            return [ServedResult(picture.name, error=error) for picture in part]

    def _ask(
        self, part: Sequence[Loaded], masks: bool, again: bool = False
    ) -> Question[list[ServedResult]]:
        contents = [picture.content for picture in part]
        if isinstance(contents[0], np.ndarray):
            signature, inputs = "serve_uint8", {"images": np.stack(contents)}
        else:
            signature, inputs = "serving_default", {"image_bytes": contents}  # type: ignore[dict-item]
        wanted = () if masks else ("attributes",)
        outputs, version = yield from self.predict_raw(inputs, signature, wanted)
        try:
            description = yield from self.describe(version)
        except ModelNotFoundError:
            # Unloaded since it answered: the next version answers.
            if again or self.version is not None:
                raise
            return (yield from self._ask(part, masks, again=True))
        answered = set(description.attributes) - set(description.untrained)
        if not self._sensitive:
            answered -= set(description.schema.sensitive or ())
        try:
            return served_results(
                [picture.name for picture in part],
                outputs,
                description,
                answered=answered,
                model=self.name,
                version=version,
                masks=masks,
            )
        except ResponseError as error:
            raise ResponseError(f"{self}: {error}; {_ADVICE}", error.code) from error


def _may_be_one_picture(error: FarError) -> bool:
    return isinstance(error, ServingError) and (error.code in _BAD_INPUT or too_large(error))


def _no_outputs(description: ModelDescription) -> dict[str, np.ndarray]:
    count, size = len(description.attributes), description.mask_size
    outputs = {name: np.zeros((0, count), np.float32) for name in ("attributes", "logits")}
    if size is not None:
        outputs["masks"] = np.zeros((0, *size, len(description.groups)), np.float32)
    return outputs
