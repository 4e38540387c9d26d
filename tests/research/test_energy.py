"""Explanations of saved models on records, and the command that makes them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from far_keras.cli import main
from far_keras.datasets.manifest import Manifest, Shard
from far_keras.datasets.records import FaceRecord, write_shard
from far_keras.errors import DatasetError, ModelError
from far_keras.evaluation.explain import Explanation, Shown, explain
from far_keras.evaluation.explanation_grid import explanation_grid
from far_keras.models.storage import save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import REGIONS, AttributeSchema, Group

SCHEMA = AttributeSchema(
    "two",
    ("Bald", "Smiling"),
    (Group("Hair", ("Bald",), ("hair",)), Group("Mouth", ("Smiling",), ("mouth",))),
)
NAMES = ("mgmtn_mobilenetv3small", "baseline_mobilenetv3small")


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Twelve images of noise, two of them without masks; hair covers a quarter."""
    folder, made = tmp_path_factory.mktemp("records"), []
    rng = np.random.default_rng(0)
    packed = np.zeros((218, 178), np.uint8)
    packed[:109, :89] |= 1 << REGIONS.index("hair")
    packed[150:180, 60:120] |= 1 << REGIONS.index("mouth")
    for k in range(12):
        picture = io.BytesIO()
        noise = rng.integers(0, 256, (11, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((178, 218)).save(picture, "JPEG")
        made.append(
            FaceRecord(
                f"{k}.jpg", picture.getvalue(), np.array([0, 1], np.int8),
                masks=b"" if k in (4, 7) else png(packed), identity=k // 3,
            )
        )  # fmt: skip
    size = write_shard(folder / "test.rec", made)
    Manifest("noise", SCHEMA.attributes, False, "0", (Shard("test.rec", "test", 12, size),)).write(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = []
    for name in NAMES:
        config = ModelConfig(name, {"image_size": 64})
        model = build_model(config, SCHEMA)
        made.append(save_model(model, folder / name, config=config, schema=SCHEMA))
    return made


def test_the_command_writes_shares_and_grids(records, models, tmp_path, capsys):
    output = tmp_path / "explained"
    command = ["explain", str(models[0]), "--baseline", str(models[1]), "--records", str(records)]
    assert main([*command, "--count", "12", "--shown", "2", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "10 images of 4 persons" in printed and "class activation" in printed
    data = json.loads((output / "explanation.json").read_text())
    assert data["data"]["without_masks"] == 2
    assert data["area"]["Hair"]["value"] == pytest.approx(0.25, abs=1e-6)
    for name in NAMES:
        for method in ("activation", "gradient"):
            figures = data["inside"][name][method]
            assert set(figures) == {"Hair", "Mouth", "mean"}
            for each in figures.values():
                assert 0 < each["low"] <= each["value"] <= each["high"] < 1
    both = [data["inside"][name]["gradient"]["Hair"]["value"] for name in NAMES]
    difference = data["differences"][" - ".join(NAMES)]["gradient"]["Hair"]
    assert difference["value"] == pytest.approx(both[0] - both[1], abs=2e-6)  # of six digits
    for method in ("activation", "gradient"):
        with Image.open(output / f"explanation-{method}.png") as grid:
            assert grid.width > 400 and np.asarray(grid).std() > 20


def test_the_same_seed_looks_at_the_same_pictures(records, models):
    options = {"count": 5, "methods": ("activation",), "resamples": 20, "progress": False}
    first, again = (explain(models[1], records, **options) for _ in range(2))
    assert first.inside == again.inside
    other = explain(models[1], records, **options, seed=1)
    assert other.inside != first.inside


def test_what_cannot_be_explained_is_refused(records, models, tmp_path):
    with pytest.raises(DatasetError, match="count and methods: expected at least 1"):
        explain(models, records, count=0)
    with pytest.raises(DatasetError, match="'valid' has no images"):
        explain(models, records, "valid")
    config = ModelConfig("mgmtn_mobilenetv3small", {"image_size": 64, "masks": "given"})
    model = build_model(config, SCHEMA)
    given = save_model(model, tmp_path / "given", config=config, schema=SCHEMA)
    with pytest.raises(ModelError, match="an explanation needs a network that answers from"):
        explain(given, records)


def test_the_grid_has_heat_where_the_energy_is_and_a_line_around_the_mask():
    energy, masks = np.zeros((1, 2, 50, 50), "float32"), np.zeros((1, 2, 50, 50), bool)
    energy[0, 0, 20:30, 20:30] = 1
    masks[0, 0, 10:40, 10:40] = True
    inside = {"gradient": np.array([[1.0, np.nan]])}
    pictures = np.full((1, 50, 50, 3), 100, np.uint8)
    shown = Shown(pictures, masks, {"gradient": energy}, inside)
    explanation = Explanation({}, ("Mouth", "Whole"), {}, {}, {}, {"network": shown})
    grid = np.asarray(explanation_grid(explanation, "gradient", "title"))
    first, second = grid[70:220, 282:432], grid[70:220, 436:586]  # the cells of the two groups
    red, green, blue = first[75, 75].astype(int)
    assert red > 200 > blue and red > green  # warm in the middle
    assert first[75, 40].tolist() == [75, 75, 75]  # grey within the mask, where no energy is
    assert first[75, 30].tolist() == [0, 235, 255]  # the mask's left side
    assert len(np.unique(second[:120].reshape(-1, 3), axis=0)) == 1  # nothing to show
