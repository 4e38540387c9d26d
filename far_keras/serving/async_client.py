"""The client for programs that are written with `asyncio`. It loads no TensorFlow."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import grpc
import grpc.aio
import numpy as np

from far_keras.errors import ServingError
from far_keras.serving import protocol
from far_keras.serving.channel import Deadline, Retry
from far_keras.serving.client import NO_RETRY, Attempt, BaseClient, one_image
from far_keras.serving.protocol import Exchange, ModelsConfig, ModelSignature, VersionStatus
from far_keras.serving.remote_model import (
    Batcher,
    LoadedImage,
    NamedImage,
    ServedImage,
    ServedResult,
    is_one_image,
    load_images,
)

if TYPE_CHECKING:
    from far_keras.export.description import ModelDescription

__all__ = ["AsyncFarClient"]

Result = TypeVar("Result")


class AsyncFarClient(BaseClient):
    """`far_keras.serving.FarClient` for `asyncio`: the same arguments, results and errors.

    Files are read in threads, so that the event loop goes on. Use it in the event loop that it was
    made in.

    Example:
        >>> async with AsyncFarClient("localhost:8500", model="mgmtn") as client:  # doctest: +SKIP
        ...     async for result in client.stream(["a.jpg", "b.jpg"]):
        ...         print(result.file, result.decisions["Smiling"])
    """

    async def description(self) -> ModelDescription:
        """See `FarClient.description`."""
        return await self._run(self._model.describe())

    # Text, bytes and arrays are iterable too, but stand for one image: the first match counts.
    @overload
    async def predict(  # type: ignore[overload-overlap]
        self, images: ServedImage, *, masks: bool = True
    ) -> ServedResult: ...

    @overload
    async def predict(
        self, images: Iterable[ServedImage] | AsyncIterable[ServedImage], *, masks: bool = True
    ) -> list[ServedResult]: ...

    async def predict(
        self,
        images: ServedImage | Iterable[ServedImage] | AsyncIterable[ServedImage],
        *,
        masks: bool = True,
    ) -> ServedResult | list[ServedResult]:
        """See `FarClient.predict`; takes asynchronous iterables too."""
        if not is_one_image(images):
            return [result async for result in self.stream(images, masks=masks)]  # type: ignore[arg-type]
        deadline = self._deadline()
        loaded = await _load([one_image(images)])
        (result,) = await self._run(self._model.predict(loaded, masks), deadline)
        if result.error is not None:
            raise result.error
        return result

    async def stream(
        self, images: Iterable[ServedImage] | AsyncIterable[ServedImage], *, masks: bool = True
    ) -> AsyncIterator[ServedResult]:
        """See `FarClient.stream`; takes asynchronous iterables too.

        Other iterables than lists and tuples, which may wait for files, are run in threads. To
        leave the loop early, use `contextlib.aclosing`: it cancels pending requests at once.
        """
        self._check_usable()
        await self._run(self._model.describe())
        waiting: deque[asyncio.Task[list[ServedResult]]] = deque()
        try:
            async for batch in _batches(images, self._batch_size):
                self._check_usable()
                waiting.append(asyncio.create_task(self._predict(batch, masks)))
                while waiting and (len(waiting) >= self._in_flight or waiting[0].done()):
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
        return await self._run(self._model.predict_aligned(np.asarray(images), self._batch_size))

    async def predict_raw(
        self,
        inputs: Mapping[str, Any],
        signature: str = "serving_default",
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """See `FarClient.predict_raw`."""
        return (await self._run(protocol.predict(self._reference, inputs, signature, outputs)))[0]

    async def is_ready(self) -> bool:
        """See `FarClient.is_ready`."""
        try:
            versions = await self._run(protocol.status(self._reference), retry=NO_RETRY)
        except ServingError:
            self._check_usable()
            return False
        return any(entry.available for entry in versions)

    async def status(self) -> tuple[VersionStatus, ...]:
        """See `FarClient.status`."""
        return await self._run(protocol.status(self._reference))

    async def metadata(self) -> dict[str, ModelSignature]:
        """See `FarClient.metadata`."""
        return await self._run(protocol.metadata(self._reference))

    async def reload(self, models: ModelsConfig) -> None:
        """See `FarClient.reload`."""
        await self._run(protocol.reload(self._reference, models))

    async def health(self, service: str = "") -> str:
        """See `FarClient.health`."""
        return await self._run(protocol.health(self._reference, service))

    async def close(self) -> None:
        """Closes the connection and cancels pending calls; also at the end of ``with``."""
        self._closed.set()
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

    def _open_channel(
        self, encryption: grpc.ChannelCredentials | None, options: list[tuple[str, int | str]]
    ) -> grpc.aio.Channel:
        if encryption is None:
            return grpc.aio.insecure_channel(self._target, options)
        return grpc.aio.secure_channel(self._target, encryption, options)

    async def _run(
        self,
        exchange: Exchange[Result],
        deadline: Deadline | None = None,
        retry: Retry | None = None,
    ) -> Result:
        """Makes the calls of an exchange; see `_steps`."""
        steps = self._steps(exchange, deadline, retry)
        try:
            step = next(steps)
            while True:
                try:
                    response = await self._do(step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(response)
        except StopIteration as finished:
            return finished.value

    async def _do(self, step: Attempt | float) -> Any:
        if not isinstance(step, Attempt):
            return await asyncio.sleep(step)
        try:
            method = self._methods[step.call.method.path]
            return await method(step.call.message, timeout=step.seconds)
        except (asyncio.CancelledError, grpc.aio.UsageError):
            # Closing the channel cancels calls as if their task had been cancelled.
            if not _cancelling():
                self._check_usable()
            raise

    async def _predict(self, batch: list[NamedImage], masks: bool) -> list[ServedResult]:
        return await self._run(self._model.predict(await _load(batch), masks))


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _load(batch: list[NamedImage]) -> list[LoadedImage]:
    if all(isinstance(image.source, bytes | np.ndarray) for image in batch):
        return load_images(batch)
    return await asyncio.to_thread(load_images, batch)


async def _batches(
    images: Iterable[ServedImage] | AsyncIterable[ServedImage], size: int
) -> AsyncIterator[list[NamedImage]]:
    batcher = Batcher(size)
    async for image in _asynchronous(images):
        for batch in batcher.add(image):
            yield batch
    for batch in batcher.flush():
        yield batch


async def _asynchronous(images: Any) -> AsyncIterator[Any]:
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    elif isinstance(images, list | tuple | np.ndarray):
        for image in images:
            yield image
    else:
        iterator, end = iter(images), object()
        while (image := await asyncio.to_thread(next, iterator, end)) is not end:
            yield image
