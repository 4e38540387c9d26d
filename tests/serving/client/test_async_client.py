import asyncio
import contextlib
import inspect
import os
import threading
import time

import grpc
import numpy as np
import pytest

from far_keras.errors import (
    DeadlineError,
    ImageError,
    ModelNotFoundError,
    RequestError,
    ServingError,
    UnavailableError,
)
from far_keras.serving import AsyncFarClient, FarClient, Tls


def reds(results):
    return [round(result.probabilities["Red"] * 255) for result in results]


def parameters(function):
    return inspect.signature(function).parameters


def test_it_has_what_the_blocking_client_has():
    def public(cls):
        return {name for name in vars(cls) if not name.startswith("_")}

    assert public(AsyncFarClient) == public(FarClient)
    for name in public(FarClient) - {"target", "description"}:
        ours, theirs = getattr(AsyncFarClient, name), getattr(FarClient, name)
        assert list(parameters(ours)) == list(parameters(theirs))
    assert parameters(AsyncFarClient) == parameters(FarClient)


def test_everything_once(target, make_image, encoded, tmp_path):
    (tmp_path / "face.png").write_bytes(encoded(77))

    async def run():
        async with AsyncFarClient(target, "mgmtn") as client:
            result = await client.predict(tmp_path / "face.png")
            assert reds([result]) == [77]
            assert result.masks.shape == (2, 5, 4)
            assert (await client.description()).attributes == ("Red", "Green", "Untrained")
            assert reds(await client.predict([make_image(1), encoded(2), make_image(3)])) == [
                1,
                2,
                3,
            ]
            outputs = await client.predict_aligned(np.stack([make_image(51)] * 40))
            assert outputs["attributes"].shape == (40, 3)
            raw = await client.predict_raw(
                {"images": make_image(51)[None]}, "serve_uint8", ["logits"]
            )
            assert list(raw) == ["logits"]
            assert await client.is_ready()
            assert (await client.status())[0].version == 3
            assert "serve_uint8" in await client.metadata()
            await client.reload({"mgmtn": "/models"})
            with pytest.raises(RequestError, match="UNIMPLEMENTED"):
                await client.health()
            with pytest.raises(ImageError):
                await client.predict(tmp_path / "none.png")

    asyncio.run(run())


def test_streams_of_every_kind_of_iterable_keep_their_order(target, service, make_image):
    def slow_at_first(request, context):
        if request.model_spec.signature_name == "serve_uint8":
            time.sleep(0.2 if len(service.requests) < 4 else 0)

    service.before = slow_at_first
    count = 20

    async def asynchronous():
        for i in range(count):
            await asyncio.sleep(0)
            yield make_image(i)

    async def run():
        async with AsyncFarClient(target, "mgmtn", batch_size=1, in_flight=3) as client:
            for images in (
                [make_image(i) for i in range(count)],
                (make_image(i) for i in range(count)),
                np.stack([make_image(i) for i in range(count)]),
                asynchronous(),
            ):
                results = [result async for result in client.stream(images)]
                assert reds(results) == list(range(count))

    asyncio.run(run())
    assert 2 <= service.most_at_once <= 3


def test_an_endless_source_is_taken_bit_by_bit(target, make_image):
    taken = []

    async def endless():
        while True:
            taken.append(1)
            yield make_image(len(taken) % 256)

    async def run():
        async with AsyncFarClient(target, "mgmtn", batch_size=5, in_flight=2) as client:
            count = 0
            async with contextlib.aclosing(client.stream(endless())) as stream:
                async for _ in stream:
                    count += 1
                    assert len(taken) <= count + 3 * 5
                    if count == 60:
                        break
            assert (await client.predict(make_image(3))).ok

    asyncio.run(run())


def test_reading_files_does_not_hold_up_the_event_loop(target, encoded, tmp_path):
    """The file is a pipe that nobody writes to yet: reading it waits."""
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)

    async def run():
        async with AsyncFarClient(target, "mgmtn") as client:
            await client.description()
            reading = asyncio.create_task(client.predict(pipe))
            gaps, last = [], time.monotonic()
            for _ in range(20):
                await asyncio.sleep(0.01)
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
            assert not reading.done()
            threading.Thread(target=pipe.write_bytes, args=(encoded(9),)).start()
            assert reds([await reading]) == [9]
            return max(gaps)

    assert asyncio.run(run()) < 1


def test_a_generator_that_waits_does_not_hold_up_the_event_loop(target, make_image):
    def slow():
        for i in range(3):
            time.sleep(0.2)
            yield make_image(i)

    async def run():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        async with AsyncFarClient(target, "mgmtn") as client:
            ticking = asyncio.create_task(tick())
            assert reds([result async for result in client.stream(slow())]) == [0, 1, 2]
            ticking.cancel()
        return ticks

    assert asyncio.run(run()) > 10


def test_many_calls_at_once(target, make_image):
    async def run():
        async with AsyncFarClient(target, "mgmtn") as client:
            results = await asyncio.gather(*(client.predict(make_image(i)) for i in range(100)))
            assert reds(results) == list(range(100))

    asyncio.run(run())


def test_failures(target, service, make_image, encoded):
    async def run():
        async with AsyncFarClient(target, "mgmtn", timeout=0.4) as client:
            results = await client.predict([encoded(1), b"broken", encoded(3)])
            assert [result.ok for result in results] == [True, False, True]
            with pytest.raises(RequestError, match="INVALID_ARGUMENT"):
                await client.predict(b"broken")
            left = [2]

            def unavailable(request, context):
                left[0] -= 1
                if left[0] >= 0:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "down")

            service.before = unavailable
            assert (await client.predict(make_image(1))).ok
            service.before = lambda request, context: time.sleep(1)
            begin = time.monotonic()
            with pytest.raises(DeadlineError):
                await client.predict(make_image(1))
            assert time.monotonic() - begin < 0.9
        async with AsyncFarClient(target, "other") as client:
            with pytest.raises(ModelNotFoundError):
                await client.predict(make_image(1))
            assert not await client.is_ready()
        async with AsyncFarClient("127.0.0.1:9", "mgmtn", retries=1) as client:
            with pytest.raises(UnavailableError):
                await client.predict([make_image(1)])

    asyncio.run(run())


def test_cancelling_a_task_is_no_failure_of_the_server(target, service, make_image):
    async def run():
        async with AsyncFarClient(target, "mgmtn") as client:
            await client.description()
            service.before = lambda request, context: time.sleep(1)
            task = asyncio.create_task(client.predict(make_image(1)))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.predict(make_image(1)), 0.1)

    asyncio.run(run())


def test_a_closed_client_raises(target, service, make_image):
    async def run():
        client = AsyncFarClient(target, "mgmtn")
        await client.predict(make_image(1))
        service.before = lambda request, context: time.sleep(1)
        task = asyncio.create_task(client.predict(make_image(1)))
        await asyncio.sleep(0.1)
        await client.close()
        await client.close()
        with pytest.raises(ServingError, match="closed; open another"):
            await task
        with pytest.raises(ServingError, match="closed; open another"):
            await client.predict(make_image(1))

    asyncio.run(run())


def test_tls(start, service, certificates, make_image):
    pair = tuple((certificates / f"server.{end}").read_bytes() for end in ("key", "pem"))
    port = start(service, credentials=grpc.ssl_server_credentials([pair]))

    async def run():
        tls = Tls(ca=certificates / "ca.pem", server_name="far.test")
        async with AsyncFarClient(f"127.0.0.1:{port}", "mgmtn", tls=tls) as client:
            assert (await client.predict(make_image(1))).ok

    asyncio.run(run())
