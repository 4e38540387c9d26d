import itertools
import threading
import time

import grpc
import numpy as np
import pytest

from far_keras.errors import ModelNotFoundError, RequestError
from far_keras.serving import FarClient
from far_keras.serving.load import LoadReport, example_picture, run_load


def test_what_is_counted_is_what_the_server_saw(client, service):
    service.before = lambda request, context: time.sleep(0.02)
    seen = []
    report = run_load(
        client,
        example_picture(),
        concurrency=3,
        seconds=0.6,
        progress=lambda seconds, answered, failed: seen.append((seconds, answered, failed)),
    )
    assert report.errors == {}
    assert report.answered == len(service.requests) - 1  # one before the clock starts
    assert service.most_at_once <= 3
    assert 20 <= report.percentile(50) <= report.percentile(99) <= report.percentile(100)
    assert report.requests_per_second == pytest.approx(report.answered / report.seconds)
    assert report.requests_per_second <= 3 / 0.02
    assert len(seen) > 3
    assert seen[-1] == (report.seconds, report.answered, 0)
    assert all(before <= after for before, after in itertools.pairwise(seen))


def test_batches_and_masks(client, service):
    report = run_load(
        client, example_picture(), concurrency=1, seconds=0.2, batch_size=4, masks=False
    )
    assert service.requests[-1].inputs["image_bytes"].tensor_shape.dim[0].size == 4
    assert list(service.requests[-1].output_filter) == ["attributes"]
    assert report.to_dict()["pictures_per_second"] == pytest.approx(
        4 * report.requests_per_second, abs=0.1
    )


def test_failures_are_counted_by_code(target, service):
    def sometimes(request, context):
        turn = len(service.requests)
        if turn > 1 and turn % 3 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        if turn > 1 and turn % 3 == 1:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    service.before = sometimes
    with FarClient(target, "mgmtn", retries=0) as client:
        report = run_load(client, example_picture(), concurrency=2, seconds=1)
    assert set(report.errors) == {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
    assert sum(report.errors.values()) + report.answered == len(service.requests) - 1
    assert len(service.requests) < 1000  # refused at once, but not asked in a tight loop


def test_it_ends_in_time_when_the_server_hangs(target, service):
    with FarClient(target, "mgmtn", timeout=0.5, retries=0) as client:
        client.predict_raw({"image_bytes": [example_picture()]})
        go_on = threading.Event()
        service.before = lambda request, context: (
            len(service.requests) > 2 and go_on.wait(5) and None
        )
        begin = time.monotonic()
        report = run_load(client, example_picture(), concurrency=2, seconds=0.5)
        go_on.set()
    assert time.monotonic() - begin < 3
    assert report.errors["DEADLINE_EXCEEDED"] >= 2
    assert np.isnan(report.percentile(50))
    assert "p50_ms" not in report.to_dict()


def test_it_does_not_begin_without_a_model(target):
    with FarClient(target, "other") as client, pytest.raises(ModelNotFoundError):
        run_load(client, example_picture())


@pytest.mark.parametrize(
    "arguments",
    [{"concurrency": 0}, {"concurrency": 257}, {"seconds": 0}, {"seconds": 1e9}, {"batch_size": 0}],
)
def test_it_is_bounded(client, arguments):
    with pytest.raises(
        RequestError, match=rf"{next(iter(arguments))}: expected more than 0, up to"
    ):
        run_load(client, example_picture(), **arguments)


def test_percentiles():
    report = LoadReport(2.0, 1, 1, np.arange(1.0, 101.0), {"INTERNAL": 3})
    assert report.percentile(50) == 50.5
    assert report.to_dict() == {
        "seconds": 2.0, "concurrency": 1, "batch_size": 1, "answered": 100,
        "errors": {"INTERNAL": 3}, "requests_per_second": 50.0, "pictures_per_second": 50.0,
        "p50_ms": 50.5, "p95_ms": 95.05, "p99_ms": 99.01, "max_ms": 100.0,
    }  # fmt: skip
