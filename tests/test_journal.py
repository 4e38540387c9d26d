import json

import pytest

from far_keras.errors import DatasetError
from far_keras.journal import StepJournal

SETTINGS = {"count": 3}


def stop():
    raise KeyboardInterrupt


def test_a_finished_step_is_remembered_and_an_interrupted_one_is_not(tmp_path):
    path = tmp_path / "run" / "journal.json"
    journal = StepJournal(path, SETTINGS)
    assert not journal.is_finished("first")
    assert journal.run("first", lambda: None) >= 0
    with pytest.raises(KeyboardInterrupt):
        journal.run("second", stop)
    later = StepJournal(path, SETTINGS)
    assert later.is_finished("first") and not later.is_finished("second")
    assert set(later.seconds) == {"first", "second"}


def test_the_sittings_of_one_step_add_up_and_a_repetition_starts_anew(tmp_path, monkeypatch):
    clock = iter([0.0, 5.0, 100.0, 107.0, 200.0, 201.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    journal = StepJournal(tmp_path / "journal.json", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        journal.run("step", stop)
    journal.run("step", lambda: None)
    assert journal.seconds["step"] == 12.0
    journal.run("step", lambda: None)
    assert journal.seconds["step"] == 1.0


def test_a_step_that_fails_when_repeated_is_finished_no_more(tmp_path):
    journal = StepJournal(tmp_path / "journal.json", SETTINGS)
    journal.run("step", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        journal.run("step", stop)
    assert not StepJournal(tmp_path / "journal.json", SETTINGS).is_finished("step")


def test_other_settings_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "journal.json"
    StepJournal(path, SETTINGS).run("step", lambda: None)
    with pytest.raises(DatasetError, match=r"other settings: \{'count': 3\}, not \{'count': 4\}"):
        StepJournal(path, {"count": 4})
    for text in ("", "{", "[]", json.dumps({"settings": SETTINGS})):
        path.write_text(text)
        with pytest.raises(DatasetError, match=r"journal\.json: cannot be read"):
            StepJournal(path, SETTINGS)
