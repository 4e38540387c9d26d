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
from skimage.data import astronaut

import far_keras
from far_keras.errors import ModelError, OutputError
from far_keras.recognition.batch import about_path, predict_images, predict_to_file
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import CELEBA

PREDICTED = [n for n in CELEBA.attributes if n not in CELEBA.sensitive]  # Attractive is both


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_of(folder):
    return sorted(folder.iterdir())


def test_one_row_per_face_and_one_per_image_without_a_face(tflite, photographs, tmp_path):
    files = files_of(photographs)
    out = tmp_path / "results.jsonl"
    summary = predict_to_file(tflite, [*files, files[0]], out, progress=False)
    rows = read(out)
    assert [Path(row["file"]).name for row in rows] == [
        "a.png", "b.jpg", "broken.jpg", "nobody.png",
    ]  # fmt: skip
    assert [row["status"].partition(":")[0] for row in rows] == [
        "ok", "ok", "unreadable", "no face",
    ]  # fmt: skip
    with Recognizer.load(tflite) as recognizer:
        result = recognizer(files[0])
    (face,) = result.faces
    row = rows[0]
    assert (row["width"], row["height"], row["face"]) == (300, 300, 1)
    box = [row[side] for side in ("left", "top", "right", "bottom")]
    np.testing.assert_allclose(box, face.box, atol=0.006)  # two decimals
    assert row["confidence"] == pytest.approx(face.confidence, abs=1e-4)
    for name in PREDICTED:
        # Six decimals; another batch sums in another order.
        assert row[name] == pytest.approx(face.probabilities[name], abs=1e-5)
        assert row[f"{name}_decision"] == face.decisions[name]
        assert rows[2][name] is None and rows[2][f"{name}_decision"] is None
    assert row["not_visible"] == ";".join(face.not_visible)
    assert row["childlike"] == pytest.approx(face.childlike, abs=1e-3)
    assert not [name for name in row if "Male" in name or "Attractive" in name]

    assert (summary.images, summary.faces, summary.predicted) == (4, 2, 4)
    assert summary.statuses == {"ok": 2, "unreadable": 1, "no face": 1}
    assert summary.untrained == ("Attractive",) and "Male" in summary.left_out
    assert "images/s" in str(summary)
    about = json.loads(about_path(out).read_text())
    assert about["model"]["variant"] == "mgmtn_efficientnetlite0"
    assert [column["name"] for column in about["columns"]] == list(row)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "photographs", "results.jsonl", "results.jsonl.about.json",
    ]  # fmt: skip

    again = predict_to_file(tflite, files, out, progress=False)
    assert (again.predicted, again.images, again.faces) == (0, 4, 2)
    assert "nothing was left" in str(again)


def test_two_processes_predict_the_same_and_draw(tflite, photographs, tmp_path, monkeypatch):
    monkeypatch.setattr("far_keras.recognition.batch._CHUNK", 2)
    files = files_of(photographs)
    outs = [tmp_path / f"{workers}.parquet" for workers in (1, 2)]
    for workers, out in enumerate(outs, 1):
        predict_to_file(
            tflite, files, out, workers=workers, sensitive=True, progress=False,
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
from far_keras.recognition import batch
batch._CHUNK = 4
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
if __name__ == "__main__":
    model, folder, out, workers = sys.argv[1:]
    summary = batch.predict_to_file(
        model, sorted(Path(folder).iterdir()), out, workers=int(workers), batch_size=4,
        progress=False,
    )
    print(summary.predicted, summary.images, summary.faces, summary.statuses["ok"])
"""


def start(script, *arguments):
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


@pytest.mark.parametrize(
    ("workers", "how"),
    [pytest.param(1, signal.SIGINT, marks=pytest.mark.slow), (2, signal.SIGKILL)],
)
def test_every_image_is_predicted_once_after_any_kill(workers, how, tflite, photographs, tmp_path):
    image = Image.open(photographs / "a.png")
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        image.save(folder / f"{number:03d}.png", compress_level=0)
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    out = tmp_path / "results.jsonl"
    partial = tmp_path / "results.jsonl.partial"
    process = start(script, tflite, folder, out, workers)
    deadline = time.monotonic() + 120
    while not partial.exists() or partial.read_bytes().count(b"\n") < 6:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    family = children(process.pid)
    os.kill(process.pid, how)
    outputs = process.communicate(timeout=60)
    assert process.returncode != 0 and not out.exists(), outputs
    before = partial.read_bytes().count(b"\n") - 1
    assert 5 <= before < 40
    while any(map(is_alive, family)):  # workers end with their parent
        assert time.monotonic() < deadline
        time.sleep(0.05)

    process = start(script, tflite, folder, out, 1)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert list(map(int, output.split())) == [40 - before, 40, 40, 40]  # resumed ones count too
    names = [Path(row["file"]).name for row in read(out)]
    assert names == [f"{number:03d}.png" for number in range(40)]
    assert not partial.exists()


def test_a_table_is_resumed_with_the_same_settings_only(tflite, photographs, tmp_path):
    files = files_of(photographs)
    out = tmp_path / "r.csv"

    predict_to_file(tflite, files[:1], out, progress=False)
    with pytest.raises(OutputError, match="holds results of another model, of other images"):
        predict_to_file(tflite, files, out, progress=False)
    with pytest.raises(OutputError, match="other settings"):
        predict_to_file(tflite, files[:1], out, sensitive=True, progress=False)
    about_path(out).unlink()
    with pytest.raises(OutputError, match="was not made by this command"):
        predict_to_file(tflite, files[:1], out, progress=False)
    assert "file,status" in out.read_text()


def test_a_run_that_fails_at_once_leaves_nothing_behind(tflite, photographs, tmp_path):
    for arguments, error, message in (
        ((tmp_path / "nothing", [], tmp_path / "o" / "r.csv"), ModelError, "nothing"),
        ((tflite, [], tmp_path / "o" / "r.txt"), OutputError, "ends in one of"),
    ):
        with pytest.raises(error, match=message):
            predict_to_file(*arguments, progress=False)
    with pytest.raises(OutputError, match=r"workers: expected at least 1\. Received: 0"):
        predict_to_file(tflite, [], tmp_path / "o" / "r.csv", workers=0)
    assert not (tmp_path / "o").exists()


def test_an_error_in_a_worker_reaches_the_caller(photographs, tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"TFL3")
    files = [*files_of(photographs), *(f"{n}.png" for n in range(30))]
    with pytest.raises(ModelError, match=r"broken\.tflite"):
        predict_to_file(
            tmp_path / "broken.tflite", files, tmp_path / "r.csv", workers=2, progress=False
        )
    assert not list(tmp_path.glob("r.csv*"))


def test_every_image_gets_a_result_an_annotated_copy_and_json(noise_recognizer, tmp_path):
    photograph = tmp_path / "person.png"
    Image.fromarray(astronaut()).save(photograph)
    (tmp_path / "more").mkdir()
    namesake = tmp_path / "more" / "person.jpg"
    Image.fromarray(astronaut()[:, ::-1]).save(namesake)
    nobody = tmp_path / "nobody.png"
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(nobody)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(namesake.read_bytes()[:5000])

    files = [photograph, broken, nobody, namesake]
    results, copies = zip(*predict_images(noise_recognizer, files, tmp_path / "out"), strict=True)
    statuses = [result.status for result in results]
    assert statuses[0] == statuses[3] == "ok"
    assert statuses[2] == "no face"
    assert statuses[1].startswith("unreadable: ")
    # Copies of two photographs with one name do not overwrite each other.
    names = [copy and copy.name for copy in copies]
    assert names == ["person.png", None, "nobody.png", "person-2.png"]
    for path in filter(None, copies):
        assert np.asarray(Image.open(path)).shape[2] == 3

    data = json.loads(json.dumps(results[0].to_dict()))
    assert data["file"] == str(photograph)
    assert set(data["faces"][0]["attributes"]) == set(PREDICTED)
    left, top, right, bottom = data["faces"][0]["box"]
    assert left < 225 < right and top < 120 < bottom  # where the astronaut's face is


def test_neither_photographs_nor_copies_are_overwritten(noise_recognizer, tmp_path):
    colors = {"a.png": 10, "a.jpg": 60, "a-2.png": 110, "b/a.png": 160}
    (tmp_path / "b").mkdir()
    for name, value in colors.items():
        Image.new("RGB", (64, 64), (value,) * 3).save(tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in colors}
    files = [tmp_path / name for name in colors]
    written = [copy.name for _, copy in predict_images(noise_recognizer, files, tmp_path)]
    assert written == ["a-3.png", "a-4.png", "a-2-2.png", "a-5.png"]
    assert {name: (tmp_path / name).read_bytes() for name in colors} == before
