"""Masks first, then attributes with the mask network frozen."""

import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.models.storage import load_model
from far_keras.models.variants import build_model
from far_keras.training.config import ConfigError
from far_keras.training.stages import MASK_NETWORK
from far_keras.training.trainer import train

UNET = {"levels": ["P4"], "fusion_units": 8, "mask_network": "unet", "unet_channels": [4, 8]}
SETTINGS = {"mask_mode": "two_stage", "mask_epochs": 2, "epochs": 2, "model": UNET}
MASKS = {"task": "masks", "model": {"mask_network": "unet", "unet_channels": [4, 8]}}


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """A training in two stages that was not interrupted."""
    config = make_config(tmp_path_factory.mktemp("whole") / "model", **SETTINGS)
    return train(config, progress=False)


@pytest.fixture(scope="module")
def masks_alone(make_config, tmp_path_factory):
    """The first of the stages as a training of its own: its configuration and result."""
    folder = tmp_path_factory.mktemp("masks") / "model"
    config = make_config(folder, **MASKS, learning_rate=1e-2, epochs=6)
    return config, train(config, progress=False)


def mask_weights(folder):
    return load_model(folder).model.get_layer(MASK_NETWORK).get_weights()


def test_history_has_stages(whole):
    rows = whole.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["stage"] for row in rows] == ["masks", "masks", "attributes", "attributes"]
    assert all("val_auc" not in row and "val_iou" in row for row in rows[:2])
    assert whole.best_epoch in (3, 4)
    assert rows[whole.best_epoch - 1]["val_auc"] == max(row["val_auc"] for row in rows[2:])


def test_the_second_stage_leaves_the_mask_network_as_it_was(whole):
    masks, attributes = whole.history[:2], whole.history[2:]
    best = max(row["val_iou"] for row in masks)
    # Weights and statistics: else the overlap on the validation split would move.
    assert [row["val_iou"] for row in attributes] == pytest.approx([best, best], abs=1e-6)
    assert attributes[0]["loss"] != attributes[1]["loss"]


def test_the_first_stage_leaves_the_rest_as_it_was(make_config, tmp_path, trainings):
    config = make_config(tmp_path / "model", **SETTINGS)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        trainings.interrupt_at(patch, "on_train_batch_end", 13)  # the second stage's first step
        train(config, progress=False)
    # The state holds what the second stage started from, but for its one step at rate 0.
    import keras

    keras.utils.set_random_seed(config.seed)
    fresh = build_model(config.model_config, load_schema(config))
    with np.load(tmp_path / "model.partial" / "state.npz") as data:
        stored = [data[f"{index:05d}"] for index in range(len(fresh.variables))]
    in_masks = {id(weight) for weight in fresh.get_layer(MASK_NETWORK).variables}
    moved = {True: 0.0, False: 0.0}
    for variable, value in zip(fresh.variables, stored, strict=True):
        if "moving" not in variable.path and "seed" not in variable.path:
            change = np.abs(value - np.asarray(variable)).max()
            own = id(variable) in in_masks
            moved[own] = max(moved[own], change)
    assert moved[False] <= config.learning_rate * 1.01  # one step of Adam
    assert moved[True] > 2 * config.learning_rate


def load_schema(config):
    from far_keras.schema import AttributeSchema

    return AttributeSchema.from_file(config.schema)


def test_stopped_and_resumed_equals_uninterrupted(whole, make_config, tmp_path, trainings):
    config = make_config(tmp_path / "model", **SETTINGS)
    for method, count in (
        ("on_train_batch_end", 4),  # in the first stage's first epoch
        ("on_train_batch_end", 11),  # in the second stage's first epoch
    ):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            trainings.interrupt_at(patch, method, count)
            train(config, progress=False)
    assert_same(train(config, progress=False), whole, trainings)


def assert_same(resumed, whole, trainings):
    trainings.assert_equal_models(whole.folder, resumed.folder)
    assert resumed.best_epoch == whole.best_epoch
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3, 4]
    losses = [row["val_loss"] for row in whole.history]
    assert [row["val_loss"] for row in resumed.history] == pytest.approx(losses, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("epochs_done", [1, 2, 3])  # in the first stage, at its end, in the second
def test_killed_and_resumed_equals_uninterrupted(
    whole, make_config, tmp_path, trainings, small_variants, epochs_done
):
    config = make_config(tmp_path / "killed", **SETTINGS)
    config.write(tmp_path / "config.json")
    script = small_variants + textwrap.dedent(
        f"""
        import os, signal
        from far_keras.models.backbones import BACKBONES
        from far_keras.models.variants import VARIANTS
        from far_keras.training import trainer
        from far_keras.training.config import TrainConfig
        BACKBONES["small"] = small_backbone
        VARIANTS["mgmtn_small"] = ("mgmtn", "small")
        write = trainer.write_state

        def write_and_die(path, state, *variables):
            write(path, state, *variables)
            if len(state.history) == {epochs_done}:
                os.kill(os.getpid(), signal.SIGKILL)

        trainer.write_state = write_and_die
        trainer.train(TrainConfig.from_file({str(tmp_path / "config.json")!r}), progress=False)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "killed.partial" / "state.npz").exists()
    assert_same(train(config, progress=False), whole, trainings)


def test_a_mask_network_alone_trains_by_its_overlap(masks_alone):
    _, result = masks_alone
    ious = [row["val_iou"] for row in result.history]
    assert result.best_epoch == 1 + int(np.argmax(ious))
    assert max(ious) > 0.6
    assert not any("auc" in key or key == "stage" for row in result.history for key in row)
    loaded = load_model(result.folder)
    assert loaded.config.task == "masks" and loaded.thresholds == {}
    assert set(loaded.model.output) == {"masks"}
    assert loaded.provenance["untrained"] == []


def test_the_shared_decoder_alone_trains_with_its_backbone(make_config, tmp_path):
    model = {"levels": ["P4"], "mask_level": "P3"}
    config = make_config(tmp_path / "model", task="masks", model=model, epochs=1)
    loaded = load_model(train(config, progress=False).folder)
    assert loaded.model.output["masks"].shape == (None, 8, 8, 2)
    assert "backbone" in [layer.name for layer in loaded.model.layers]


def test_a_stored_mask_network_takes_the_place_of_the_first_stage(
    masks_alone, make_config, tmp_path
):
    _, stored = masks_alone
    settings = {**SETTINGS, "mask_epochs": None, "masks_from": stored.folder, "epochs": 1}
    result = train(make_config(tmp_path / "model", **settings), progress=False)
    assert [row["stage"] for row in result.history] == ["attributes"]
    for mine, theirs in zip(mask_weights(result.folder), mask_weights(stored.folder), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_mask_network_that_does_not_fit_is_refused(masks_alone, make_config, tmp_path):
    _, stored = masks_alone
    settings = {**SETTINGS, "mask_epochs": None, "masks_from": stored.folder}
    other = tmp_path / "other"
    shutil.copytree(stored.folder, other)
    text = (other / "schema.json").read_text()
    assert '"hair"' in text
    (other / "schema.json").write_text(text.replace('"hair"', '"nose"'))
    for changes, message in (
        ({"masks_from": other}, r"regions \[\('hair',\).*Received: .*other with .*nose"),
        ({"image_size": 96}, "images of 96 pixels. Received: .*model for 64"),
        ({"model": {**UNET, "unet_channels": [4, 9]}}, "same unet_channels"),
        ({"masks_from": tmp_path / "nothing"}, "nothing: expected the folder of a trained model"),
    ):
        with pytest.raises(ModelError, match=message):
            train(make_config(tmp_path / "model", **{**settings, **changes}), progress=False)
        assert not (tmp_path / "model.partial").exists()
    shared = train(
        make_config(tmp_path / "shared", epochs=1, task="masks", model={"mask_level": "P3"}),
        progress=False,
    )
    with pytest.raises(ModelError, match="with a mask network of its own, a UNet"):
        train(
            make_config(tmp_path / "model", **{**settings, "masks_from": shared.folder}),
            progress=False,
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_mode": "two_stage"}, r"mask_mode: two stages need .*--mask-network unet"),
        ({"mask_epochs": 2}, "mask_epochs: expected none without mask_mode two_stage"),
        ({"masks_from": "folder"}, "masks_from: expected none without mask_mode two_stage"),
        ({**SETTINGS, "masks_from": "folder"}, "mask_epochs: expected none with masks_from"),
        ({**SETTINGS, "mask_epochs": 0}, "mask_epochs: expected at least 1"),
        ({"task": "hair"}, r"task: expected one of \('attributes', 'masks'\)"),
        ({"task": "masks", "variant": "baseline_small"}, "variant: expected one with a mask"),
        ({"task": "masks", "mask_mode": "given"}, r"mask_mode: expected one of \('joint',\)"),
        ({**MASKS, "imagenet": True}, "imagenet: expected False: the UNet alone"),
    ],
)
def test_settings_that_cannot_be_are_refused(make_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config("unused", **changes)
