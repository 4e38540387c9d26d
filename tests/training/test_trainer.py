"""The trainer on real records, with a network small enough to learn in seconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.datasets.pipeline import load_records
from far_keras.errors import DatasetError, ModelError
from far_keras.files import exclusive
from far_keras.models.storage import load_model
from far_keras.schema import AttributeSchema
from far_keras.training.losses import AttributeLoss
from far_keras.training.metrics import MeanAUC
from far_keras.training.trainer import train

EPOCHS, STEPS = 2, 6  # of `make_config`


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """A training that was not interrupted: its configuration and its result."""
    config = make_config(tmp_path_factory.mktemp("whole") / "model")
    return config, train(config, progress=False)


def test_training_learns_and_writes_the_whole_folder(make_config, tmp_path):
    config = make_config(tmp_path / "model", epochs=15, learning_rate=5e-3, augment=False)
    result = train(config, progress=False)
    assert result.folder == tmp_path / "model"
    assert os.listdir(tmp_path) == ["model"]  # nothing unfinished is left

    history = result.history
    assert [row["epoch"] for row in history] == list(range(1, 16))
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert history[-1]["iou"] > 0.6 > history[0]["iou"]
    best = max(row["val_auc"] for row in history)
    assert best > 0.9 and history[result.best_epoch - 1]["val_auc"] == best
    assert json.loads((result.folder / "history.json").read_text()) == history

    loaded = load_model(result.folder, AttributeSchema.from_file(config.schema))
    assert loaded.thresholds["Unknown"] == 0.5  # it has no known label
    assert loaded.calibration.scaling["Unknown"] == (1.0, 0.0)
    assert loaded.calibration.scaling["Bright"] != (1.0, 0.0)
    provenance = loaded.provenance
    assert provenance["config"] == config.to_dict() and provenance["seed"] == 0
    assert len(provenance["manifest_sha256"]) == 64
    assert provenance["best_epoch"] == result.best_epoch and provenance["epochs_trained"] == 15

    # The weights are those of the best epoch, not of the last.
    data = load_records(
        config.records, "valid", schema=loaded.schema, image_size=64, mask_size=8, batch_size=10
    )
    images, targets = next(iter(data))
    metric = MeanAUC(3)
    metric.update_state(
        targets["attributes"], loaded.model.predict(images, verbose=0)["attributes"]
    )
    assert float(metric.result()) == pytest.approx(best, abs=1e-3)


@pytest.mark.slow
def test_stopped_and_resumed_equals_uninterrupted(make_config, whole, tmp_path, capsys, trainings):
    config = make_config(tmp_path / "stopped")
    for method, count in (
        ("on_train_batch_end", 2),  # in the middle of the first epoch
        ("on_train_batch_end", STEPS - 2),  # after its last step, before its validation
        ("on_test_batch_end", 2),  # in that validation
        ("on_train_batch_end", 3),  # in the second epoch
    ):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            trainings.interrupt_at(patch, method, count)
            train(config)
        message = " ".join(capsys.readouterr().err.split())
        assert "run the same command again to continue" in message
        assert not (tmp_path / "stopped").exists()
    resumed = train(config, progress=False)
    _, expected = whole
    trainings.assert_equal_models(expected.folder, resumed.folder)
    assert resumed.best_epoch == expected.best_epoch
    assert [row["epoch"] for row in resumed.history] == [1, 2]
    losses = [row["val_loss"] for row in expected.history]
    assert [row["val_loss"] for row in resumed.history] == pytest.approx(losses, rel=1e-3)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(
    make_config, whole, tmp_path, trainings, small_variants
):
    config = make_config(tmp_path / "killed")
    config.write(tmp_path / "config.json")
    script = small_variants + textwrap.dedent(
        f"""
        import time
        from far_keras.models.backbones import BACKBONES
        from far_keras.models.variants import VARIANTS
        from far_keras.training.config import TrainConfig
        from far_keras.training.interruption import StopAtStep
        from far_keras.training.trainer import train
        BACKBONES["small"] = small_backbone
        VARIANTS["mgmtn_small"] = ("mgmtn", "small")
        # Slowly, so that there is time to be killed in.
        StopAtStep.on_train_batch_begin = lambda *_, **__: time.sleep(0.5)
        train(TrainConfig.from_file({str(tmp_path / "config.json")!r}), progress=False)
        """
    )
    root = Path(__file__).parents[2]
    errors = tmp_path / "errors.txt"
    with errors.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", script], cwd=root, stderr=file)
    state = tmp_path / "killed.partial" / "state.npz"
    deadline = time.monotonic() + 240
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()  # SIGKILL, in the second epoch
    assert process.wait() == -signal.SIGKILL, errors.read_text()
    assert state.exists() and not (tmp_path / "killed").exists()

    resumed = train(config, progress=False)
    assert len(resumed.history) == EPOCHS
    trainings.assert_equal_models(whole[1].folder, resumed.folder)


def test_a_finished_training_returns_at_once(whole, monkeypatch):
    config, result = whole
    monkeypatch.setattr(keras.Model, "fit", None)
    assert train(config, progress=False) == result


def test_a_finished_training_of_what_has_changed_since_is_refused(whole, make_config, tmp_path):
    for name, key, value, said in (
        ("provenance.json", "manifest_sha256", "0" * 64, "other records than those that are now"),
        ("schema.json", "attributes", ["Red", "Bright", "Unknown"], "in another order"),
    ):
        folder = tmp_path / name
        shutil.copytree(whole[1].folder, folder)
        data = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**data, key: value}))
        with pytest.raises(ModelError, match=said):
            train(make_config(folder), progress=False)


def test_other_settings_do_not_touch_what_is_there(whole, make_config, tmp_path, trainings):
    config, _ = whole
    with pytest.raises(ModelError, match=r"a finished training .* epochs 2, not 5"):
        train(make_config(config.output, epochs=5), progress=False)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        trainings.interrupt_at(patch, "on_train_batch_end", 1)
        train(make_config(tmp_path / "other", learning_rate=0.01), progress=False)
    with pytest.raises(ModelError, match=r"other\.partial: .*learning_rate 0\.01, not 0\.1"):
        train(make_config(tmp_path / "other", learning_rate=0.1), progress=False)


def test_a_folder_that_another_process_trains_into_is_left_alone(make_config, tmp_path):
    (tmp_path / "model.partial").mkdir()
    refused = pytest.raises(ModelError, match="another process is working")
    with exclusive(tmp_path / "model.partial", ModelError), refused:
        train(make_config(tmp_path / "model"), progress=False)
    assert not (tmp_path / "model").exists()


def test_another_seed_gives_another_model(whole, make_config, tmp_path, trainings):
    other = train(make_config(tmp_path / "model", seed=1), progress=False)
    with pytest.raises(AssertionError):
        trainings.assert_equal_models(whole[1].folder, other.folder)


def test_the_baseline_trains_without_masks(make_config, tmp_path, trainings):
    config = make_config(tmp_path / "model", variant="baseline_small", model={}, epochs=1)
    result = train(config, progress=False)
    assert "val_iou" not in result.history[0] and 0 <= result.history[0]["val_auc"] <= 1
    assert set(trainings.outputs_of(result.folder)) == {"attributes"}


def test_a_loss_that_is_no_number_is_an_error(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(AttributeLoss, "call", lambda *_: tf.constant(np.nan))
    with pytest.raises(ModelError, match="not a number any more in epoch 1"):
        train(make_config(tmp_path / "model"), progress=False)
    assert not (tmp_path / "model").exists()


def test_missing_records_are_named(make_config, tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        train(make_config(tmp_path / "model", records=tmp_path / "nowhere"), progress=False)
    # The corrected command is not refused for the settings of the mistaken one.
    assert not (tmp_path / "model.partial").exists()


def test_an_empty_folder_may_become_the_model_but_no_other(make_config, tmp_path):
    (tmp_path / "model").mkdir()
    assert train(make_config(tmp_path / "model", epochs=1), progress=False).best_epoch == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for name, received in (("full", "a folder with other files"), ("file", "a file")):
        with pytest.raises(ModelError, match=rf"{name}: expected .* Received: {received};"):
            train(make_config(tmp_path / name), progress=False)
        assert not (tmp_path / f"{name}.partial").exists()


def test_two_replicas_train_like_one(make_config, tmp_path, two_replicas):
    same = {"augment": False, "epochs": 1, "variant": "baseline_small", "model": {"dropout": 0.0}}
    one = train(make_config(tmp_path / "one", **same), progress=False)
    two = train(make_config(tmp_path / "two", **same), progress=False, strategy=two_replicas)
    assert load_model(two.folder).provenance["devices"] == 2
    # Batch normalisation sees halves of a batch: near, not equal.
    assert two.history[0]["loss"] == pytest.approx(one.history[0]["loss"], rel=0.2)
    assert set(two.history[0]) == set(one.history[0])


def test_mixed_precision_trains_and_is_saved_in_float32(make_config, tmp_path, trainings):
    config = make_config(tmp_path / "model", precision="mixed_float16", epochs=1)
    result = train(config, progress=False)
    assert np.isfinite(result.history[0]["val_loss"])
    assert keras.config.dtype_policy().name == "float32"
    assert trainings.outputs_of(result.folder)["attributes"].dtype == np.float32
