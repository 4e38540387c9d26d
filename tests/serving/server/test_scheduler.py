import threading
import time

import grpc
import numpy as np
import pytest

from far_keras.serving.server.limits import Limits, RpcError
from far_keras.serving.server.metrics import ServerMetrics
from far_keras.serving.server.saved_model import LoadedSignature, TensorInfo
from far_keras.serving.server.scheduler import Scheduler, Work


class Model:
    """Doubles its rows; waits until it may, and refuses negative ones."""

    def __init__(self, by_row=True):
        self.may_run = threading.Event()
        self.may_run.set()
        self.runs = []
        info = TensorInfo("x", 1, (None,))
        self.signature = LoadedSignature("double", {"x": info}, {"y": info}, self.double, by_row)

    def double(self, x):
        self.runs.append(len(x))
        self.may_run.wait(20)
        if (x < 0).any():
            raise ValueError("negative")
        return [2 * x]

    def work(self, *values, **arguments):
        return Work(self.signature, {"x": np.float32(values)}, **arguments)


class Calls:
    """Calls that run at the same time, begun one after the other."""

    def __init__(self, scheduler):
        self.scheduler, self.threads, self.outcomes = scheduler, [], {}

    def begin(self, name, work, timeout=None):
        def run():
            try:
                self.outcomes[name] = self.scheduler.run(work, timeout)["y"].tolist()
            except RpcError as error:
                self.outcomes[name] = error.code.name

        waiting = self.scheduler.waiting
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        return waiting

    def wait_for_queue(self, count):
        end = time.monotonic() + 10
        while self.scheduler.waiting != count:
            assert time.monotonic() < end, self.scheduler.waiting
            time.sleep(0.001)

    def join(self):
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.outcomes


@pytest.fixture
def model():
    return Model()


def scheduler(**settings):
    defaults = {
        "parallel_runs": 1,
        "max_queue": 10,
        "limits": Limits(max_batch=4),
        "batching": False,
        "metrics": ServerMetrics(),
    }
    return Scheduler(**(defaults | settings))


def busy(model, calls):
    """One call that runs until ``model.may_run`` is set."""
    model.may_run.clear()
    calls.begin("first", model.work(1))
    end = time.monotonic() + 10
    while not model.runs:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_what_waits_meanwhile_shares_a_run(model):
    calls = Calls(scheduler(batching=True))
    busy(model, calls)
    for number in range(3):
        calls.begin(number, model.work(number))
        calls.wait_for_queue(number + 1)
    model.may_run.set()
    assert calls.join() == {"first": [2.0], 0: [0.0], 1: [2.0], 2: [4.0]}
    assert model.runs == [1, 3]


def test_a_run_has_at_most_so_many_rows_and_order_is_kept(model):
    calls = Calls(scheduler(batching=True))
    busy(model, calls)
    for number in range(3):
        calls.begin(number, model.work(number, number + 10))
        calls.wait_for_queue(number + 1)
    model.may_run.set()
    assert calls.join() == {"first": [2.0], 0: [0.0, 20.0], 1: [2.0, 22.0], 2: [4.0, 24.0]}
    assert model.runs == [1, 4, 2]


def test_without_merging_each_has_its_own_run(model):
    calls = Calls(scheduler())
    busy(model, calls)
    for number in range(3):
        calls.begin(number, model.work(number))
        calls.wait_for_queue(number + 1)
    model.may_run.set()
    calls.join()
    assert model.runs == [1, 1, 1, 1]


def test_one_bad_request_does_not_spoil_its_neighbours(model):
    calls = Calls(scheduler(batching=True))
    busy(model, calls)
    for number, value in enumerate((5, -1, 7)):
        calls.begin(number, model.work(value))
        calls.wait_for_queue(number + 1)
    model.may_run.set()
    assert calls.join() == {"first": [2.0], 0: [10.0], 1: "INVALID_ARGUMENT", 2: [14.0]}


def test_different_shapes_and_signatures_do_not_share_a_run(model):
    other = Model()
    calls = Calls(scheduler(batching=True))
    busy(model, calls)
    wide = Work(model.signature, {"x": np.ones((1, 2), np.float32)})
    for number, work in enumerate((model.work(1), wide, other.work(3), model.work(4))):
        calls.begin(number, work)
        calls.wait_for_queue(number + 1)
    model.may_run.set()
    calls.join()
    assert model.runs == [1, 2, 1]
    assert other.runs == [1]


def test_rows_that_depend_on_each_other_do_not_share_a_run():
    model = Model(by_row=False)
    calls = Calls(scheduler(batching=True))
    busy(model, calls)
    for number in range(2):
        calls.begin(number, model.work(number))
        calls.wait_for_queue(number + 1)
    model.may_run.set()
    calls.join()
    assert model.runs == [1, 1, 1]


def test_a_full_queue_refuses_at_once(model):
    calls = Calls(scheduler(max_queue=2))
    busy(model, calls)
    for number in range(2):
        calls.begin(number, model.work(number))
        calls.wait_for_queue(number + 1)
    with pytest.raises(RpcError, match="2 requests wait already") as refused:
        calls.scheduler.run(model.work(1))
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    model.may_run.set()
    assert len(calls.join()) == 3


def test_work_beyond_its_deadline_leaves_the_queue(model):
    calls = Calls(scheduler())
    busy(model, calls)
    with pytest.raises(RpcError) as refused:
        calls.scheduler.run(model.work(1), timeout=0.05)
    assert refused.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert calls.scheduler.waiting == 0
    model.may_run.set()
    calls.join()
    assert model.runs == [1]


def test_work_whose_caller_left_is_dropped(model):
    calls = Calls(scheduler(batching=True))
    busy(model, calls)
    calls.begin("gone", model.work(1, is_wanted=lambda: False))
    calls.wait_for_queue(1)
    calls.begin("here", model.work(2))
    calls.wait_for_queue(2)
    model.may_run.set()
    assert calls.join() == {"first": [2.0], "gone": "DEADLINE_EXCEEDED", "here": [4.0]}
    assert model.runs == [1, 1]


def test_places_are_given_back_after_errors(model):
    one = scheduler()
    for _ in range(3):
        with pytest.raises(RpcError):
            one.run(model.work(-1))
    assert one.run(model.work(4))["y"].tolist() == [8.0]


def test_as_many_run_at_once_as_there_are_places(model):
    calls = Calls(scheduler(parallel_runs=3))
    model.may_run.clear()
    for number in range(5):
        calls.begin(number, model.work(number))
    calls.wait_for_queue(2)
    assert len(model.runs) <= 3
    model.may_run.set()
    assert len(calls.join()) == 5


def test_a_large_request_is_cut_into_runs_and_put_together(model):
    assert scheduler().run(model.work(*range(10)))["y"].tolist() == [2.0 * x for x in range(10)]
    assert model.runs == [4, 4, 2]


def test_large_images_get_separate_runs(model):
    one = scheduler(limits=Limits(max_batch=4, max_pixels=100))
    one.run(model.work(1, 2, 3, 4, pixels=[60, 60, 10, 10]))
    assert model.runs == [1, 3]


class RecordedMetrics(ServerMetrics):
    """Keeps what the scheduler reports."""

    def __init__(self):
        super().__init__()
        self.waits, self.runs = [], []

    def count_wait(self, *wait):
        self.waits.append(wait)

    def count_run(self, *run):
        self.runs.append(run)


def test_waits_and_runs_are_counted(model):
    metrics = RecordedMetrics()
    work = model.work(1, 2)
    scheduler(metrics=metrics).run(work)
    assert [wait[0] for wait in metrics.waits] == [work]
    assert [run[:2] for run in metrics.runs] == [(work, 2)]
    assert 0 <= metrics.waits[0][1] < 1
