import json
import multiprocessing.connection
import os
import signal
import time
from functools import partial

import pytest

from far_keras import jobs
from far_keras.errors import DatasetError
from far_keras.jobs import Journal, WorkerPool, check_settings, stop_requested, usable_cores

SETTINGS = {"model": "m", "size": 3}


def test_a_journal_resumes_after_its_last_whole_line(tmp_path):
    path = tmp_path / "job.jsonl"
    journal = Journal(path, SETTINGS, DatasetError)
    assert not path.exists()
    journal.add({"a": 1, "b": [2, None]})
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"key": "c", "val')  # a power cut
    seen = []
    journal = Journal(path, SETTINGS, DatasetError, lambda *item: seen.append(item))
    assert seen == [("a", 1), ("b", [2, None])]
    assert "a" in journal and "c" not in journal and len(journal) == 2
    journal.add({"c": 3, "a": 4})
    assert journal["a"] == 4 and journal["b"] == [2, None] and journal["c"] == 3
    assert journal.keys() == ["a", "b", "c"]
    journal.close(remove=True)
    assert not path.exists()


@pytest.mark.parametrize("lost", [1, 5, 20])
def test_a_truncated_last_line_is_removed(tmp_path, lost):
    path = tmp_path / "job.jsonl"
    journal = Journal(path, SETTINGS, DatasetError)
    journal.add({"a": 1})
    journal.add({"b": 2})
    journal.close()
    content = path.read_bytes()
    path.write_bytes(content[:-lost])
    journal = Journal(path, SETTINGS, DatasetError)
    assert journal.keys() == ["a"]
    journal.add({"b": 2})
    journal.close()
    assert path.read_bytes() == content


def test_file_names_that_are_not_utf8_are_kept(tmp_path):
    name = b"\xff.jpg".decode("utf-8", "surrogateescape")
    journal = Journal(tmp_path / "job.jsonl", SETTINGS, DatasetError)
    journal.add({name: [name]})
    journal.close()
    journal = Journal(tmp_path / "job.jsonl", SETTINGS, DatasetError)
    assert journal.keys() == [name] and journal[name] == [name]
    journal.close()


def test_a_journal_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "job.jsonl"
    journal = Journal(path, SETTINGS, DatasetError)
    journal.add({"a": 1})
    journal.close()
    with pytest.raises(DatasetError, match="size = 3, not 4"):
        Journal(path, {**SETTINGS, "size": 4}, DatasetError)


@pytest.mark.parametrize(
    "text",
    ["", "hello\n", "[1]\n", '{"format": 1}\n', '{"format": 2, "settings": 3}\n', "[" * 100_000],
)
def test_another_file_is_not_taken_for_a_journal(tmp_path, text):
    path = tmp_path / "job.jsonl"
    path.write_text(text)
    with pytest.raises(DatasetError, match="expected the journal"):
        Journal(path, SETTINGS, DatasetError)
    assert path.read_text() == text


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "job.jsonl"
    journal = Journal(path, SETTINGS, DatasetError)
    journal.add({"a": 1, "b": 2})
    journal.close()
    header, first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + b"x" + first + second)
    with pytest.raises(DatasetError, match="is damaged"):
        Journal(path, SETTINGS, DatasetError)


def test_settings_are_compared_as_json():
    check_settings("x", json.loads(json.dumps({"a": (1, 2)})), {"a": (1, 2)}, DatasetError)
    with pytest.raises(DatasetError, match=r"x: was started .* b = None, not 1"):
        check_settings("x", {"a": 2}, {"a": 2, "b": 1}, DatasetError)


def add(state, task):
    return os.getpid(), state["base"] + task, os.environ.get("FAR_TEST")


def die(state, task):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(state, task):
    raise DatasetError(f"task {task}")


def wait_for_stop(state, task):
    deadline = time.monotonic() + 60
    while not stop_requested() and time.monotonic() < deadline:
        time.sleep(0.01)
    return stop_requested()


def test_a_pool_works_in_order_in_processes_of_its_own():
    with WorkerPool(partial(dict, base=10), 2, DatasetError, environment={"FAR_TEST": "1"}) as pool:
        results = list(pool.map(add, range(20)))
    assert [value for _, value, _ in results] == list(range(10, 30))
    assert os.getpid() not in {pid for pid, _, _ in results}
    assert {variable for *_, variable in results} == {"1"} and "FAR_TEST" not in os.environ


def test_one_worker_needs_no_process():
    with WorkerPool(partial(dict, base=10), 1, DatasetError) as pool:
        assert list(pool.map(add, [1])) == [(os.getpid(), 11, None)]


def test_a_dead_worker_and_an_error_reach_the_caller():
    with WorkerPool(dict, 2, DatasetError) as pool, pytest.raises(DatasetError, match="died"):
        list(pool.map(die, [1]))
    with WorkerPool(dict, 2, DatasetError) as pool, pytest.raises(DatasetError, match="task 1"):
        list(pool.map(fail, [1]))


def test_a_task_learns_that_the_pool_is_closing():
    assert not stop_requested()
    pool = WorkerPool(dict, 2, DatasetError)
    results = pool._pool.submit(__import__("far_keras.jobs").jobs._run, wait_for_stop, None)
    while not results.running():
        time.sleep(0.01)
    pool.close()
    assert results.result(timeout=60) is True


def test_usable_cores_follow_the_affinity():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def die_while_sending(state, task):
    def send_part(connection, data):
        os.write(connection.fileno(), len(data).to_bytes(4, "big") + bytes(data[:10]))
        os.kill(os.getpid(), signal.SIGKILL)

    multiprocessing.connection.Connection._send_bytes = send_part


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_while_it_sends_a_result_is_noticed(workers, monkeypatch):
    monkeypatch.setattr(jobs, "_WATCH_SECONDS", 0.2)
    with (
        WorkerPool(dict, workers, DatasetError, in_process=False) as pool,
        pytest.raises(DatasetError, match="died"),
    ):
        list(pool.map(die_while_sending, range(workers)))


def test_a_pool_that_breaks_while_a_worker_starts_is_an_error(monkeypatch):
    def submit(*task):
        raise OSError("handle is closed")

    with WorkerPool(dict, 2, DatasetError) as pool:
        monkeypatch.setattr(pool._pool, "submit", submit)
        with pytest.raises(DatasetError, match="died"):
            list(pool.map(add, [1]))


def test_the_environment_is_restored_between_two_results():
    with WorkerPool(partial(dict, base=10), 2, DatasetError, environment={"FAR_TEST": "1"}) as pool:
        results = pool.map(add, range(20))
        assert next(results)[2] == "1" and "FAR_TEST" not in os.environ


def test_a_journal_that_could_not_be_written_closes(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "job.jsonl"
    journal = Journal(path, SETTINGS, DatasetError)
    journal.add({"a": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
        with pytest.raises(DatasetError, match="cannot write"):
            journal.add({"b": "x" * 1000})
        journal.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    journal = Journal(path, SETTINGS, DatasetError)
    assert journal.keys() == ["a"]
    journal.close()
