import json

import pytest
from rich.console import Console

from far_keras.errors import DatasetError
from far_keras.quickstart.quickstart import quickstart


def test_too_few_faces_are_refused_at_once(tmp_path):
    with pytest.raises(DatasetError, match=r"at least 200 images\. Received: 20"):
        quickstart(tmp_path / "run", 20)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_refused(tmp_path):
    journal = {"settings": {"count": 300, "seed": 0, "epochs": 12}, "seconds": {}, "finished": []}
    (tmp_path / "quickstart.json").write_text(json.dumps(journal))
    with pytest.raises(DatasetError, match=r"other settings.*300.*not.*400"):
        quickstart(tmp_path, 400)
    (tmp_path / "quickstart.json").write_text("{")
    with pytest.raises(DatasetError, match=r"quickstart\.json: cannot be read"):
        quickstart(tmp_path, 400)


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
def test_a_small_run_ends_with_a_report_and_a_second_one_has_nothing_to_do(tmp_path):
    console = Console(record=True, width=100)
    done = quickstart(tmp_path / "run", 200, epochs=1, console=console)
    page = done.report.read_text()
    assert "synthetic data" in page and "Worst errors" in page and "Eileen Collins" in page
    assert set(done.evaluation["models"]) == {
        "mgmtn_efficientnetlite0", "baseline_efficientnetlite0", "majority",
    }  # fmt: skip
    assert done.evaluation["data"]["synthetic"] is True
    assert "Attractive" in done.evaluation["left_out_of_means"]
    text = console.export_text()
    assert "far-keras predict" in text and "1/7 render 200 faces" in text

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    again = quickstart(tmp_path / "run", 200, epochs=1, console=console)
    assert again == done
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert "1/7" not in console.export_text()

    # A step whose result is gone is done again, and those that rest on it.
    (tmp_path / "run" / "astronaut.png").unlink()
    quickstart(tmp_path / "run", 200, epochs=1, console=console)
    text = console.export_text()
    assert "6/7" in text and "7/7" in text and "5/7" not in text
