import json
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from far_keras.cli import main
from far_keras.errors import MissingExtraError, SystemLibraryError

COMMANDS = (
    "quickstart",
    "synthesize",
    "annotate",
    "train",
    "evaluate",
    "predict",
    "call",
    "status",
    "export",
    "serve",
    "summary",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"far-keras {command}" in capsys.readouterr().out


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["predict", ""], ["predict", "a.jpg", "--out", ""]])
def test_an_empty_path_is_not_the_current_folder(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "expected a path. Received: an empty text" in capsys.readouterr().err


def test_a_known_error_is_one_line_and_status_1(tmp_path):
    command = [sys.executable, "-m", "far_keras.cli", "annotate", tmp_path / "nowhere", "records"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("far-keras annotate: ")
    assert "nowhere: there is no such folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        MissingExtraError("training needs keras: pip install 'far_keras[train]'"),
        SystemLibraryError("mediapipe needs libGL.so.1:\n  apt-get install libgl1"),
    ],
)
def test_a_missing_dependency_is_one_line_and_status_1(error, monkeypatch, capsys):
    monkeypatch.setattr("far_keras.cli.train.run", Mock(side_effect=error))
    assert main(["train", "records", "--output", "m"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "far-keras train: " + " ".join(map(str.strip, str(error).splitlines()))


def test_a_place_that_cannot_be_written_is_one_line_and_status_1(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    sheet = tmp_path / "file" / "sheet.png"
    set_ = tmp_path / "set"
    command = ["synthesize", set_, "--count", 1, "--workers", 1, "--sheet", sheet]
    assert main(list(map(str, command))) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"far-keras synthesize: {tmp_path / 'file'}")
    assert "a file is where a folder should be" in last


def test_an_error_of_several_lines_is_printed_in_one(tmp_path, capsys):
    (tmp_path / "broken.yaml").write_text("epochs: [\n")
    config = str(tmp_path / "broken.yaml")
    assert main(["train", "records", "--output", "model", "--config", config]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "broken.yaml: cannot read" in line


@pytest.mark.parametrize("word", ["Smiling", "Smiling=2", "Smiling=yes"])
def test_force_needs_a_name_and_a_bit(word, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["synthesize", str(tmp_path), "--force", word])
    assert stopped.value.code == 2
    assert "expected ATTRIBUTE=0 or ATTRIBUTE=1" in capsys.readouterr().err


@pytest.mark.parametrize("tie", ["Smiling", "Smiling=Wavy_Hair", "Smiling=Wavy_Hair:often"])
def test_a_tie_needs_two_names_and_a_share(tie, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["synthesize", str(tmp_path), "--agree", tie])
    assert stopped.value.code == 2
    assert "expected ATTRIBUTE=OTHER:SHARE" in capsys.readouterr().err


def test_forcing_an_unknown_attribute_is_refused_by_name(tmp_path, capsys):
    assert main(["synthesize", str(tmp_path / "set"), "--count", "1", "--force", "Frowning=1"]) == 1
    assert "Frowning" in capsys.readouterr().err


def test_synthesize_then_annotate(tmp_path, capsys):
    faces, records, sheet = (str(tmp_path / name) for name in ("set", "records", "sheet.png"))
    command = ["synthesize", faces, "--count", "6", "--seed", "3", "--workers", "1"]
    assert main([*command, "--force", "Eyeglasses=1", "--sheet", sheet]) == 0
    assert "6 images" in capsys.readouterr().out
    assert np.asarray(Image.open(sheet)).std() > 20  # images and text, not a blank page
    rows = (tmp_path / "set" / "list_attr_celeba.txt").read_text().splitlines()
    glasses = rows[1].split().index("Eyeglasses")
    known = [row.split()[1:][glasses] for row in rows[2:]]
    assert known.count("1") >= 4
    assert "-1" not in known

    assert main(["annotate", faces, records, "--workers", "1"]) == 0
    assert "6 images in" in capsys.readouterr().out
    assert json.loads((tmp_path / "records" / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("command", "again"), [("train", "continues"), ("evaluate", "starts over")]
)
def test_ctrl_c_says_what_the_same_command_does(command, again, monkeypatch, capsys):
    monkeypatch.setattr(f"far_keras.cli.{command}.run", Mock(side_effect=KeyboardInterrupt))
    given = {"train": ["records", "--output", "m"], "evaluate": ["m", "--records", "records"]}
    assert main([command, *given[command]]) == 130
    assert f"interrupted; the same command {again}\n" in capsys.readouterr().err
