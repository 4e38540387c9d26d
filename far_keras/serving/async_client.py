"""The client for programs that are written with `asyncio`. It loads no TensorFlow."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import grpc
import grpc.aio
import numpy as np

from far_keras.errors import ServingError
from far_keras.serving import administration
from far_keras.serving.administration import ModelsConfig
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

__all__ = ["AsyncFarClient"]

Answer = TypeVar("Answer")

_NEVER = Retry(0)


class AsyncFarClient:
    """`far_keras.serving.FarClient` for `asyncio`: the same arguments, results and errors.

    Files are read in threads, so that the event loop goes on. Use it in the event loop that it was
    made in.

    Example:
        >>> async with AsyncFarClient("localhost:8500", model="mgmtn") as client:  # doctest: +SKIP
        ...     async for result in client.stream(["a.jpg", "b.jpg"]):
        ...         print(result.file, result.decisions["Smiling"])
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
            self._channel = grpc.aio.insecure_channel(settings.target, settings.options)
        else:
            self._channel = grpc.aio.secure_channel(
                settings.target, settings.credentials, settings.options
            )
        self._methods: dict[str, Any] = {
            method.path: self._channel.unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
            for method in METHODS
        }
        self._process = os.getpid()
        self._closed = False

    @property
    def target(self) -> str:
        """The server's address."""
        return self._settings.target

    async def description(self) -> ModelDescription:
        """See `FarClient.description`."""
        return await self._ask(self._model.describe())

    # Text, bytes and arrays are iterable too, but stand for one image: the first match counts.
    @overload
    async def predict(  # type: ignore[overload-overlap]
        self, pictures: ServedImage, *, masks: bool = True
    ) -> ServedResult: ...

    @overload
    async def predict(
        self,
        pictures: Iterable[ServedImage] | AsyncIterable[ServedImage],
        *,
        masks: bool = True,
    ) -> list[ServedResult]: ...

    async def predict(
        self,
        pictures: ServedImage | Iterable[ServedImage] | AsyncIterable[ServedImage],
        *,
        masks: bool = True,
    ) -> ServedResult | list[ServedResult]:
        """See `FarClient.predict`; takes asynchronous iterables too."""
        if not is_one_picture(pictures):
            return [result async for result in self.stream(pictures, masks=masks)]  # type: ignore[arg-type]
        deadline = self._deadline()
        name = str(pictures) if isinstance(pictures, str | Path) else "picture"
        loaded = await _load([Picture(name, pictures)])
        (result,) = await self._ask(self._model.answer(loaded, masks), deadline)
        if result.error is not None:
            raise result.error
        return result

    async def stream(
        self,
        pictures: Iterable[ServedImage] | AsyncIterable[ServedImage],
        *,
        masks: bool = True,
    ) -> AsyncIterator[ServedResult]:
        """See `FarClient.stream`; takes asynchronous iterables too.

        Other iterables than lists and tuples, which may wait for files, are run in threads. To
        leave the loop early, use `contextlib.aclosing`: it cancels what is on its way at once.
        """
        self._check_open()
        await self._ask(self._model.describe())
        waiting: deque[asyncio.Task[list[ServedResult]]] = deque()
        try:
            async for batch in _batches(pictures, self._settings.batch_size):
                self._check_open()
                waiting.append(asyncio.create_task(self._answer(batch, masks)))
                while waiting and (len(waiting) >= self._settings.in_flight or waiting[0].done()):
                    for result in await waiting.popleft():
                        yield result
            while waiting:
                for result in await waiting.popleft():
                    yield result
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def predict_aligned(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """See `FarClient.predict_aligned`."""
        return await self._ask(
            self._model.answer_aligned(np.asarray(images), self._settings.batch_size)
        )

    async def predict_raw(
        self,
        inputs: Mapping[str, Any],
        signature: str = "serving_default",
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """See `FarClient.predict_raw`."""
        return (await self._ask(self._model.predict_raw(inputs, signature, outputs)))[0]

    async def is_ready(self) -> bool:
        """See `FarClient.is_ready`."""
        question = administration.status(self._model)
        try:
            return any(entry.available for entry in await self._ask(question, retry=_NEVER))
        except ServingError:
            self._check_open()
            return False

    async def status(self) -> tuple[VersionStatus, ...]:
        """See `FarClient.status`."""
        return await self._ask(administration.status(self._model))

    async def metadata(self) -> dict[str, Signature]:
        """See `FarClient.metadata`."""
        return await self._ask(administration.metadata(self._model))

    async def reload(self, models: ModelsConfig) -> None:
        """See `FarClient.reload`."""
        await self._ask(administration.reload(self._model, models))

    async def health(self, service: str = "") -> str:
        """See `FarClient.health`."""
        return await self._ask(administration.health(self._model, service))

    async def close(self) -> None:
        """Closes the connection and cancels what is on its way; also at the end of ``with``."""
        self._closed = True
        if self._process == os.getpid():
            await self._channel.close()

    async def __aenter__(self) -> AsyncFarClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.timeout)

    def _check_open(self) -> None:
        self._settings.check_usable(self._closed, self._process)

    async def _answer(self, batch: list[Picture], masks: bool) -> list[ServedResult]:
        return await self._ask(self._model.answer(await _load(batch), masks))

    async def _ask(
        self,
        question: Question[Answer],
        deadline: Deadline | None = None,
        retry: Retry | None = None,
    ) -> Answer:
        """Makes the calls of a question: within `deadline` together, or the timeout for each."""
        retry = retry or self._settings.retry
        try:
            call = next(question)
            while True:
                try:
                    response = await self._call(call, deadline or self._deadline(), retry)
                except ServingError as error:
                    call = question.throw(error)
                else:
                    call = question.send(response)
        except StopIteration as finished:
            return finished.value

    async def _call(self, call: Call, deadline: Deadline, retry: Retry) -> Any:
        method = self._methods[call.method.path]
        for tried in count(1):
            self._check_open()
            left = deadline.left()
            if left <= 0:
                raise too_late(call, deadline.seconds)
            try:
                return await method(call.message, timeout=left)
            except grpc.RpcError as error:
                self._check_open()
                failed = failure(error, call, deadline.seconds)
                pause = retry.pause(tried, failed, deadline)
                if pause is None:
                    raise failed from error
            except (asyncio.CancelledError, grpc.aio.UsageError):
                # Closing the channel cancels calls as if their task had been cancelled.
                if not _cancelling():
                    self._check_open()
                raise
            await asyncio.sleep(pause)
        raise AssertionError


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _load(batch: list[Picture]) -> list[Any]:
    if all(isinstance(picture.source, bytes | np.ndarray) for picture in batch):
        return load(batch)
    return await asyncio.to_thread(load, batch)


async def _batches(
    pictures: Iterable[ServedImage] | AsyncIterable[ServedImage], size: int
) -> AsyncIterator[list[Picture]]:
    batcher = Batcher(size)
    async for picture in _asynchronous(pictures):
        for batch in batcher.add(picture):
            yield batch
    for batch in batcher.flush():
        yield batch


async def _asynchronous(pictures: Any) -> AsyncIterator[Any]:
    if isinstance(pictures, AsyncIterable):
        async for picture in pictures:
            yield picture
    elif isinstance(pictures, list | tuple | np.ndarray):
        for picture in pictures:
            yield picture
    else:
        iterator, end = iter(pictures), object()
        while (picture := await asyncio.to_thread(next, iterator, end)) is not end:
            yield picture
