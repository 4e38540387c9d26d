"""`far-keras predict` on photographs; videos are in video/test_video.py."""

import csv
import json

import pytest
from PIL import Image

from far_keras.cli import main


def predict(model_folder, *arguments):
    return main(["predict", "--model", str(model_folder), *map(str, arguments)])


def test_tables_and_what_they_leave_out(model_folder, photographs, tmp_path, capsys):
    assert predict(model_folder, photographs, "--annotated", tmp_path / "drawn") == 0
    said = capsys.readouterr()
    assert "a.png: 1 face" in said.out and "nobody.png: no face" in said.out
    assert "broken.jpg: unreadable" in said.out
    assert "Male" not in said.out and "Attractive" not in said.out
    foot = " ".join(said.err.split())
    assert "could not teach it: Attractive" in foot
    assert "sensitive, left out unless --sensitive is given: Big_Lips" in foot
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == ["a.png", "b.png", "nobody.png"]


def test_sensitive_answers_are_given_when_asked_for(model_folder, photographs, capsys):
    assert predict(model_folder, photographs / "a.png", "--json", "--sensitive") == 0
    said = capsys.readouterr()
    attributes = json.loads(said.out)["faces"][0]["attributes"]
    assert "Male" in attributes and "Attractive" not in attributes
    assert "sensitive" not in said.err


def test_children_are_answered_when_asked_for(model_folder, photographs, capsys, monkeypatch):
    """The astronaut is taken for a child here."""
    monkeypatch.setattr("far_keras.faces.child_shape.ChildShape.__call__", lambda *_: 0.8)
    assert predict(model_folder, photographs / "a.png") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a child's proportions, nothing decided (unless --children is given)" in said
    assert "Smiling" not in said
    assert predict(model_folder, photographs / "a.png", "--children") == 0
    assert "Smiling" in capsys.readouterr().out
    out = photographs / "r.jsonl"
    for _ in range(2):  # made, then there already
        assert predict(model_folder, photographs / "a.png", "--out", out) == 0
        assert "nothing decided about 1 of the faces" in capsys.readouterr().out
    row = json.loads(out.read_text())
    assert row["childlike"] == 0.8 and row["Smiling_decision"] is None and row["Smiling"] > 0
    assert predict(model_folder, photographs / "a.png", "--out", out, "--children") == 1
    assert "with other settings" in " ".join(capsys.readouterr().err.split())


def test_a_table_is_written_and_not_again(model_folder, photographs, tmp_path, capsys):
    out = tmp_path / "results.csv"
    assert predict(model_folder, photographs, "--out", out) == 0
    said = capsys.readouterr()
    assert "4 images (2 ok, 1 unreadable, 1 no face), 2 faces" in said.out
    assert "pictures/s" in said.out and "Attractive" in said.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["face"] for row in rows] == ["1", "1", "", ""]
    assert {row["Smiling_decision"] for row in rows} <= {"true", "false", ""}
    assert predict(model_folder, photographs, "--out", out) == 0
    assert "nothing was left to do" in capsys.readouterr().out
    assert predict(model_folder, photographs, "--out", out, "--sensitive") == 1
    assert "with other settings" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["empty"], "empty: expected images"),
        (["empty", "--out", "r.csv"], "empty: expected images"),
        (["photo.png", "--out", "r.xlsx"], "ends in one of .parquet, .jsonl, .csv"),
        (["photo.png", "--out", "r.csv", "--workers", "0"], "workers: expected at least 1"),
        (["photo.png", "--out", "photo.png/r.csv"], "photo.png"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments, message, model_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (50, 50)).save("photo.png")
    assert predict(model_folder, *arguments) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("far-keras")]
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "photo.png"]


def test_without_a_model_the_one_that_comes_with_the_package_answers(photographs, capsys):
    assert main(["predict", str(photographs / "a.png"), "--json"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert "Smiling" in face["attributes"]
