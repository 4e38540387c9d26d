import json

import pytest
from rich.console import Console

from far_keras.errors import DatasetError
from far_keras.jobs import Journal
from far_keras.quickstart.quickstart import Step, StepRunner, quickstart


def test_too_few_faces_or_epochs_are_refused_at_once(tmp_path):
    with pytest.raises(DatasetError, match=r"at least 200 images\. Received: 20"):
        quickstart(tmp_path / "run", 20)
    with pytest.raises(DatasetError, match=r"epochs: expected at least 1\. Received: 0"):
        quickstart(tmp_path / "run", epochs=0)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_refused(tmp_path):
    path = tmp_path / "quickstart.json"
    journal = Journal(path, {"count": 300, "seed": 0, "epochs": 12}, DatasetError)
    journal.add({"render": {"seconds": 1.0, "finished": False}})
    journal.close()
    with pytest.raises(DatasetError, match="other settings: count = 300, not 400"):
        quickstart(tmp_path, 400)
    old = {"settings": {"count": 400, "seed": 0, "epochs": 12}, "seconds": {}, "finished": []}
    for text in (json.dumps(old, indent=1), "{", "[]"):
        path.write_text(text)
        with pytest.raises(
            DatasetError, match=r"quickstart\.json: expected the journal.*Delete it"
        ):
            quickstart(tmp_path, 400)


class Runs:
    """Steps that append their names to `calls`; some stop as Ctrl-C does."""

    def __init__(self, folder, names):
        self.calls, self.stop = [], set()
        self.folder, self.names = folder, names

    def step(self, name):
        def run():
            self.calls.append(name)
            if name in self.stop:
                raise KeyboardInterrupt
            (self.folder / name).touch()

        return Step(name, f"do {name}", run, self.folder / name)

    def run(self, stop=()):
        """Runs the job; returns the steps that ran and the seconds of all."""
        self.calls, self.stop = [], set(stop)
        journal = Journal(self.folder / "journal", {}, DatasetError)
        runner = StepRunner([self.step(n) for n in self.names], journal, Console(quiet=True))
        if stop:
            with pytest.raises(KeyboardInterrupt):
                runner.run()
        else:
            runner.run()
        seconds = runner.seconds
        journal.close()
        return self.calls, seconds


def test_finished_steps_are_skipped_and_later_steps_run_again(tmp_path):
    job = Runs(tmp_path, ["first", "second", "third"])
    assert job.run(stop=["second"])[0] == ["first", "second"]
    calls, seconds = job.run()
    assert calls == ["second", "third"] and set(seconds) == {"first", "second", "third"}
    assert job.run()[0] == []
    (tmp_path / "second").unlink()  # its output is gone
    assert job.run(stop=["second"])[0] == ["second"]
    # A finished step that is interrupted in its second run has not finished.
    (tmp_path / "second").touch()
    assert job.run()[0] == ["second", "third"]


def test_times_of_an_interrupted_step_add_up_and_a_rerun_starts_at_zero(tmp_path, monkeypatch):
    clock = iter([0.0, 5.0, 100.0, 107.0, 200.0, 201.0])
    monkeypatch.setattr("far_keras.quickstart.quickstart.time.monotonic", lambda: next(clock))
    job = Runs(tmp_path, ["step"])
    assert job.run(stop=["step"])[1] == {"step": 5.0}
    assert job.run()[1] == {"step": 12.0}
    (tmp_path / "step").unlink()
    assert job.run()[1] == {"step": 1.0}


def test_an_interrupted_step_is_not_taken_for_finished(tmp_path, monkeypatch):
    calls = []

    def interrupted(directory, count, seed, **_):
        calls.append((directory, count, seed))
        directory.mkdir(exist_ok=True, parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("far_keras.synthetic.dataset.synthesize", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            quickstart(tmp_path / "run", 200, 7)
    assert calls == [(tmp_path / "run" / "faces", 200, 7)] * 2


@pytest.mark.slow
def test_a_small_run_ends_with_a_report_and_a_second_one_skips_all_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("far_keras.quickstart.quickstart._LEAST_IMAGES", 80)
    console = Console(record=True, width=100)
    done = quickstart(tmp_path / "run", 80, epochs=1, console=console)
    page = done.report.read_text()
    assert "synthetic data" in page and "Worst errors" in page and "Eileen Collins" in page
    assert set(done.evaluation["models"]) == {
        "mgmtn_efficientnetlite0", "baseline_efficientnetlite0", "majority",
    }  # fmt: skip
    assert done.evaluation["data"]["synthetic"] is True
    assert "Attractive" in done.evaluation["left_out_of_means"]
    text = console.export_text()
    assert "far-keras predict" in text and "1/7 render 80 faces" in text

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    again = quickstart(tmp_path / "run", 80, epochs=1, console=console)
    assert again == done
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert "1/7" not in console.export_text()

    # A step whose output is gone runs again, and those after it.
    (tmp_path / "run" / "astronaut.png").unlink()
    quickstart(tmp_path / "run", 80, epochs=1, console=console)
    text = console.export_text()
    assert "6/7" in text and "7/7" in text and "5/7" not in text
