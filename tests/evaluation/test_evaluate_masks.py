"""Mask networks alone, measured against landmark masks and true regions."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from far_keras.cli import main
from far_keras.datasets.manifest import Manifest, Shard
from far_keras.datasets.records import FaceRecord, write_shard
from far_keras.errors import ModelError
from far_keras.evaluation.evaluate import evaluate, evaluate_masks
from far_keras.models.storage import save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import REGIONS, AttributeSchema, Group

SCHEMA = AttributeSchema(
    "two",
    ("Bald", "Smiling"),
    (Group("Hair", ("Bald",), ("hair",)), Group("Mouth", ("Smiling",), ("mouth",))),
)
BRIGHT = {"hair": slice(0, 80), "mouth": slice(150, 180)}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Twelve images: red is where the hair truly is, green where the mouth is."""
    folder, made = tmp_path_factory.mktemp("records"), []
    for k in range(12):
        image = np.zeros((218, 178, 3), np.uint8)
        true = np.zeros((218, 178), np.uint8)
        for channel, (region, rows) in enumerate(BRIGHT.items()):
            image[rows, :, channel] = 255
            true[rows] |= 1 << REGIONS.index(region)
        landmarks = true.copy()
        landmarks[60:80] = 0  # hair in 60 of 80 rows
        picture = io.BytesIO()
        Image.fromarray(image).save(picture, "JPEG", quality=95, subsampling=0)
        made.append(
            FaceRecord(
                f"{k}.jpg", picture.getvalue(), np.array([0, 1], np.int8),
                masks=b"" if k == 5 else png(landmarks), true_masks=png(true), identity=k // 3,
            )
        )  # fmt: skip
    size = write_shard(folder / "test.rec", made)
    shards = (Shard("test.rec", "test", 12, size),)
    Manifest("drawn", SCHEMA.attributes, True, "0", shards).write(folder)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A mask network that finds red and green: its weights are set by hand."""
    config = ModelConfig(
        "mgmtn_mobilenetv3small",
        {"image_size": 64, "mask_network": "unet", "unet_channels": [2, 2]},
        "masks",
    )
    model = build_model(config, SCHEMA)
    network = model.get_layer("mask_network")
    for layer in network.layers:
        if layer.name.startswith(("down_0_conv", "up_0_conv", "down_1_conv")):
            kernel = np.zeros(layer.kernel.shape, "float32")
            kernel[1, 1, 0, 0] = kernel[1, 1, 1, 1] = 1  # the channels, from the finest level
            layer.set_weights([kernel])
        elif layer.name == "masks":
            kernel = np.zeros(layer.kernel.shape, "float32")
            kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = 4
            layer.set_weights([kernel, np.full(2, -1.0, "float32")])
    folder = tmp_path_factory.mktemp("alone") / "masks"
    return save_model(model, folder, config=config, schema=SCHEMA)


def test_a_mask_network_is_measured_against_both_kinds_of_masks(records, alone):
    evaluation = evaluate_masks(alone, records, resamples=50, progress=False)
    (scores,) = evaluation.models
    assert scores.name == "mgmtn_mobilenetv3small"
    true, landmarks = scores.masks["true"], scores.masks["landmarks"]
    assert set(true) == {"iou", "dice", "boundary_f1"}
    assert true["iou"]["Hair"].value > 0.97 and true["boundary_f1"]["Hair"].value == 1
    assert landmarks["iou"]["Hair"].value == pytest.approx(60 / 80, abs=0.02)
    assert landmarks["dice"]["Hair"].value == pytest.approx(120 / 140, abs=0.02)
    assert landmarks["boundary_f1"]["Hair"].value == 0  # 20 rows away
    assert landmarks["iou"]["Mouth"].value > 0.9
    mean = (landmarks["iou"]["Hair"].value + landmarks["iou"]["Mouth"].value) / 2
    assert landmarks["iou"]["mean"].value == pytest.approx(mean)
    # All images are alike, so no resample differs.
    assert landmarks["iou"]["Hair"].low == pytest.approx(landmarks["iou"]["Hair"].high)
    assert evaluation.data["resampled"] == "identities" and evaluation.data["identities"] == 4


def test_the_command_measures_masks_where_there_is_nothing_else(records, alone, tmp_path, capsys):
    output = tmp_path / "figures"
    command = ["evaluate", str(alone), "--records", str(records), "--output", str(output)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "true (rendered) regions" in printed and "boundary F1" in printed
    assert "4 persons" in printed
    data = json.loads((output / "mask_evaluation.json").read_text())
    figures = data["models"]["mgmtn_mobilenetv3small"]["masks"]
    assert figures["landmarks"]["iou"]["Hair"]["value"] == pytest.approx(0.75, abs=0.02)
    assert data["boundary_tolerance_pixels"] == 3


def test_a_mask_network_alone_is_refused_where_attributes_are_needed(records, alone):
    with pytest.raises(ModelError, match="a mask network alone; measure it with"):
        evaluate(alone, records)
    with pytest.raises(ModelError, match="recognition needs a network that answers attributes"):
        Recognizer.load(alone)


def test_a_model_without_masks_has_none_to_measure(records, tmp_path):
    config = ModelConfig("baseline_mobilenetv3small", {"image_size": 64})
    model = build_model(config, SCHEMA)
    folder = save_model(model, tmp_path / "baseline", config=config, schema=SCHEMA)
    with pytest.raises(ModelError, match="'baseline_mobilenetv3small', which predicts none"):
        evaluate_masks(folder, records)
