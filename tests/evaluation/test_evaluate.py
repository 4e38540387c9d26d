import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from far_keras.calibration import Calibration
from far_keras.cli import main
from far_keras.datasets.records import (
    FaceRecord,
    Manifest,
    Shard,
    read_shard,
    read_table_of_records,
    write_shard,
)
from far_keras.errors import DatasetError, ModelError
from far_keras.evaluation.evaluate import MAJORITY, evaluate, evaluate_masks
from far_keras.evaluation.metrics import (
    attribute_scores,
    brier_score,
    group_masks,
    mask_scores,
    unpack_regions,
)
from far_keras.evaluation.predict import predict_split
from far_keras.evaluation.report import tables
from far_keras.models.storage import given_mask_size, load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import REGIONS, AttributeSchema, Group

COLUMNS = ("Smiling", "Other", "Bald")  # of the records; the schema has two, in another order
SCHEMA = AttributeSchema(
    "two",
    ("Bald", "Smiling"),
    (Group("Hair", ("Bald",), ("hair",)), Group("Mouth", ("Smiling",), ("mouth", "lower_face"))),
)
CALIBRATION = Calibration({"Bald": (2.0, -0.5), "Smiling": (0.5, 0.25)})
COUNTS = {"train": 20, "valid": 0, "test": 37}


def encode(array, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def make_records(folder, split, count, rng):
    for k in range(count):
        noise = rng.integers(0, 256, (11, 9, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(noise).resize((178, 218)))
        packed = np.zeros((218, 178), np.uint8)
        packed[: rng.integers(40, 100)] |= 1 << REGIONS.index("hair")
        packed[150:180, 50:120] |= 1 << REGIONS.index("mouth")
        labels = rng.integers(0, 2, 3)
        if split == "train":
            labels[:] = (1, 0, 0)  # the majority smiles and is not bald
        yield FaceRecord(
            f"{split}{k}.jpg", encode(image, "JPEG"), labels.astype(np.int8),
            masks=b"" if k % 5 == 0 else encode(packed),
            identity=-1 if k < 3 else k // 4,
        )  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    shards = []
    for split, count in COUNTS.items():
        if count:
            size = write_shard(folder / f"{split}.rec", make_records(folder, split, count, rng))
            shards.append(Shard(f"{split}.rec", split, count, size))
    Manifest("noise", COLUMNS, False, "0", tuple(shards)).write(folder)
    return folder


def make_model(folder, variant, schema=SCHEMA, **arguments):
    config = ModelConfig(variant, {"image_size": 64, **arguments})
    return save_model(
        build_model(config, schema), folder, config=config, schema=schema,
        thresholds=dict.fromkeys(schema.attributes, 0.4), calibration=CALIBRATION,
    )  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [
        make_model(folder / variant, variant)
        for variant in ("mgmtn_mobilenetv3small", "baseline_mobilenetv3small")
    ]


def test_predictions_are_in_the_order_of_records_and_schema(records, models):
    from far_keras.datasets.pipeline import load_records

    loaded = load_model(models[0])
    predicted = predict_split(loaded, records, "test", batch_size=8)
    images, truth = next(
        iter(load_records(records, "test", schema=SCHEMA, image_size=64, mask_size=16,
                          batch_size=64))
    )  # fmt: skip
    outputs = loaded.model.predict_on_batch(images)
    np.testing.assert_array_equal(predicted.labels, truth["attributes"])
    # Batches of 8 and of 37 sum in another order in float32.
    np.testing.assert_allclose(predicted.logits, outputs["attributes"], atol=1e-4)
    scaled = outputs["attributes"] * [2.0, 0.5] + [-0.5, 0.25]
    np.testing.assert_allclose(predicted.probabilities, 1 / (1 + np.exp(-scaled)), atol=1e-5)
    # The masks are scored over the whole frame: the first of the images that have any.
    packed = next(itertools.islice(read_shard(records / "test.rec"), 1, None)).masks
    truth = group_masks(unpack_regions(packed), SCHEMA)
    expected = mask_scores(truth, 1 / (1 + np.exp(-outputs["masks"][1])))
    np.testing.assert_allclose(predicted.masks["landmarks"][1], expected, atol=0.02)
    np.testing.assert_array_equal(predicted.iou, predicted.masks["landmarks"][:, 0])
    assert np.isnan(predicted.iou[::5]).all() and np.isfinite(predicted.iou[1]).any()


def test_the_command_leaves_scarce_attributes_out_of_the_means(records, models, tmp_path):
    labels = read_table_of_records(records, "test").labels
    assert [(labels[:, COLUMNS.index(n)] == 1).sum() for n in SCHEMA.attributes] == [15, 15]
    command = ["evaluate", str(models[0]), "--records", str(records), "--output", str(tmp_path)]
    assert main([*command, "--least", "16"]) == 0  # more say no
    data = json.loads((tmp_path / "evaluation.json").read_text())["models"]
    assert data["mgmtn_mobilenetv3small"]["mean"]["roc_auc"]["value"] is None


def test_an_evaluation_of_saved_models(records, models):
    evaluation = evaluate(models[0], records, baseline=models[1], resamples=50)
    names = [model.name for model in evaluation.models]
    assert names == ["mgmtn_mobilenetv3small", "baseline_mobilenetv3small", MAJORITY]
    assert evaluation.data["images"] == 37
    assert evaluation.data["resampled"] == "identities"
    # Images 3 to 36 in fours; the first three are of unknown persons, each counted for one.
    assert evaluation.data["identities"] == 13
    assert evaluation.data["synthetic"] is False
    loaded = load_model(models[0])
    predicted = predict_split(loaded, records, "test")
    plain = brier_score(predicted.labels, 1 / (1 + np.exp(-predicted.logits))).mean()
    calibrated = brier_score(
        predicted.labels, CALIBRATION.probabilities(predicted.logits, SCHEMA.attributes)
    )
    metrics = evaluation.models[0].calibration
    assert metrics["brier_score_uncalibrated"] == pytest.approx(plain, abs=1e-5)
    assert metrics["brier_score"] == pytest.approx(calibrated.mean(), abs=1e-5)
    assert evaluation.model(MAJORITY).calibration is None
    expected = attribute_scores(predicted.labels, predicted.probabilities, 0.4)
    mgmtn = evaluation.models[0]
    for a, name in enumerate(SCHEMA.attributes):
        scores = mgmtn.attributes[name]
        assert scores["roc_auc"].value == pytest.approx(expected["roc_auc"][a])
        assert scores["accuracy_at_thresholds"].value == pytest.approx(expected["accuracy"][a])
    assert mgmtn.thresholds == {"Bald": 0.4, "Smiling": 0.4}
    assert set(mgmtn.mask_iou) == {"Hair", "Mouth", "mean"}
    assert evaluation.models[1].mask_iou is None
    # The majority of the training split, column by column.
    majority = evaluation.model(MAJORITY)
    assert majority.attributes["Smiling"]["accuracy"].value == (predicted.labels[:, 1] == 1).mean()
    assert majority.attributes["Bald"]["accuracy"].value == (predicted.labels[:, 0] == 0).mean()
    assert majority.mean["roc_auc"].value == 0.5


def test_given_masks_are_those_of_the_records_and_the_table_tells(records, tmp_path):
    from far_keras.datasets.pipeline import load_records

    folder = make_model(tmp_path / "given", "mgmtn_mobilenetv3small", masks="given")
    loaded = load_model(folder)
    for weight in loaded.model.weights:  # the logits of fresh heads hardly differ
        if "logits" in weight.path:
            weight.assign(np.random.default_rng(0).normal(0, 100, weight.shape))
    predicted = predict_split(loaded, records, "test", batch_size=8)
    assert predicted.given_masks == "landmarks"
    inputs, _ = next(
        iter(load_records(records, "test", schema=SCHEMA, image_size=64, batch_size=64,
                          mask_size=given_mask_size(loaded.model), masks_as="input"))
    )  # fmt: skip
    logits = loaded.model.predict_on_batch(inputs)["attributes"]
    np.testing.assert_allclose(predicted.logits, logits, atol=1e-3)  # a fifth of what masks change
    blind = loaded.model.predict_on_batch({**inputs, "masks": np.ones_like(inputs["masks"])})
    changed = np.abs(blind["attributes"] - logits).max(axis=1)
    assert (changed[::5] == 0).all() and (changed[1:5] > 5e-3).all()  # every fifth has no masks
    assert predicted.iou is None

    evaluation = evaluate(folder, records, resamples=5)
    assert evaluation.data["given_masks"] == {"mgmtn_mobilenetv3small": "landmarks"}
    assert "given the records' own masks (landmarks)" in tables(evaluation)[0].caption


@pytest.mark.slow
def test_two_models_of_one_variant_are_named_by_their_folders(records, models, tmp_path):
    """They may group the attributes differently."""
    all_in_one = AttributeSchema(
        "one group", SCHEMA.attributes, (Group("All", SCHEMA.attributes, ("object",)),)
    )
    other = make_model(tmp_path / "other", "mgmtn_mobilenetv3small", all_in_one)
    evaluation = evaluate([models[0], other], records, resamples=5)
    assert [m.name for m in evaluation.models] == ["mgmtn_mobilenetv3small", "other", MAJORITY]
    masks = tables(evaluation)[1]
    first, _, _, second = (list(column.cells) for column in masks.columns[1:5])
    assert list(masks.columns[0].cells) == ["Hair", "Mouth", "All", "mean"]
    assert [cell == "-" for cell in first] == [False, False, True, False]
    assert second[:2] == ["-", "-"]


def test_impossible_evaluations_are_refused(records, models, tmp_path):
    with pytest.raises(DatasetError, match="'valid' has no images"):
        evaluate(models[0], records, "valid")
    with pytest.raises(DatasetError, match="manifest"):
        evaluate(models[0], tmp_path)
    with pytest.raises(ModelError, match="nothing_here"):
        evaluate(tmp_path / "nothing_here", records)
    with pytest.raises(ModelError, match="at least one saved model"):
        evaluate([], records)
    with pytest.raises(ModelError, match=r"expected each model once. Received: .* twice"):
        evaluate(models[0], records, baseline=models[0])
    one = AttributeSchema("one", ("Bald",), (Group("Hair", ("Bald",), ("hair",)),))
    small = make_model(tmp_path / "small", "baseline_mobilenetv3small", one)
    with pytest.raises(ModelError, match=r"missing attributes \['Smiling'\]"):
        evaluate(models[0], records, baseline=small)


MASK_SCHEMA = AttributeSchema(
    "two",
    ("Bald", "Smiling"),
    (Group("Hair", ("Bald",), ("hair",)), Group("Mouth", ("Smiling",), ("mouth",))),
)
BRIGHT = {"hair": slice(0, 80), "mouth": slice(150, 180)}


@pytest.fixture(scope="module")
def drawn_records(tmp_path_factory):
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
        made.append(
            FaceRecord(
                f"{k}.jpg",
                encode(image, "JPEG", quality=95, subsampling=0),
                np.array([0, 1], np.int8),
                masks=b"" if k == 5 else encode(landmarks),
                true_masks=encode(true),
                identity=k // 3,
            )
        )
    size = write_shard(folder / "test.rec", made)
    shards = (Shard("test.rec", "test", 12, size),)
    Manifest("drawn", MASK_SCHEMA.attributes, True, "0", shards).write(folder)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A mask network that finds red and green: its weights are set by hand."""
    config = ModelConfig(
        "mgmtn_mobilenetv3small",
        {"image_size": 64, "mask_network": "unet", "unet_channels": [2, 2]},
        "masks",
    )
    model = build_model(config, MASK_SCHEMA)
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
    return save_model(model, folder, config=config, schema=MASK_SCHEMA)


def test_a_mask_network_is_measured_against_both_kinds_of_masks(drawn_records, alone):
    evaluation = evaluate_masks(alone, drawn_records, resamples=50, progress=False)
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


def test_the_command_measures_masks_of_a_mask_network(drawn_records, alone, tmp_path, capsys):
    output = tmp_path / "report"
    command = ["evaluate", str(alone), "--records", str(drawn_records), "--output", str(output)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "true (rendered) regions" in printed and "boundary F1" in printed
    assert "4 persons" in printed
    data = json.loads((output / "mask_evaluation.json").read_text())
    scores = data["models"]["mgmtn_mobilenetv3small"]["masks"]
    assert scores["landmarks"]["iou"]["Hair"]["value"] == pytest.approx(0.75, abs=0.02)
    assert data["boundary_tolerance_pixels"] == 3


def test_a_mask_network_alone_is_refused_where_attributes_are_needed(drawn_records, alone):
    with pytest.raises(ModelError, match="a mask network alone; measure it with"):
        evaluate(alone, drawn_records)
    with pytest.raises(ModelError, match="recognition needs a network that predicts attributes"):
        Recognizer.load(alone)


def test_a_model_without_masks_is_refused(drawn_records, tmp_path):
    config = ModelConfig("baseline_mobilenetv3small", {"image_size": 64})
    model = build_model(config, MASK_SCHEMA)
    folder = save_model(model, tmp_path / "baseline", config=config, schema=MASK_SCHEMA)
    with pytest.raises(ModelError, match="'baseline_mobilenetv3small', which predicts none"):
        evaluate_masks(folder, drawn_records)
