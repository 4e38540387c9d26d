import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from far_keras.errors import DatasetError
from far_keras.export.weightless_tflite import load_weightless_tflite
from far_keras.models.storage import load_model
from far_keras.schema import CELEBA
from research.pretraining.card import STAND_INS
from research.pretraining.pretrain import Recipe, pretrain

SMALL = Recipe(200, training={"epochs": 1, "image_size": 64, "imagenet": False})


def test_too_few_images_are_refused():
    with pytest.raises(DatasetError, match=r"images: expected at least 200\. Received: 20"):
        Recipe(20)


def test_missing_photographs_are_refused_before_any_work(tmp_path):
    with pytest.raises(DatasetError, match="nowhere: there is no such folder"):
        pretrain(tmp_path / "run", SMALL, photographs=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_small_recipe_ends_with_a_model_and_a_card(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("research.pretraining.card.COUNT", 2)
    monkeypatch.setattr("research.pretraining.pretrain._LEAST_IMAGES", 80)
    recipe = replace(SMALL, images=80)
    console = Console(record=True)
    folder = pretrain("run", recipe, console=console)
    assert folder == Path("run/mgmtn_efficientnetlite0")
    loaded = load_model(folder)
    assert load_weightless_tflite(folder) is not None  # LiteRT can run it
    assert loaded.provenance["licence"] == "Apache-2.0"
    assert loaded.provenance["recipe"] == recipe.to_dict()
    assert loaded.provenance["synthesis"]["seed"] == 0
    assert str(tmp_path) not in json.dumps(loaded.provenance["config"])

    with Path("labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "split", *CELEBA.attributes))
        names = sorted(Path("run/faces/img_align_celeba").iterdir())[:12]
        for number, path in enumerate(names):
            labels = [number % 2 if name == "Smiling" else "" for name in CELEBA.attributes]
            rows.writerow((path, "test", *labels))
    pretrain("run", recipe, photographs="labels.csv", console=console)
    assert console.export_text().count("render 80 faces") == 1
    card = (folder / "MODEL_CARD.md").read_text()
    assert "Synthetic data" in card and "12 images" in card
    assert "| baseline_efficientnetlite0 |" in card and "| majority |" in card
    for kind in STAND_INS:
        assert f"| {kind} | " in card
    assert (folder / "stand_ins.jpg").stat().st_size > 30_000
    assert (folder / "mistakes.jpg").stat().st_size > 10_000
