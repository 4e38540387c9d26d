"""Against `far-keras serve` in its own process: its responses, and its sudden end."""

import asyncio
import itertools
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from far_keras.errors import (
    DeadlineError,
    ModelNotFoundError,
    RequestError,
    ServingError,
    UnavailableError,
)
from far_keras.serving import AsyncFarClient, FarClient

MODEL = "faces"


@pytest.fixture(scope="module")
def server(start_server, small_faces):
    with start_server(small_faces) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with FarClient(server.address, MODEL, timeout=20) as client:
        yield client


def faces(count):
    return np.random.default_rng(count).integers(0, 256, (count, 20, 24, 3), np.uint8)


def test_predictions_are_those_of_the_model(client, small_faces):
    images = faces(40)
    model = tf.saved_model.load(str(small_faces / MODEL / "1"))
    expected = model.signatures["serve_uint8"](images=tf.constant(images))
    outputs = client.predict_aligned(images)
    assert set(outputs) == {"attributes", "logits", "masks"}
    for name, value in outputs.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)
    results = client.predict(images)
    assert results[0].groups == client.description.schema.group_names
    for row, result in enumerate(results):
        assert result.version == 1
        np.testing.assert_allclose(
            result.masks, np.moveaxis(expected["masks"][row].numpy(), -1, 0), rtol=1e-5, atol=1e-6
        )
        names = list(client.description.attributes)
        for name in ("Smiling", "Eyeglasses"):
            assert result.probabilities[name] == pytest.approx(
                float(expected["attributes"][row, names.index(name)]), abs=1e-6
            )


def test_sensitive_attributes_are_predicted_on_request(server, client):
    face = faces(1)[0]
    assert "Male" not in client.predict(face).probabilities
    with FarClient(server.address, MODEL, timeout=20, sensitive=True) as other:
        assert list(other.predict(face).probabilities) == list(client.description.attributes)


def test_files_and_a_broken_one(client, encoded):
    results = client.predict([encoded(1, "jpeg"), b"\xff\xd8\xff broken", encoded(2)])
    assert [result.ok for result in results] == [True, False, True]
    assert isinstance(results[1].error, RequestError)


def test_its_status_health_and_metadata(client):
    assert client.is_ready()
    assert [(v.version, v.state) for v in client.status()] == [(1, "AVAILABLE")]
    assert client.health() == "SERVING"
    signatures = client.metadata()
    assert signatures["serve_uint8"].inputs["images"].shape == (-1, -1, -1, 3)
    assert signatures["serving_default"].outputs["attributes"].dtype == "float"


def test_what_it_does_not_have(server, client):
    with FarClient(server.address, "none", timeout=20) as other, pytest.raises(ModelNotFoundError):
        other.predict(faces(1)[0])
    with FarClient(server.address, MODEL, version=9, timeout=20) as other:
        assert not other.is_ready()
        with pytest.raises(ModelNotFoundError, match="version 9"):
            other.predict(faces(1)[0])
    with (
        FarClient(server.address, MODEL, label="canary", timeout=20) as other,
        pytest.raises(RequestError, match="label: canary"),
    ):
        other.predict(faces(1)[0])
    with pytest.raises(RequestError, match="no_such"):
        client.predict_raw({"images": faces(1)}, "no_such")
    with pytest.raises(RequestError):
        client.predict_raw({"wrong": faces(1)}, "serve_uint8")
    with pytest.raises(RequestError):
        client.predict_raw({"images": faces(1)}, "serve_uint8", ["wrong"])


def test_a_reload_that_the_server_refuses(client):
    with pytest.raises(RequestError, match="paths are absolute"):
        client.reload({MODEL: "relative"})
    assert client.is_ready()


def test_the_asynchronous_client(server):
    async def run():
        async with AsyncFarClient(server.address, MODEL, timeout=20) as client:
            return [result.ok async for result in client.stream(faces(50))]

    assert asyncio.run(run()) == [True] * 50


def test_a_server_that_is_killed_and_started_again(server, start_server, small_faces):
    """Eight threads and a stream go on through it: each call ends in time, with a typed error.

    The last test here: it kills the server that the others share.
    """
    timeout = 5
    face = faces(1)[0]
    stop, ends, slowest = threading.Event(), [], []

    def call(client):
        while not stop.is_set():
            begin = time.monotonic()
            try:
                client.predict(face)
                ends.append("ok")
            except ServingError as error:
                ends.append(type(error))
                time.sleep(0.02)
            slowest.append(time.monotonic() - begin)

    with FarClient(server.address, MODEL, timeout=timeout, retries=2, batch_size=2) as client:
        client.predict(face)
        streamed = []

        def stream():
            source = itertools.takewhile(lambda _: not stop.is_set(), itertools.repeat(face))
            for result in client.stream(source):
                streamed.append(result.ok)

        threads = [threading.Thread(target=call, args=(client,)) for _ in range(8)]
        threads.append(threading.Thread(target=stream))
        for thread in threads:
            thread.start()
        wait_until(lambda: len(ends) > 16 and streamed)
        server.kill()
        wait_until(lambda: UnavailableError in ends and False in streamed)
        before = len(ends)
        port = server.address.rpartition(":")[2]
        with start_server(small_faces, port=port):
            wait_until(lambda: "ok" in ends[before:] and streamed[-1])
            stop.set()
            for thread in threads:
                thread.join(3 * timeout)
                assert not thread.is_alive()
    kinds = set(ends)
    assert kinds - {"ok"} <= {UnavailableError, DeadlineError}
    assert UnavailableError in kinds
    assert "ok" in ends[:before]
    assert "ok" in ends[before:]
    assert max(slowest) < timeout + 2
    assert {True, False} == set(streamed)
    assert streamed[-1]  # the stream has recovered too


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
