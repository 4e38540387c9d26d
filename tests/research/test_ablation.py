import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from far_keras.errors import DatasetError
from far_keras.experiments.ablation import ablate, job_config
from far_keras.experiments.arms import ARMS, TRANSFER_ARMS, ArmError, choose_arms
from far_keras.training.config import ConfigError

SMALL = {"sizes": [32], "backbone": "mobilenetv3small", "image_size": 32, "epochs": 1}


def test_every_arm_changes_something_and_can_be_configured():
    from far_keras.training.config import TrainConfig

    seen = []
    for arm in [*ARMS.values(), *TRANSFER_ARMS.values()]:
        config = job_config(arm, {"backbone": "efficientnetlite0", "image_size": 96}, limit=5)
        assert TrainConfig(records="r", output="o", **config).limit == 5
        assert config not in seen
        seen.append(config)


def test_the_reference_is_always_there_and_names_are_checked():
    assert [arm.name for arm in choose_arms(["gated"])] == ["mgmtn", "gated"]
    assert [arm.name for arm in choose_arms(["ema", "p345"])] == ["mgmtn", "p345", "ema"]
    assert choose_arms(None) == list(ARMS.values()) and not set(ARMS) & set(TRANSFER_ARMS)
    with pytest.raises(ArmError, match=r"unknown \['gatde'\]"):
        choose_arms(["gatde"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seeds": []}, ArmError, "seeds: expected different numbers"),
        ({"seeds": [1, 1]}, ArmError, "seeds: expected different numbers"),
        ({"sizes": [32], "focus": ["Frowning"]}, ArmError, r"focus: unknown attributes"),
        ({"sizes": [10_000]}, DatasetError, "Received: 10000"),
        ({"sizes": [32], "least": 50}, DatasetError, r"with 50 or more labels .* test set 'test'"),
        (
            {"sizes": [32], "arms": ["slow_backbone"], "backbone": "mobilenetv3small"},
            ConfigError,
            "backbone_rate: expected 1 for a backbone without ImageNet weights",
        ),
    ],
)
def test_studies_that_cannot_be_are_refused_before_training(
    records, tmp_path, options, error, message
):
    with pytest.raises(error, match=message):
        ablate(records, tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()


def test_given_true_masks_are_refused_where_a_test_set_has_none(records, photographs, tmp_path):
    with pytest.raises(ArmError, match=r"given_true.* test set 'photographs' .* does not have"):
        ablate(
            records, tmp_path / "study", arms=["given_true"], sizes=[32], least=1,
            shifted={"photographs": photographs},
        )  # fmt: skip
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_study_is_written_down_and_goes_on_where_it_stopped(records, photographs, tmp_path):
    command = [
        sys.executable, "-m", "far_keras.cli", "ablate", records, "--output", tmp_path / "study",
        "--arms", "baseline", "given_landmarks", "--seeds", "0", "--sizes", "32",
        "--backbone", "mobilenetv3small", "--image-size", "32", "--epochs", "1", "--workers", "2",
        "--shifted", f"again={records}", "--shifted", f"photographs={photographs}",
        "--focus", "Smiling", "Young", "--least", "1",
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "| `given_landmarks` |" in done.stdout
    assert "Synthetic (rendered) faces" in done.stdout
    study = json.loads((tmp_path / "study" / "ablation.json").read_text())
    figures = study["figures"]["32"]
    assert list(figures) == ["test", "again", "photographs"]
    # Male has labels of both classes, Bald of one, all others none.
    assert study["attributes"]["photographs"] == {"focus": 2, "others": 1}
    assert study["persons"]["photographs"] == 20
    assert "20 images of 20 persons; means over 1 attributes" in done.stdout
    low, high = figures["photographs"]["others"][1]["differences"]["roc_auc"][1:]
    assert high - low > 0.05  # images of unknown persons are resampled one by one
    assert list(figures["again"]) == ["focus", "others"]
    figures = figures["again"]["others"]
    assert [row["name"] for row in figures] == ["mgmtn", "baseline", "given_landmarks"]
    assert all(0.2 < row["means"]["roc_auc"] < 0.9 for row in figures)
    assert np.asarray(Image.open(tmp_path / "study" / "ablation.png")).std() > 10
    answers = sorted((tmp_path / "study" / "answers").rglob("*.npz"))
    assert [path.name for path in answers] == [
        "baseline-0.npz",
        "given_landmarks-0.npz",
        "mgmtn-0.npz",
    ]
    assert not list((tmp_path / "study" / "models").rglob("*.h5"))

    times = [path.stat().st_mtime_ns for path in answers]
    answers[0].unlink()
    again = ablate(
        records, tmp_path / "study", arms=["baseline", "given_landmarks", "given_true"], seeds=[0],
        shifted={"again": records}, focus=["Smiling", "Young"], least=1, **SMALL,
    )  # fmt: skip
    assert [path.stat().st_mtime_ns for path in answers[1:]] == times[1:]
    assert answers[0].stat().st_mtime_ns > times[0]
    # The same seed gives the same network, whoever trains it.
    assert again.figures[32]["again"]["others"][1].means == pytest.approx(
        figures[1]["means"], abs=0.02
    )
