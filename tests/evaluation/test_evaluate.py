import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from far_keras.calibration import Calibration
from far_keras.cli import main
from far_keras.datasets.manifest import Manifest, Shard
from far_keras.datasets.records import FaceRecord, read_shard, read_table_of_records, write_shard
from far_keras.errors import DatasetError, ModelError
from far_keras.evaluation.evaluate import MAJORITY, evaluate
from far_keras.evaluation.metrics import (
    attribute_scores,
    brier_score,
    group_masks,
    mask_scores,
    unpack_regions,
)
from far_keras.evaluation.predict import predict_split
from far_keras.evaluation.report import tables
from far_keras.models.storage import load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import REGIONS, AttributeSchema, Group

COLUMNS = ("Smiling", "Other", "Bald")  # of the records; the schema has two, in another order
SCHEMA = AttributeSchema(
    "two",
    ("Bald", "Smiling"),
    (Group("Hair", ("Bald",), ("hair",)), Group("Mouth", ("Smiling",), ("mouth", "lower_face"))),
)
CALIBRATION = Calibration({"Bald": (2.0, -0.5), "Smiling": (0.5, 0.25)})
COUNTS = {"train": 20, "valid": 0, "test": 37}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def make_records(folder, split, count, rng):
    for k in range(count):
        picture = io.BytesIO()
        noise = rng.integers(0, 256, (11, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((178, 218)).save(picture, "JPEG")
        packed = np.zeros((218, 178), np.uint8)
        packed[: rng.integers(40, 100)] |= 1 << REGIONS.index("hair")
        packed[150:180, 50:120] |= 1 << REGIONS.index("mouth")
        labels = rng.integers(0, 2, 3)
        if split == "train":
            labels[:] = (1, 0, 0)  # the majority smiles and is not bald
        yield FaceRecord(
            f"{split}{k}.jpg", picture.getvalue(), labels.astype(np.int8),
            masks=b"" if k % 5 == 0 else png(packed),
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
        for variant in ("mgmtn_efficientnetlite0", "baseline_efficientnetlite0")
    ]


def test_answers_are_in_the_order_of_records_and_schema(records, models):
    from far_keras.datasets.pipeline import load_records

    loaded = load_model(models[0])
    said = predict_split(
        loaded.model, SCHEMA, records, "test", batch_size=8, calibration=loaded.calibration
    )
    images, truth = next(
        iter(load_records(records, "test", schema=SCHEMA, image_size=64, mask_size=16,
                          batch_size=64))
    )  # fmt: skip
    outputs = loaded.model.predict_on_batch(images)
    np.testing.assert_array_equal(said.labels, truth["attributes"])
    # Batches of 8 and of 37 sum in another order in float32.
    np.testing.assert_allclose(said.logits, outputs["attributes"], atol=1e-4)
    scaled = outputs["attributes"] * [2.0, 0.5] + [-0.5, 0.25]
    np.testing.assert_allclose(said.probabilities, 1 / (1 + np.exp(-scaled)), atol=1e-5)
    # The masks are scored over the whole frame: the first of the images that have any.
    packed = next(itertools.islice(read_shard(records / "test.rec"), 1, None)).masks
    truth = group_masks(unpack_regions(packed), SCHEMA)
    expected = mask_scores(truth, 1 / (1 + np.exp(-outputs["masks"][1])))
    np.testing.assert_allclose(said.masks["landmarks"][1], expected, atol=0.02)
    np.testing.assert_array_equal(said.iou, said.masks["landmarks"][:, 0])
    assert np.isnan(said.iou[::5]).all() and np.isfinite(said.iou[1]).any()


def test_the_command_leaves_scarce_attributes_out_of_the_means(records, models, tmp_path):
    labels = read_table_of_records(records, "test").labels
    assert [(labels[:, COLUMNS.index(n)] == 1).sum() for n in SCHEMA.attributes] == [15, 15]
    command = ["evaluate", str(models[0]), "--records", str(records), "--output", str(tmp_path)]
    for least, counted in (("15", True), ("16", False)):  # more say no
        assert main([*command, "--least", least]) == 0
        said = json.loads((tmp_path / "evaluation.json").read_text())["models"]
        mean = said["mgmtn_efficientnetlite0"]["mean"]["roc_auc"]["value"]
        assert (mean is not None) == counted


def test_an_evaluation_of_saved_models(records, models):
    evaluation = evaluate(models[0], records, baseline=models[1], resamples=50)
    names = [model.name for model in evaluation.models]
    assert names == ["mgmtn_efficientnetlite0", "baseline_efficientnetlite0", MAJORITY]
    assert evaluation.data["pictures"] == 37
    assert evaluation.data["resampled"] == "identities"
    # Images 3 to 36 in fours; the first three are of unknown persons, each counted for one.
    assert evaluation.data["identities"] == 13
    assert evaluation.data["synthetic"] is False
    loaded = load_model(models[0])
    said = predict_split(loaded.model, SCHEMA, records, "test")
    plain = brier_score(said.labels, 1 / (1 + np.exp(-said.logits))).mean()
    calibrated = brier_score(said.labels, CALIBRATION.probabilities(said.logits, SCHEMA.attributes))
    figures = evaluation.models[0].calibration
    assert figures["brier_score_uncalibrated"] == pytest.approx(plain, abs=1e-5)
    assert figures["brier_score"] == pytest.approx(calibrated.mean(), abs=1e-5)
    assert evaluation.model(MAJORITY).calibration is None
    said = predict_split(loaded.model, SCHEMA, records, "test", calibration=CALIBRATION)
    expected = attribute_scores(said.labels, said.probabilities, 0.4)
    mgmtn = evaluation.models[0]
    for a, name in enumerate(SCHEMA.attributes):
        figures = mgmtn.attributes[name]
        assert figures["roc_auc"].value == pytest.approx(expected["roc_auc"][a])
        assert figures["accuracy_at_thresholds"].value == pytest.approx(expected["accuracy"][a])
    assert mgmtn.thresholds == {"Bald": 0.4, "Smiling": 0.4}
    assert set(mgmtn.mask_iou) == {"Hair", "Mouth", "mean"}
    assert evaluation.models[1].mask_iou is None
    # The majority of the training split, column by column.
    majority = evaluation.model(MAJORITY)
    assert majority.attributes["Smiling"]["accuracy"].value == (said.labels[:, 1] == 1).mean()
    assert majority.attributes["Bald"]["accuracy"].value == (said.labels[:, 0] == 0).mean()
    assert majority.mean["roc_auc"].value == 0.5


def test_given_masks_are_those_of_the_records_and_said_so(records, models, tmp_path):
    from far_keras.datasets.pipeline import load_records

    folder = make_model(tmp_path / "given", "mgmtn_efficientnetlite0", masks="given")
    loaded = load_model(folder)
    for weight in loaded.model.weights:  # the answers of fresh heads hardly differ
        if "logits" in weight.path:
            weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    said = predict_split(loaded.model, SCHEMA, records, "test", batch_size=8)
    inputs, _ = next(
        iter(load_records(records, "test", schema=SCHEMA, image_size=64, mask_size=16,
                          batch_size=64, masks_as="input"))
    )  # fmt: skip
    logits = loaded.model.predict_on_batch(inputs)["attributes"]
    np.testing.assert_allclose(said.probabilities, 1 / (1 + np.exp(-logits)), atol=1e-4)
    blind = loaded.model.predict_on_batch({**inputs, "masks": np.ones_like(inputs["masks"])})
    changed = np.abs(blind["attributes"] - logits).max(axis=1)
    assert (changed[::5] == 0).all() and (changed[1:5] > 1e-3).all()  # every fifth has no masks
    assert said.iou is None

    evaluation = evaluate([folder, models[0]], records, resamples=5)
    assert evaluation.data["given_masks"] == {"given": "landmarks"}
    assert "given was given the records' own masks (landmarks)" in tables(evaluation)[0].caption


def test_two_models_of_one_variant_are_called_by_their_folders(records, models, tmp_path):
    other = make_model(tmp_path / "other", "baseline_efficientnetlite0")
    evaluation = evaluate([models[1], other], records, resamples=5)
    assert [m.name for m in evaluation.models] == ["baseline_efficientnetlite0", "other", MAJORITY]


def test_models_with_other_groups_stand_side_by_side(records, models, tmp_path):
    all_in_one = AttributeSchema(
        "one group", SCHEMA.attributes, (Group("All", SCHEMA.attributes, ("object",)),)
    )
    other = make_model(tmp_path / "other", "mgmtn_efficientnetlite0", all_in_one)
    masks = tables(evaluate([models[0], other], records, resamples=5))[1]
    first, _, _, second = (list(column.cells) for column in masks.columns[1:5])
    assert list(masks.columns[0].cells) == ["Hair", "Mouth", "All", "mean"]
    assert [cell == "-" for cell in first] == [False, False, True, False]
    assert second[:2] == ["-", "-"]


def test_what_cannot_be_measured_is_named(records, models, tmp_path):
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
    small = make_model(tmp_path / "small", "baseline_efficientnetlite0", one)
    with pytest.raises(ModelError, match=r"missing attributes \['Smiling'\]"):
        evaluate(models[0], records, baseline=small)
