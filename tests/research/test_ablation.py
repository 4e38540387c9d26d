import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from far_keras.errors import DatasetError
from far_keras.training.config import ConfigError, TrainConfig
from research.ablation.__main__ import main
from research.ablation.comparison import StudyPredictions, compare
from research.ablation.study import (
    CONFIGURATIONS,
    TRANSFER_CONFIGURATIONS,
    ConfigurationError,
    choose_configurations,
    run_study,
)

SMALL = {"sizes": [32], "backbone": "mobilenetv3small", "image_size": 32, "epochs": 1}


def test_every_configuration_changes_something_and_is_valid():
    seen = []
    for each in [*CONFIGURATIONS.values(), *TRANSFER_CONFIGURATIONS.values()]:
        config = each.train_config({"backbone": "efficientnetlite0", "image_size": 96}, limit=5)
        assert TrainConfig(records="r", output="o", **config).limit == 5
        assert config not in seen
        seen.append(config)


def test_the_reference_is_always_included_and_names_are_checked():
    assert [each.name for each in choose_configurations(["gated"])] == ["mgmtn", "gated"]
    assert [each.name for each in choose_configurations(["slow_backbone", "p345"])] == [
        "mgmtn",
        "p345",
        "slow_backbone",
    ]
    assert choose_configurations(None) == list(CONFIGURATIONS.values())
    assert not set(CONFIGURATIONS) & set(TRANSFER_CONFIGURATIONS)
    with pytest.raises(ConfigurationError, match=r"unknown \['gatde'\]"):
        choose_configurations(["gatde"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seeds": []}, ConfigurationError, "seeds: expected different numbers"),
        ({"seeds": [1, 1]}, ConfigurationError, "seeds: expected different numbers"),
        ({"sizes": [32], "focus": ["Frowning"]}, ConfigurationError, r"focus: unknown attributes"),
        ({"sizes": [10_000]}, DatasetError, "Received: 10000"),
        ({"sizes": [32], "least": 50}, DatasetError, r"with 50 or more labels .* test set 'test'"),
        (
            {"sizes": [32], "configurations": ["slow_backbone"], "backbone": "mobilenetv3small"},
            ConfigError,
            "backbone_rate: expected 1 for a backbone without ImageNet weights",
        ),
    ],
)
def test_impossible_studies_are_refused_before_training(records, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        run_study(records, tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()


def test_given_true_masks_are_refused_where_a_test_set_has_none(records, photographs, tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"given_true.* test set 'photographs' .* does not have"
    ):
        run_study(
            records, tmp_path / "study", configurations=["given_true"], sizes=[32], least=1,
            shifted={"photographs": photographs},
        )  # fmt: skip
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_study_is_written_and_resumes(records, photographs, tmp_path):
    command = [
        sys.executable, "-m", "research.ablation", records, "--output", tmp_path / "study",
        "--configurations", "given_landmarks", "--seeds", "0", "--sizes", "32",
        "--backbone", "mobilenetv3small", "--image-size", "32", "--epochs", "1", "--workers", "2",
        "--shifted", f"again={records}", "--shifted", f"photographs={photographs}",
        "--focus", "Smiling", "Young", "--least", "1",
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "| `given_landmarks` |" in done.stdout
    assert "Synthetic (rendered) faces" in done.stdout
    study = json.loads((tmp_path / "study" / "ablation.json").read_text())
    scores = study["scores"]["32"]
    assert list(scores) == ["test", "again", "photographs"]
    # Male has labels of both classes, Bald of one, all others none.
    assert study["attributes"]["photographs"] == {"focus": 2, "others": 1}
    assert study["persons"]["photographs"] == 20
    assert "20 images of 20 persons; means over 1 attributes" in done.stdout
    low, high = scores["photographs"]["others"][1]["differences"]["roc_auc"][1:]
    assert high - low > 0.05  # images of unknown persons are resampled one by one
    assert list(scores["again"]) == ["focus", "others"]
    scores = scores["again"]["others"]
    assert [row["name"] for row in scores] == ["mgmtn", "given_landmarks"]
    assert all(0.2 < row["means"]["roc_auc"] < 0.9 for row in scores)
    assert np.asarray(Image.open(tmp_path / "study" / "ablation.png")).std() > 10
    predictions = sorted((tmp_path / "study" / "predictions").rglob("*.npz"))
    assert [path.name for path in predictions] == [
        "given_landmarks-0.npz",
        "mgmtn-0.npz",
    ]
    assert not list((tmp_path / "study" / "models").rglob("*.h5"))

    # Only what is missing is trained again, and the same seed gives the same network.
    times = [path.stat().st_mtime_ns for path in predictions]
    predictions[0].unlink()
    again = run_study(
        records, tmp_path / "study", configurations=["given_landmarks"], seeds=[0],
        shifted={"again": records}, focus=["Smiling", "Young"], least=1, **SMALL,
    )  # fmt: skip
    assert [path.stat().st_mtime_ns for path in predictions[1:]] == times[1:]
    assert predictions[0].stat().st_mtime_ns > times[0]
    assert again.scores[32]["again"]["others"][1].means == pytest.approx(
        scores[1]["means"], abs=0.02
    )


@pytest.mark.parametrize("named", ["records", "=records", "test=records", "same="])
def test_a_shifted_test_set_needs_a_name_of_its_own(named, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["records", "--output", str(tmp_path), "--shifted", named])
    assert stopped.value.code == 2
    assert "expected NAME=RECORDS" in capsys.readouterr().err


LABELS = np.random.default_rng(0).integers(0, 2, (300, 6)).astype(np.int8)


def predictions(noise, seed):
    """Correct predictions plus noise."""
    rng = np.random.default_rng(seed)
    scores = 0.5 + 0.2 * (LABELS - 0.5) + noise * rng.normal(size=LABELS.shape)
    return StudyPredictions(LABELS, scores, np.full(6, 0.5), None)


def rows(**configurations):
    return {row.name: row for row in compare(configurations, "mgmtn", resamples=300)}


def test_a_better_configuration_is_better_with_an_interval_above_0():
    found = rows(
        mgmtn=[predictions(0.3, s) for s in range(3)],
        better=[predictions(0.1, s) for s in range(3)],
    )
    middle, low, high = found["better"].differences["roc_auc"]
    assert 0 < low < middle < high
    assert middle == pytest.approx(
        found["better"].means["roc_auc"] - found["mgmtn"].means["roc_auc"]
    )
    assert found["mgmtn"].differences == {}
    assert found["mgmtn"].seeds == 3
    assert 0 < found["mgmtn"].spread["roc_auc"] < 0.1


def test_equal_predictions_have_no_difference():
    same = [predictions(0.2, s) for s in range(2)]
    assert rows(mgmtn=same, twin=same)["twin"].differences["accuracy"] == (0, 0, 0)


def test_seeds_that_disagree_widen_the_interval():
    steady = [predictions(0.2, 1)] * 3
    calm = rows(mgmtn=steady, other=[predictions(0.25, 2)] * 3)["other"].differences["roc_auc"]
    wild = rows(mgmtn=steady, other=[predictions(n, 2) for n in (0.1, 0.25, 0.8)])
    wild = wild["other"].differences["roc_auc"]
    assert wild[2] - wild[1] > 1.5 * (calm[2] - calm[1])


def test_columns_choose_the_attributes():
    good, bad = predictions(0.1, 0), predictions(1.0, 0)
    mixed = StudyPredictions(
        LABELS, np.where(np.arange(6) < 3, good.probabilities, bad.probabilities),
        good.thresholds, np.full((300, 2), 0.5),
    )  # fmt: skip
    easy, hard = (
        compare({"mgmtn": [mixed]}, "mgmtn", columns=columns, resamples=20)[0]
        for columns in ([0, 1, 2], [3, 4, 5])
    )
    assert easy.means["roc_auc"] > hard.means["roc_auc"] + 0.2
    assert easy.iou == 0.5
    assert np.isnan(easy.spread["roc_auc"])
