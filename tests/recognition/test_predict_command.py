"""`far-keras predict` on photographs; videos are in test_video.py."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from skimage.data import astronaut

from far_keras.cli import main
from far_keras.cli.predict import result_tables


def predict(tflite, *arguments):
    return main(["predict", "--model", str(tflite), *map(str, arguments)])


def test_tables_and_what_they_leave_out(tflite, photographs, tmp_path, capsys):
    assert predict(tflite, photographs, "--annotated", tmp_path / "drawn") == 0
    output = capsys.readouterr()
    assert "a.png: 1 face" in output.out and "nobody.png: no face" in output.out
    assert "broken.jpg: unreadable" in output.out
    assert "Male" not in output.out and "Attractive" not in output.out
    foot = " ".join(output.err.split())
    assert "not trained on them: Attractive" in foot
    assert "sensitive, left out unless --sensitive is given: Big_Lips" in foot
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == ["a.png", "b.png", "nobody.png"]


def test_sensitive_attributes_are_included_on_request(tflite, photographs, capsys):
    assert predict(tflite, photographs / "a.png", "--json", "--sensitive") == 0
    output = capsys.readouterr()
    attributes = json.loads(output.out)["faces"][0]["attributes"]
    assert "Male" in attributes and "Attractive" not in attributes
    assert "sensitive" not in output.err


def test_children_are_decided_on_request(tflite, photographs, capsys, monkeypatch):
    """The astronaut is made a child here."""
    monkeypatch.setattr("far_keras.faces.child_shape.ChildShape.__call__", lambda *_: 0.8)
    assert predict(tflite, photographs / "a.png") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "a child's proportions, nothing decided (unless --children is given)" in output
    assert "Smiling" not in output
    assert predict(tflite, photographs / "a.png", "--children") == 0
    assert "Smiling" in capsys.readouterr().out
    out = photographs / "r.jsonl"
    for _ in range(2):  # made, then there already
        assert predict(tflite, photographs / "a.png", "--out", out) == 0
        assert "nothing decided about 1 of the faces" in capsys.readouterr().out
    row = json.loads(out.read_text())
    assert row["childlike"] == 0.8 and row["Smiling_decision"] is None and row["Smiling"] > 0
    assert predict(tflite, photographs / "a.png", "--out", out, "--children") == 1
    assert "with other settings" in " ".join(capsys.readouterr().err.split())


def test_a_table_is_written_once(tflite, photographs, tmp_path, capsys):
    out = tmp_path / "results.csv"
    assert predict(tflite, photographs, "--out", out) == 0
    output = capsys.readouterr()
    assert "4 images (2 ok, 1 unreadable, 1 no face), 2 faces" in output.out
    assert "images/s" in output.out and "Attractive" in output.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["face"] for row in rows] == ["1", "1", "", ""]
    assert {row["Smiling_decision"] for row in rows} <= {"true", "false", ""}
    assert predict(tflite, photographs, "--out", out) == 0
    assert "nothing was left to do" in capsys.readouterr().out
    assert predict(tflite, photographs, "--out", out, "--sensitive") == 1
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
def test_errors_are_one_line(arguments, message, tflite, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (50, 50)).save("photo.png")
    assert predict(tflite, *arguments) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("far-keras")]
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "photo.png"]


def test_without_a_model_the_one_that_comes_with_the_package_is_used(photographs, capsys):
    assert main(["predict", str(photographs / "a.png"), "--json"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert "Smiling" in face["attributes"]


def test_tables_show_what_is_decided(noise_recognizer):
    result = noise_recognizer(astronaut())
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(*result_tables(result), sep="\n")
    text = console.export_text()
    assert "1 face" in text
    face = result.faces[0]
    for name, decision in face.decisions.items():
        shown = f"{name} {face.certainty(name):.0%}" in text
        assert shown == (decision is True), name  # None: not visible, with some random weights


@pytest.mark.parametrize(
    "flag, value", [("--min-confidence", "1"), ("--min-confidence", "x"), ("--min-face-size", "0")]
)
def test_detection_flags_out_of_range(flag, value, capsys):
    with pytest.raises(SystemExit):
        main(["predict", "photo.jpg", flag, value])
    assert f"{flag}: expected a number between 0 and" in capsys.readouterr().err


def test_detection_flags_reach_the_detector(tmp_path, capsys):
    image = astronaut()
    Image.fromarray(np.ascontiguousarray(np.rot90(image, 2))).save(tmp_path / "turned.png")
    Image.fromarray(image).resize((60, 60)).save(tmp_path / "small.png")  # a face of 11 pixels
    assert main(["predict", str(tmp_path / "turned.png")]) == 0
    assert "1 face" in capsys.readouterr().out
    out = tmp_path / "t.jsonl"
    command = ["predict", str(tmp_path / "small.png"), "--out", str(out)]
    assert main([*command, "--min-confidence", "0.99"]) == 0
    assert "1 no face" in capsys.readouterr().out
    assert main(command) == 1  # other settings
    assert "other settings" in " ".join(capsys.readouterr().err.split())
