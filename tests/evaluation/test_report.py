import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from far_keras.datasets.records import FaceRecord, Manifest, Shard, write_shard
from far_keras.evaluation.bootstrap import ThresholdedProbabilities
from far_keras.evaluation.evaluate import (
    EVALUATION_METRICS,
    MAJORITY,
    describe_data,
    score_predictions,
)
from far_keras.evaluation.metrics import attribute_scores
from far_keras.evaluation.predict import SplitPredictions, read_faces
from far_keras.evaluation.report import (
    Mistake,
    plot_attributes,
    plot_curves,
    tables,
    to_dict,
    worst_mistakes,
    write_report,
)
from far_keras.schema import REGIONS

NAMES = ("First", "Second", "Rare", "One_Class", "Unknown")


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (120, 5))
    labels[:, 2] = 0
    labels[:4, 2] = 1
    labels[:, 3] = 1
    labels[:, 4] = -1
    labels[rng.random(labels.shape) < 0.1] = -1
    labels[:4, 2] = 1

    def predict(noise, thresholds):
        logits = 2 * (labels == 1) - 1 + rng.normal(0, noise, labels.shape)
        return ThresholdedProbabilities(1 / (1 + np.exp(-logits)), np.asarray(thresholds))

    models = {
        "good": predict(0.8, [0.4, 0.6, 0.2, 0.5, 0.5]),
        "worse": predict(3.0, [0.5] * 5),
        MAJORITY: ThresholdedProbabilities(
            np.broadcast_to([1.0, 0, 0, 1, 0], labels.shape), np.full(5, 0.5)
        ),
    }
    return labels, models


@pytest.fixture(scope="module")
def evaluation(case):
    labels, models = case
    overlaps = np.random.default_rng(1).random((120, 3, 2))
    overlaps[:60, :, 1] = np.nan
    return score_predictions(
        NAMES,
        labels,
        models,
        masks={"good": (("Mouth", "Nose"), {"landmarks": overlaps, "true": overlaps / 2})},
        identities=np.arange(120) // 3,
        data={"name": "faces", "split": "test", "images": 120, "identities": 40,
              "synthetic": True},
        resamples=200,
    )  # fmt: skip


def test_values_are_the_scores_at_the_thresholds_of_the_metric(case, evaluation):
    labels, models = case
    good = models["good"]
    at_half = attribute_scores(labels, good.probabilities, 0.5)
    fitted = attribute_scores(labels, good.probabilities, good.thresholds)
    assert not np.allclose(at_half["accuracy"][:2], fitted["accuracy"][:2])
    for key, expected in (
        ("accuracy", at_half["accuracy"]),
        ("balanced_accuracy", fitted["balanced_accuracy"]),
        ("f1", fitted["f1"]),
        ("accuracy_at_thresholds", fitted["accuracy"]),
        ("balanced_accuracy_at_half", at_half["balanced_accuracy"]),
    ):
        values = [evaluation.model("good").attributes[name][key].value for name in NAMES]
        np.testing.assert_array_equal(values, expected)
        assert evaluation.model("good").mean[key].value == pytest.approx(np.nanmean(expected))


def test_every_defined_value_lies_in_its_interval(evaluation):
    for model in evaluation.models:
        for key in EVALUATION_METRICS:
            for each in [model.mean[key], *(a[key] for a in model.attributes.values())]:
                if np.isfinite(each.value):
                    assert each.low <= each.value <= each.high


def test_undefined_and_scarce_attributes_are_named(evaluation):
    assert evaluation.undefined == ("One_Class", "Unknown")
    assert evaluation.scarce == ("Rare",)
    aucs = [evaluation.model("good").attributes[n]["roc_auc"].value for n in NAMES[:3]]
    assert evaluation.model("good").mean["roc_auc"].value == pytest.approx(np.mean(aucs))


def test_the_difference_is_of_the_models_and_not_of_the_majority(evaluation):
    (difference,) = evaluation.differences
    assert (difference.first, difference.second) == ("good", "worse")
    gap = difference.mean["roc_auc"]
    expected = (
        evaluation.model("good").mean["roc_auc"].value
        - evaluation.model("worse").mean["roc_auc"].value
    )
    assert gap.value == pytest.approx(expected)
    assert 0 < gap.low < gap.value < gap.high


def test_mask_scores_average_over_images_that_have_the_mask(evaluation):
    overlap = evaluation.model("good").mask_iou
    assert set(overlap) == {"Mouth", "Nose", "mean"}
    assert overlap["mean"].value == pytest.approx(
        (overlap["Mouth"].value + overlap["Nose"].value) / 2
    )
    assert evaluation.model("worse").mask_iou is None
    with pytest.raises(KeyError, match="good"):
        evaluation.model("other")


def test_json_has_null_for_what_is_undefined(evaluation, tmp_path):
    json_path, plot_path = write_report(evaluation, tmp_path)
    data = json.loads(json_path.read_text())
    assert data == to_dict(evaluation)
    assert data["models"]["good"]["attributes"]["Unknown"]["roc_auc"] == {
        "value": None, "low": None, "high": None,
    }  # fmt: skip
    assert data["left_out_of_means"] == ["One_Class", "Unknown"]
    assert data["data"]["synthetic"] is True and data["data"]["resampled"] == "identities"
    with Image.open(plot_path) as image:
        assert image.width > 800


def test_tables_say_which_data_and_name_every_attribute(evaluation):
    console = Console(width=160, record=True, file=io.StringIO())
    for table in tables(evaluation):
        console.print(table)
    text = console.export_text()
    assert "120 synthetic (rendered) faces of 40 persons" in text
    assert describe_data(evaluation.data).endswith("by resampling identities")
    for word in (*NAMES, "good", "worse", MAJORITY, "Mouth", "Rare *", "left out"):
        assert word in text
    assert "nan" not in text


def test_plots_are_written_whatever_is_missing(evaluation, tmp_path):
    assert plot_attributes(evaluation, tmp_path / "attributes.svg").stat().st_size > 10_000
    rows = [{"epoch": 1, "loss": 1.0, "val_loss": 1.1}, {"epoch": 2, "loss": 0.5, "val_loss": 0.8}]
    plot_curves({"good": rows, "worse": rows[:1]}, {"loss": "loss", "iou": "IoU"},
                tmp_path / "curves.png")  # fmt: skip
    plot_curves({}, {"loss": "loss"}, tmp_path / "none.png")
    sizes = [Image.open(tmp_path / f"{name}.png").size for name in ("curves", "none")]
    assert sizes[0] == sizes[1]  # one panel each: "iou" is in no row


def test_attributes_with_few_labels_of_a_class_may_be_left_out_of_the_means(case):
    labels, models = case
    few = score_predictions(NAMES, labels, models, resamples=50, least=5)  # "Rare" has 4 of "yes"
    all_of_them = score_predictions(NAMES, labels, models, resamples=50)
    for key in ("roc_auc", "accuracy", "balanced_accuracy"):
        each = [few.models[0].attributes[name][key] for name in NAMES[:2]]
        mean = few.models[0].mean[key]
        assert mean.value == pytest.approx(np.mean([e.value for e in each]))
        assert mean.low < mean.value < mean.high
    for name in NAMES[:3]:
        assert few.models[0].attributes[name] == all_of_them.models[0].attributes[name]
    assert few.data["least"] == 5
    enough = score_predictions(NAMES, labels, models, resamples=50, least=4)
    assert enough.models[0].mean["roc_auc"] == all_of_them.models[0].mean["roc_auc"]


def test_the_surest_wrong_predictions_come_first_one_per_image():
    labels = np.array([[1, 0], [0, 0], [1, -1], [1, 1], [1, 1]], np.int8)
    probabilities = np.array([[0.02, 0.99], [0.9, 0.1], [0.2, 1.0], [0.04, 0.9], [0.8, 0.9]])
    predictions = SplitPredictions(labels, probabilities, np.zeros_like(probabilities))
    found = worst_mistakes(("A", "B"), predictions, count=10, each=2)
    # Row 0 is worse in B than in A; row 2 would be A's third; row 4 is right.
    assert found == [
        Mistake(0, "B", 0, 0.99),
        Mistake(3, "A", 1, 0.04),
        Mistake(1, "A", 0, 0.9),
    ]
    assert worst_mistakes(("A", "B"), predictions, count=1) == found[:1]
    assert (
        str(Mistake(0, "Wavy_Hair", 1, 0.04)) == "Wavy Hair: predicted no (96% sure), labelled yes"
    )


def test_faces_are_read_across_files(tmp_path):
    def png(array):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG")  # lossless, unlike the records' usual JPEG
        return file.getvalue()

    packed = np.zeros((218, 178), np.uint8)
    packed[10:20] = 1 << REGIONS.index("nose")
    shards = []
    for s, count in enumerate((3, 2)):
        faces = (
            FaceRecord(
                f"{s}{k}", png(np.full((218, 178, 3), 10 * s + k, np.uint8)),
                np.ones(1, np.int8), masks=b"" if k else png(packed),
            )
            for k in range(count)
        )  # fmt: skip
        size = write_shard(tmp_path / f"{s}.rec", faces)
        shards.append(Shard(f"{s}.rec", "test", count, size))
    Manifest("faces", ("A",), False, "0", tuple(shards)).write(tmp_path)
    faces = read_faces(tmp_path, "test", [4, 1, 3])
    assert {row: int(image[0, 0, 0]) for row, (image, _) in faces.items()} == {1: 1, 3: 10, 4: 11}
    assert faces[4][1] is None
    masks = faces[3][1]
    assert masks.shape == (218, 178, 8)
    assert masks[..., REGIONS.index("nose")].sum() == masks.sum() == 10 * 178
