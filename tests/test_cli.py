import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from far_keras.cli import main

COMMANDS = (
    "quickstart",
    "synthesize",
    "annotate",
    "train",
    "evaluate",
    "predict",
    "call",
    "status",
    "load",
    "export",
    "serve",
    "summary",
)


def run(*arguments, timeout=120):
    return subprocess.run(
        [sys.executable, "-m", "far_keras.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
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
    done = run("annotate", tmp_path / "nowhere", tmp_path / "records")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("far-keras annotate: ")
    assert "nowhere: there is no such folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_place_that_cannot_be_written_is_one_line_and_status_1(tmp_path):
    (tmp_path / "file").write_text("no folder")
    sheet = tmp_path / "file" / "sheet.png"
    done = run("synthesize", tmp_path / "set", "--count", 1, "--workers", 1, "--sheet", sheet)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"far-keras synthesize: {tmp_path / 'file'}")
    assert "Not a directory" in last


def test_an_error_of_several_lines_is_printed_in_one(tmp_path):
    (tmp_path / "broken.yaml").write_text("epochs: [\n")
    done = run("train", "records", "--output", "model", "--config", tmp_path / "broken.yaml")
    assert done.returncode == 1
    assert "broken.yaml: cannot read" in done.stderr
    assert len(done.stderr.splitlines()) == 1


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


def test_forcing_an_unknown_attribute_is_refused_by_name(tmp_path):
    done = run("synthesize", tmp_path / "set", "--count", 1, "--force", "Frowning=1")
    assert done.returncode == 1
    assert "Frowning" in done.stderr


def test_synthesize_then_annotate(tmp_path):
    done = run(
        "synthesize", tmp_path / "set", "--count", 12, "--seed", 3, "--workers", 1,
        "--force", "Eyeglasses=1", "--sheet", tmp_path / "sheet.png", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "12 images" in done.stdout
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.std() > 20  # images and text, not a blank page
    rows = (tmp_path / "set" / "list_attr_celeba.txt").read_text().splitlines()
    glasses = rows[1].split().index("Eyeglasses")
    known = [row.split()[1:][glasses] for row in rows[2:]]
    assert known.count("1") >= 8
    assert "-1" not in known

    done = run("annotate", tmp_path / "set", tmp_path / "records", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "12 images in" in done.stdout
    assert json.loads((tmp_path / "records" / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("command", "again"), [("train", "continues"), ("evaluate", "starts over")]
)
def test_ctrl_c_says_what_the_same_command_does(command, again, monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"far_keras.cli.{command}.run", interrupted)
    given = {"train": ["records", "--output", "m"], "evaluate": ["m", "--records", "records"]}
    assert main([command, *given[command]]) == 130
    assert f"interrupted; the same command {again}\n" in capsys.readouterr().err
