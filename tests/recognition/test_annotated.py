import io
import json

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from far_keras.errors import ImageError
from far_keras.models.storage import save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.annotated import predict_files
from far_keras.recognition.pictures import list_photographs
from far_keras.recognition.recognizer import Recognizer
from far_keras.recognition.tables import tables
from far_keras.schema import CELEBA


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    """An untrained network: what it answers is noise, where it looks and what is written is not."""
    folder = tmp_path_factory.mktemp("models") / "noise"
    config = ModelConfig("mgmtn_efficientnetlite0", {"image_size": 64})
    thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
    model = build_model(config)
    save_model(model, folder, config=config, schema=CELEBA, thresholds=thresholds, provenance={})
    with Recognizer.load(folder, sensitive=True) as recognizer:
        yield recognizer


def test_folders_are_listed_and_empty_ones_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    other = tmp_path / "elsewhere" / "c.png"
    files = list_photographs([tmp_path, other])
    assert files == [tmp_path / "a.jpg", tmp_path / "b.png", other]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty"):
        list_photographs([tmp_path / "empty"])


def test_every_photograph_gets_an_answer_a_picture_and_json(recognizer, tmp_path):
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
    predictions = list(predict_files(recognizer, files, tmp_path / "out"))
    statuses = [p.result.status for p in predictions]
    assert statuses[0] == statuses[3] == "ok"
    assert statuses[2] == "no face"
    assert statuses[1].startswith("unreadable: ")
    assert [p.readable for p in predictions] == [True, False, True, True]
    # Two photographs of one name do not overwrite each other's answers.
    written = [p.annotated for p in predictions if p.annotated]
    assert [path.name for path in written] == ["person.png", "nobody.png", "person-2.png"]
    for path in written:
        assert np.asarray(Image.open(path)).shape[2] == 3

    data = json.loads(json.dumps(predictions[0].to_dict()))
    assert data["file"] == str(photograph)
    assert set(data["faces"][0]["attributes"]) == set(CELEBA.attributes)
    left, top, right, bottom = data["faces"][0]["box"]
    assert left < 225 < right and top < 120 < bottom  # where the astronaut's face is


def test_neither_photographs_nor_copies_are_overwritten(recognizer, tmp_path):
    colors = {"a.png": 10, "a.jpg": 60, "a-2.png": 110, "b/a.png": 160}
    (tmp_path / "b").mkdir()
    for name, value in colors.items():
        Image.new("RGB", (64, 64), (value,) * 3).save(tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in colors}
    files = [tmp_path / name for name in colors]
    written = [p.annotated.name for p in predict_files(recognizer, files, tmp_path)]
    assert written == ["a-3.png", "a-4.png", "a-2-2.png", "a-5.png"]
    assert {name: (tmp_path / name).read_bytes() for name in colors} == before


def test_tables_say_what_is_decided(recognizer, tmp_path):
    from rich.console import Console

    photograph = tmp_path / "person.png"
    Image.fromarray(astronaut()).save(photograph)
    (prediction,) = predict_files(recognizer, [photograph], tmp_path / "out")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(*tables(prediction), sep="\n")
    text = console.export_text()
    assert "1 face" in text
    face = prediction.result.faces[0]
    for name, decision in face.decisions.items():
        shown = f"{name} {face.certainty(name):.0%}" in text
        assert shown == (decision is True), name  # None: not visible, with some random weights
