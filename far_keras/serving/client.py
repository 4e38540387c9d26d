"""A client for model servers with TensorFlow Serving's gRPC API. It loads no TensorFlow."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import grpc
import numpy as np

from far_keras.errors import RequestError, ServingError
from far_keras.serving import protocol
from far_keras.serving.channel import (
    CallScope,
    Deadline,
    Retry,
    Tls,
    channel_options,
    check_target,
    credentials,
    failure,
    too_late,
)
from far_keras.serving.protocol import (
    METHODS,
    Call,
    Exchange,
    ModelReference,
    ModelsConfig,
    ModelSignature,
    VersionStatus,
)
from far_keras.serving.remote_model import (
    Batcher,
    NamedImage,
    RemoteModel,
    ServedImage,
    ServedResult,
    is_one_image,
    load_images,
)

if TYPE_CHECKING:
    from far_keras.export.description import ModelDescription

__all__ = ["FarClient"]

Result = TypeVar("Result")

NO_RETRY = Retry(0)


@dataclass(frozen=True)
class Attempt:
    """A try to make a call, within so many seconds."""

    call: Call
    seconds: float


class BaseClient:
    """What the synchronous and the asynchronous client share; `FarClient` describes arguments."""

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
        if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
            raise RequestError(
                f"timeout: expected seconds, more than 0 and finite. Received: {timeout!r}"
            )
        for name, value in (("batch_size", batch_size), ("in_flight", in_flight)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise RequestError(
                    f"{name}: expected a whole number from 1 on. Received: {value!r}"
                )
        self._target = check_target(target)
        self._reference = ModelReference(self._target, model, version, label)
        self._model = RemoteModel(self._reference, sensitive)
        self._timeout = float(timeout)
        self._retry = Retry(retries)
        self._batch_size, self._in_flight = batch_size, in_flight
        self._channel = self._open_channel(credentials(tls), channel_options(tls))
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
        return self._target

    def _open_channel(
        self, encryption: grpc.ChannelCredentials | None, options: list[tuple[str, int | str]]
    ) -> Any:
        raise NotImplementedError

    def _deadline(self) -> Deadline:
        return Deadline(self._timeout)

    def _check_usable(self) -> None:
        """Raises ServingError if the client is closed, or was opened in another process."""
        if self._process != os.getpid():
            raise ServingError(
                f"{self._target}: the client was opened in process {self._process} and cannot be "
                f"used in its child {os.getpid()}: gRPC's connections do not survive a fork. Open "
                "a client in each process, or start processes with multiprocessing's 'spawn'"
            )
        if self._closed.is_set():
            raise ServingError(
                f"{self._target}: the client is closed; open another one", "CANCELLED"
            )

    def _steps(
        self, exchange: Exchange[Result], deadline: Deadline | None, retry: Retry | None
    ) -> Generator[Attempt | float, Any, Result]:
        """The attempts of an exchange, and the pauses in seconds between them.

        It is sent the response to an attempt, or is thrown its `grpc.RpcError`.

        Args:
            exchange: What to do.
            deadline: For all calls together; None for the client's timeout for each.
            retry: None for the client's.
        """
        try:
            call = next(exchange)
            while True:
                try:
                    response = yield from self._attempts(
                        call, deadline or self._deadline(), retry or self._retry
                    )
                except ServingError as error:
                    call = exchange.throw(error)
                else:
                    call = exchange.send(response)
        except StopIteration as finished:
            return finished.value

    def _attempts(
        self, call: Call, deadline: Deadline, retry: Retry
    ) -> Generator[Attempt | float, Any, Any]:
        for tried in count(1):
            self._check_usable()
            left = deadline.left()
            if left <= 0:
                raise too_late(call, deadline.seconds)
            try:
                return (yield Attempt(call, left))
            except grpc.RpcError as error:
                self._check_usable()
                failed = failure(error, call, deadline.seconds)
                pause = retry.pause(tried, failed, deadline)
                if pause is None:
                    raise failed from error
            yield pause


def one_image(image: Any) -> NamedImage:
    """The one image that `predict` was given."""
    return NamedImage(str(image) if isinstance(image, str | Path) else "image", image)


class FarClient(BaseClient):
    """The client of one model on a server. Keep one: all calls share its connection. Thread-safe.

    The model takes images of *aligned faces* (see `far_keras.faces.alignment`): the client sends
    them as they are and does not look for faces. For photographs, give the client to
    `far_keras.Recognizer`.

    Args:
        target: The server, ``"host:8500"``; ``"[::1]:8500"`` for an IPv6 address.
        model: The model's name on the server.
        version: The version to use; None for the server's choice, the newest.
        label: The label of the version, such as ``"stable"``; not together with `version`.
        timeout: Seconds that a call may take, retries included.
        tls: None for a connection in the clear; True for TLS with gRPC's authorities; the path of
            a PEM file with the authorities; or a `far_keras.serving.Tls`.
        retries: How often a call that found no server is tried again, within the timeout.
        batch_size: Images in one request, at most.
        in_flight: Simultaneous requests of one stream, at most.
        sensitive: Whether results of `predict` and `stream` hold sensitive attributes too, such as
            Male; see `far_keras.AttributeSchema`.

    Raises:
        RequestError: An argument is not what it has to be.

    Example:
        >>> with FarClient("localhost:8500", model="mgmtn") as client:  # doctest: +SKIP
        ...     client.predict("face.jpg").decisions["Smiling"]
        True
    """

    @property
    def description(self) -> ModelDescription:
        """What the outputs mean: attributes, groups, thresholds, input size.

        Of the version that was used last; requested from the server once per version.

        Raises:
            ServingError: The server is not reached, or the model has no signature ``describe``.
        """
        return self._run(self._model.describe())

    # Text, bytes and arrays are iterable too, but stand for one image: the first match counts.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, images: ServedImage, *, masks: bool = True
    ) -> ServedResult: ...

    @overload
    def predict(
        self, images: Iterable[ServedImage], *, masks: bool = True
    ) -> list[ServedResult]: ...

    def predict(
        self, images: ServedImage | Iterable[ServedImage], *, masks: bool = True
    ) -> ServedResult | list[ServedResult]:
        """The prediction for one image of an aligned face, or for each of several.

        Args:
            images: A path or a file's content (JPEG or PNG of any size), or a uint8 RGB array
                (H, W, 3); or an iterable of these, or an array (N, H, W, 3).
            masks: Whether results hold group masks; responses without them are smaller.

        Returns:
            A result for one image; for several a list in their order, in which an image without a
            prediction has its `ServedResult.error`.

        Raises:
            ImageError: The one image cannot be read.
            ServingError: There is no prediction for the one image, or the server or the model is
                not reached at all.
        """
        if not is_one_image(images):
            return list(self.stream(images, masks=masks))  # type: ignore[arg-type]
        deadline = self._deadline()
        loaded = load_images([one_image(images)])
        (result,) = self._run(self._model.predict(loaded, masks), deadline)
        if result.error is not None:
            raise result.error
        return result

    def stream(
        self, images: Iterable[ServedImage], *, masks: bool = True
    ) -> Iterator[ServedResult]:
        """Predicts images in their order, without holding them all; the iterable may be endless.

        Some ``batch_size * in_flight`` images are taken before the first result. Close the
        iterator, or leave the loop, to cancel pending requests.

        Args:
            images: See `predict`.
            masks: See `predict`.

        Yields:
            One result per image. Where there is no prediction, whatever the reason, it has its
            `ServedResult.error`, and the stream goes on.

        Raises:
            ServingError: The server or the model is not reached at the beginning, or the client is
                closed meanwhile.
        """
        self._check_usable()
        self._run(self._model.describe())
        scope = CallScope()
        pool = ThreadPoolExecutor(self._in_flight, thread_name_prefix="far_keras-client")
        try:
            waiting: deque[Future[list[ServedResult]]] = deque()
            for batch in _batches(images, self._batch_size):
                self._check_usable()
                waiting.append(pool.submit(self._predict, batch, masks, scope))
                while waiting and (len(waiting) >= self._in_flight or waiting[0].done()):
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
            ServingError: A call failed.
        """
        return self._run(self._model.predict_aligned(np.asarray(images), self._batch_size))

    def predict_raw(
        self,
        inputs: Mapping[str, Any],
        signature: str = "serving_default",
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Calls any signature of any model: arrays in, arrays out.

        Args:
            inputs: By name, arrays of numbers, bytes or text.
            signature: One of `metadata`.
            outputs: Names of the outputs to return; all if empty.

        Raises:
            ServingError: The call failed.
        """
        return self._run(protocol.predict(self._reference, inputs, signature, outputs))[0]

    def is_ready(self) -> bool:
        """Whether the model, in the client's version or label, is available; without retries."""
        try:
            versions = self._run(protocol.status(self._reference), retry=NO_RETRY)
        except ServingError:
            self._check_usable()
            return False
        return any(entry.available for entry in versions)

    def status(self) -> tuple[VersionStatus, ...]:
        """The model's versions on the server, from the newest to the oldest.

        Raises:
            ServingError: The call failed; `ModelNotFoundError` if the server has no such model.
        """
        return self._run(protocol.status(self._reference))

    def metadata(self) -> dict[str, ModelSignature]:
        """The inputs and outputs of the model's signatures, by name.

        Raises:
            ServingError: The call failed.
        """
        return self._run(protocol.metadata(self._reference))

    def reload(self, models: ModelsConfig) -> None:
        """Replaces the list of models that the server serves. All others are unloaded.

        Args:
            models: A ``models.config`` file in protobuf's text format, or base paths (as the
                server sees them) by model name.

        Raises:
            RequestError: The file is missing or no ``models.config``, or no model is named.
            ServingError: The server could not do it.
        """
        self._run(protocol.reload(self._reference, models))

    def health(self, service: str = "") -> str:
        """The server's health, after grpc.health.v1: ``"SERVING"``, ``"NOT_SERVING"`` ...

        Args:
            service: The service or model meant; the whole server if empty.

        Raises:
            ServingError: The call failed; TF Serving has this service only if it is started so.
        """
        return self._run(protocol.health(self._reference, service))

    def close(self) -> None:
        """Closes the connection and cancels pending calls; also at the end of ``with``."""
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

    def _open_channel(
        self, encryption: grpc.ChannelCredentials | None, options: list[tuple[str, int | str]]
    ) -> grpc.Channel:
        if encryption is None:
            return grpc.insecure_channel(self._target, options)
        return grpc.secure_channel(self._target, encryption, options)

    def _run(
        self,
        exchange: Exchange[Result],
        deadline: Deadline | None = None,
        scope: CallScope | None = None,
        retry: Retry | None = None,
    ) -> Result:
        """Makes the calls of an exchange; see `_steps`."""
        steps = self._steps(exchange, deadline, retry)
        try:
            step = next(steps)
            while True:
                try:
                    response = self._do(step, scope)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(response)
        except StopIteration as finished:
            return finished.value

    def _do(self, step: Attempt | float, scope: CallScope | None) -> Any:
        if not isinstance(step, Attempt):
            return (scope.cancelled if scope else self._closed).wait(step)
        method, message = self._methods[step.call.method.path], step.call.message
        try:
            if scope is None:
                return method(message, timeout=step.seconds)
            return scope.result(method.future(message, timeout=step.seconds))
        except ValueError:  # gRPC raises it where the channel is closed
            self._check_usable()
            raise

    def _predict(
        self, batch: list[NamedImage], masks: bool, scope: CallScope
    ) -> list[ServedResult]:
        return self._run(self._model.predict(load_images(batch), masks), scope=scope)


def _batches(images: Iterable[ServedImage], size: int) -> Iterator[list[NamedImage]]:
    batcher = Batcher(size)
    for image in images:
        yield from batcher.add(image)
    yield from batcher.flush()
