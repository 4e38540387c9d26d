import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

import far_keras
from far_keras.errors import ModelError, OutputError
from far_keras.recognition.batch.job import about_path, predict_to_file
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import CELEBA

ANSWERED = [n for n in CELEBA.attributes if n not in CELEBA.sensitive]  # Attractive is both


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_of(folder):
    return sorted(folder.iterdir())


def test_a_row_a_face_and_a_row_for_each_picture_without(model_folder, photographs, tmp_path):
    files = files_of(photographs)
    out = tmp_path / "results.jsonl"
    summary = predict_to_file(model_folder, [*files, files[0]], out, progress=False)
    rows = read(out)
    assert [Path(row["file"]).name for row in rows] == [
        "a.png", "b.jpg", "broken.jpg", "nobody.png",
    ]  # fmt: skip
    assert [row["status"].partition(":")[0] for row in rows] == [
        "ok", "ok", "unreadable", "no face",
    ]  # fmt: skip
    with Recognizer.load(model_folder) as recognizer:
        result = recognizer(files[0])
    (face,) = result.faces
    row = rows[0]
    assert (row["width"], row["height"], row["face"]) == (300, 300, 1)
    box = [row[side] for side in ("left", "top", "right", "bottom")]
    np.testing.assert_allclose(box, face.box, atol=0.006)  # two decimals
    assert row["confidence"] == pytest.approx(face.confidence, abs=1e-4)
    for name in ANSWERED:
        # Six decimals; another batch sums in another order.
        assert row[name] == pytest.approx(face.probabilities[name], abs=1e-5)
        assert row[f"{name}_decision"] == face.decisions[name]
        assert rows[2][name] is None and rows[2][f"{name}_decision"] is None
    assert row["not_visible"] == ";".join(face.not_visible)
    assert row["childlike"] == pytest.approx(face.childlike, abs=1e-3)
    assert not [name for name in row if "Male" in name or "Attractive" in name]

    assert (summary.pictures, summary.faces, summary.answered) == (4, 2, 4)
    assert summary.statuses == {"ok": 2, "unreadable": 1, "no face": 1}
    assert summary.untrained == ("Attractive",) and "Male" in summary.left_out
    assert "pictures/s" in str(summary)
    about = json.loads(about_path(out).read_text())
    assert about["model"]["variant"] == "mgmtn_efficientnetlite0"
    assert [column["name"] for column in about["columns"]] == list(row)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "photographs", "results.jsonl", "results.jsonl.about.json",
    ]  # fmt: skip

    again = predict_to_file(model_folder, files, out, progress=False)
    assert (again.answered, again.pictures, again.faces) == (0, 4, 2)
    assert "nothing was left" in str(again)


def test_two_processes_answer_the_same_and_draw(model_folder, photographs, tmp_path, monkeypatch):
    monkeypatch.setattr("far_keras.recognition.batch.job._CHUNK", 2)
    files = files_of(photographs)
    outs = [tmp_path / f"{workers}.parquet" for workers in (1, 2)]
    for workers, out in enumerate(outs, 1):
        predict_to_file(
            model_folder, files, out, workers=workers, sensitive=True, progress=False,
            annotated=tmp_path / f"drawn-{workers}",
        )  # fmt: skip
    one, two = (pyarrow.parquet.read_table(out).to_pylist() for out in outs)
    assert len(one) == 4 and "Male" in one[0] and "Attractive" not in one[0]
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name, value in a.items():
            if isinstance(value, float):
                assert b[name] == pytest.approx(value, abs=1e-5)  # other batches
            else:
                assert b[name] == value
    for workers in (1, 2):
        drawn = sorted(path.name for path in (tmp_path / f"drawn-{workers}").iterdir())
        assert drawn == ["a.png", "b.png", "nobody.png"]


KILLED = """
import signal
import sys
from pathlib import Path
from far_keras.recognition.batch import job
job._CHUNK = 4
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs behind
if __name__ == "__main__":
    model, folder, out, workers = sys.argv[1:]
    summary = job.predict_to_file(
        model, sorted(Path(folder).iterdir()), out, workers=int(workers), batch_size=4,
        progress=False,
    )
    print(summary.answered)
"""


def begin(script, *arguments):
    root = str(Path(far_keras.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": root}, start_new_session=True,
    )  # fmt: skip


def children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def is_alive(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize(("workers", "how"), [(1, signal.SIGINT), (2, signal.SIGKILL)])
def test_every_picture_is_answered_once_whatever_kills_it(
    workers, how, model_folder, photographs, tmp_path
):
    picture = Image.open(photographs / "a.png")
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        picture.save(folder / f"{number:03d}.png", compress_level=0)
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    out = tmp_path / "results.jsonl"
    partial = tmp_path / "results.jsonl.partial"
    process = begin(script, model_folder, folder, out, workers)
    deadline = time.monotonic() + 120
    while not partial.exists() or partial.read_bytes().count(b"\n") < 6:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    family = children(process.pid)
    os.kill(process.pid, how)
    told = process.communicate(timeout=60)
    assert process.returncode != 0 and not out.exists(), told
    before = partial.read_bytes().count(b"\n") - 1
    assert 5 <= before < 60
    while any(map(is_alive, family)):  # workers end with their parent
        assert time.monotonic() < deadline
        time.sleep(0.05)

    process = begin(script, model_folder, folder, out, 1)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert int(said) == 60 - before
    names = [Path(row["file"]).name for row in read(out)]
    assert names == [f"{number:03d}.png" for number in range(60)]
    assert not partial.exists()


def test_a_begun_table_goes_on_only_with_the_same_settings(model_folder, photographs, tmp_path):
    files = files_of(photographs)
    out = tmp_path / "r.csv"

    predict_to_file(model_folder, files[:1], out, progress=False)
    with pytest.raises(OutputError, match="holds answers of another model, to other images"):
        predict_to_file(model_folder, files, out, progress=False)
    with pytest.raises(OutputError, match="other settings"):
        predict_to_file(model_folder, files[:1], out, sensitive=True, progress=False)
    about_path(out).unlink()
    with pytest.raises(OutputError, match="was not made by this command"):
        predict_to_file(model_folder, files[:1], out, progress=False)
    assert "file,status" in out.read_text()


def test_what_fails_at_once_leaves_nothing_behind(model_folder, photographs, tmp_path):
    for arguments, error, message in (
        ((tmp_path / "nothing", [], tmp_path / "o" / "r.csv"), ModelError, "nothing"),
        ((model_folder, [], tmp_path / "o" / "r.txt"), OutputError, "ends in one of"),
    ):
        with pytest.raises(error, match=message):
            predict_to_file(*arguments, progress=False)
    with pytest.raises(OutputError, match=r"workers: expected at least 1\. Received: 0"):
        predict_to_file(model_folder, [], tmp_path / "o" / "r.csv", workers=0)
    assert not (tmp_path / "o").exists()


def test_an_error_in_a_worker_reaches_the_caller(photographs, tmp_path):
    (tmp_path / "empty").mkdir()
    files = files_of(photographs)
    with pytest.raises(ModelError, match="empty"):
        predict_to_file(
            tmp_path / "empty", [*files, *(f"{n}.png" for n in range(30))], tmp_path / "r.csv",
            workers=2, progress=False,
        )  # fmt: skip
    assert not list(tmp_path.glob("r.csv*"))
