"""A client for model servers that speak TensorFlow Serving's gRPC API. It loads no TensorFlow."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import grpc
import numpy as np

from far_keras.errors import ServingError
from far_keras.serving import administration
from far_keras.serving.administration import ModelsConfig
from far_keras.serving.call_scope import CallScope
from far_keras.serving.channel import Tls
from far_keras.serving.failures import failure, too_late
from far_keras.serving.pictures import Batcher, Picture, ServedImage, is_one_picture, load
from far_keras.serving.remote_model import Question
from far_keras.serving.results import ServedResult, Signature, VersionStatus
from far_keras.serving.retry import Deadline, Retry
from far_keras.serving.services import METHODS, Call
from far_keras.serving.settings import ClientSettings

if TYPE_CHECKING:
    from far_keras.export.description import ModelDescription

__all__ = ["FarClient"]

Answer = TypeVar("Answer")

_NEVER = Retry(0)


class FarClient:
    """Asks one model of a server. Keep one: all calls share its connection. Thread-safe.

    The model answers images of *aligned faces* (see `far_keras.faces.alignment`): the client
    sends them as they are and does not look for faces. For photographs, give the client to
    `far_keras.Recognizer`.

    Args:
        target: The server, ``"host:8500"``; ``"[::1]:8500"`` for an IPv6 address.
        model: The name that the server has the model under.
        version: The version to ask; None for the server's choice, the newest.
        label: The label of the version to ask, such as ``"stable"``; not beside `version`.
        timeout: Seconds that a call may take, retries included.
        tls: None for a connection in the clear; True for TLS with gRPC's authorities; the path of
            a PEM file with the authorities; or a `far_keras.serving.Tls`.
        retries: How often a call that found no server is tried again, within the timeout.
        batch_size: Images in one request, at most.
        in_flight: Requests of one stream on their way at a time, at most.
        sensitive: Whether `predict` and `stream` answer sensitive attributes too, such as Male; see
            `far_keras.AttributeSchema`.

    Raises:
        RequestError: An argument is not what it has to be.

    Example:
        >>> with FarClient("localhost:8500", model="mgmtn") as client:  # doctest: +SKIP
        ...     client.predict("face.jpg").decisions["Smiling"]
        True
    """

    def __init__(
        self,
        target: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        tls: bool | str | Path | Tls | None = None,
        retries: int = 4,
        batch_size: int = 16,
        in_flight: int = 4,
        sensitive: bool = False,
    ) -> None:
        self._settings = ClientSettings.check(
            target,
            model,
            version=version,
            label=label,
            timeout=timeout,
            tls=tls,
            retries=retries,
            batch_size=batch_size,
            in_flight=in_flight,
            sensitive=sensitive,
        )
        settings = self._settings
        self._model = settings.model
        if settings.credentials is None:
            self._channel = grpc.insecure_channel(settings.target, settings.options)
        else:
            self._channel = grpc.secure_channel(
                settings.target, settings.credentials, settings.options
            )
        self._methods = {
            method.path: self._channel.unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
            for method in METHODS
        }
        self._process = os.getpid()
        self._closed = threading.Event()

    @property
    def target(self) -> str:
        """The server's address."""
        return self._settings.target

    @property
    def description(self) -> ModelDescription:
        """What the model answers: attributes, groups, thresholds, input size.

        Of the version that answered last; asked from the server once a version.

        Raises:
            ServingError: The server is not reached, or the model has no signature ``describe``.
        """
        return self._ask(self._model.describe())

    # Text, bytes and arrays are iterable too, but stand for one image: the first match counts.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, pictures: ServedImage, *, masks: bool = True
    ) -> ServedResult: ...

    @overload
    def predict(
        self, pictures: Iterable[ServedImage], *, masks: bool = True
    ) -> list[ServedResult]: ...

    def predict(
        self, pictures: ServedImage | Iterable[ServedImage], *, masks: bool = True
    ) -> ServedResult | list[ServedResult]:
        """Answers one image of an aligned face, or each of several.

        Args:
            images: A path or a file's content (JPEG or PNG of any size), or a uint8 RGB array
                (H, W, 3); or an iterable of these, or an array (N, H, W, 3).
            masks: Whether the group masks are wanted; without them answers are smaller.

        Returns:
            A result for one image; for several a list in their order, in which an image that
            could not be answered has its `ServedResult.error`.

        Raises:
            ImageError: The one image cannot be read.
            ServingError: The one image could not be answered, or the server or the model is not
                to be reached at all.
        """
        if not is_one_picture(pictures):
            return list(self.stream(pictures, masks=masks))  # type: ignore[arg-type]
        deadline = self._deadline()
        name = str(pictures) if isinstance(pictures, str | Path) else "picture"
        loaded = load([Picture(name, pictures)])
        (result,) = self._ask(self._model.answer(loaded, masks), deadline)
        if result.error is not None:
            raise result.error
        return result

    def stream(
        self, pictures: Iterable[ServedImage], *, masks: bool = True
    ) -> Iterator[ServedResult]:
        """Answers images in their order, without holding them all; the iterable may be endless.

        Some ``batch_size * in_flight`` images are taken before the first result. Close the
        iterator, or leave the loop, to cancel what is on its way.

        Args:
            images: See `predict`.
            masks: See `predict`.

        Yields:
            A result an image. One that could not be answered, whatever the reason, has its
            `ServedResult.error`, and the stream goes on.

        Raises:
            ServingError: The server or the model is not to be reached at the beginning, or the
                client is closed meanwhile.
        """
        self._check_open()
        self._ask(self._model.describe())
        scope = CallScope()
        pool = ThreadPoolExecutor(self._settings.in_flight, thread_name_prefix="far_keras-client")
        try:
            waiting: deque[Future[list[ServedResult]]] = deque()
            for batch in _batches(pictures, self._settings.batch_size):
                self._check_open()
                waiting.append(pool.submit(self._answer, batch, masks, scope))
                while waiting and (len(waiting) >= self._settings.in_flight or waiting[0].done()):
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            scope.cancel()
            pool.shutdown(cancel_futures=True)

    def predict_aligned(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The model's outputs for aligned faces, as arrays.

        Args:
            images: uint8 RGB (N, H, W, 3).

        Returns:
            ``"attributes"`` (N, A) calibrated probabilities, ``"logits"`` (N, A) and, if the model
            has masks, ``"masks"`` (N, h, w, G) probabilities; all float32. Names and thresholds
            are in `description`.

        Raises:
            ServingError: A part could not be answered.
        """
        return self._ask(self._model.answer_aligned(np.asarray(images), self._settings.batch_size))

    def predict_raw(
        self,
        inputs: Mapping[str, Any],
        signature: str = "serving_default",
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Calls any signature of any model: arrays in, arrays out.

        Args:
            inputs: By name, arrays of numbers, bytes or text.
            signature: `metadata` lists what there is.
            outputs: Names of the outputs wanted; all if empty.

        Raises:
            ServingError: The call failed.
        """
        return self._ask(self._model.predict_raw(inputs, signature, outputs))[0]

    def is_ready(self) -> bool:
        """Whether the model, in the version or of the label that this client asks, answers now.

        Asked once, without retries.
        """
        question = administration.status(self._model)
        try:
            return any(entry.available for entry in self._ask(question, retry=_NEVER))
        except ServingError:
            self._check_open()
            return False

    def status(self) -> tuple[VersionStatus, ...]:
        """The model's versions on the server, from the newest to the oldest.

        Raises:
            ServingError: The call failed; `ModelNotFoundError` if the server has no such model.
        """
        return self._ask(administration.status(self._model))

    def metadata(self) -> dict[str, Signature]:
        """The model's signatures by name: what each takes and gives.

        Raises:
            ServingError: The call failed.
        """
        return self._ask(administration.metadata(self._model))

    def reload(self, models: ModelsConfig) -> None:
        """Replaces the list of models that the server serves. All others are unloaded.

        Args:
            models: A ``models.config`` file in protobuf's text format, or base paths (as the
                server sees them) by model name.

        Raises:
            RequestError: The file is missing or no ``models.config``, or no model is named.
            ServingError: The server could not do it.
        """
        self._ask(administration.reload(self._model, models))

    def health(self, service: str = "") -> str:
        """The server's health, after grpc.health.v1: ``"SERVING"``, ``"NOT_SERVING"`` ...

        Args:
            service: The service or model meant; the whole server if empty.

        Raises:
            ServingError: The call failed; TF Serving answers only if it is started so.
        """
        return self._ask(administration.health(self._model, service))

    def close(self) -> None:
        """Closes the connection and cancels what is on its way; also at the end of ``with``."""
        self._closed.set()
        if self._process == os.getpid():
            self._channel.close()

    def __enter__(self) -> FarClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.timeout)

    def _check_open(self) -> None:
        self._settings.check_usable(self._closed.is_set(), self._process)

    def _answer(self, batch: list[Picture], masks: bool, scope: CallScope) -> list[ServedResult]:
        return self._ask(self._model.answer(load(batch), masks), scope=scope)

    def _ask(
        self,
        question: Question[Answer],
        deadline: Deadline | None = None,
        scope: CallScope | None = None,
        retry: Retry | None = None,
    ) -> Answer:
        """Makes the calls of a question: within `deadline` together, or the timeout for each."""
        retry = retry or self._settings.retry
        try:
            call = next(question)
            while True:
                try:
                    response = self._call(call, deadline or self._deadline(), scope, retry)
                except ServingError as error:
                    call = question.throw(error)
                else:
                    call = question.send(response)
        except StopIteration as finished:
            return finished.value

    def _call(self, call: Call, deadline: Deadline, scope: CallScope | None, retry: Retry) -> Any:
        method = self._methods[call.method.path]
        for tried in count(1):
            self._check_open()
            left = deadline.left()
            if left <= 0:
                raise too_late(call, deadline.seconds)
            try:
                if scope is None:
                    return method(call.message, timeout=left)
                return scope.result(method.future(call.message, timeout=left))
            except grpc.RpcError as error:
                self._check_open()
                failed = failure(error, call, deadline.seconds)
                pause = retry.pause(tried, failed, deadline)
                if pause is None:
                    raise failed from error
            except ValueError:  # what gRPC says of a closed channel
                self._check_open()
                raise
            (scope.cancelled if scope else self._closed).wait(pause)
        raise AssertionError


def _batches(pictures: Iterable[ServedImage], size: int) -> Iterator[list[Picture]]:
    batcher = Batcher(size)
    for picture in pictures:
        yield from batcher.add(picture)
    yield from batcher.flush()
