"""Masks first, then attributes with the mask network frozen."""

import shutil

import keras
import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.models.storage import load_model
from far_keras.models.variants import build_model
from far_keras.schema import AttributeSchema
from far_keras.training.callbacks import Checkpoint
from far_keras.training.config import ConfigError
from far_keras.training.trainer import MASK_NETWORK, train

UNET = {"levels": ["P4"], "fusion_units": 8, "mask_network": "unet", "unet_channels": [4, 8]}
SETTINGS = {"mask_mode": "two_stage", "mask_epochs": 2, "epochs": 2, "model": UNET}
MASKS = {"task": "masks", "model": {"mask_network": "unet", "unet_channels": [4, 8]}}


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """An uninterrupted training in two stages, and copies of its state after each epoch."""
    folder = tmp_path_factory.mktemp("whole")
    config, copies, save = make_config(folder / "model", **SETTINGS), [], Checkpoint.save

    def save_and_copy(checkpoint):
        save(checkpoint)
        copies.append(folder / f"after-{len(copies) + 1}")
        shutil.copytree(folder / "model.partial", copies[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_copy)
        return train(config, progress=False), copies


@pytest.fixture(scope="module")
def masks_alone(make_config, tmp_path_factory):
    """The first of the stages as a training of its own: its configuration and result."""
    folder = tmp_path_factory.mktemp("masks") / "model"
    config = make_config(folder, **MASKS, learning_rate=1e-2, epochs=6)
    return config, train(config, progress=False)


def mask_weights(folder):
    return load_model(folder).model.get_layer(MASK_NETWORK).get_weights()


def test_history_has_stages(whole):
    result, _ = whole
    rows = result.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["stage"] for row in rows] == ["masks", "masks", "attributes", "attributes"]
    assert all("val_auc" not in row and "val_iou" in row for row in rows[:2])
    assert result.best_epoch in (3, 4)
    assert rows[result.best_epoch - 1]["val_auc"] == max(row["val_auc"] for row in rows[2:])


def test_the_second_stage_leaves_the_mask_network_as_it_was(whole):
    masks, attributes = whole[0].history[:2], whole[0].history[2:]
    best = max(row["val_iou"] for row in masks)
    # Weights and statistics: else the overlap on the validation split would move.
    assert [row["val_iou"] for row in attributes] == pytest.approx([best, best], abs=1e-6)
    assert attributes[0]["loss"] != attributes[1]["loss"]


@pytest.mark.slow
def test_the_first_stage_leaves_the_rest_as_it_was(make_config, tmp_path, trainings):
    config = make_config(tmp_path / "model", **SETTINGS)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        trainings.interrupt_at(patch, "on_train_batch_end", 13)  # the second stage's first step
        train(config, progress=False)
    # The state holds what the second stage started from, but for its one step at rate 0.
    keras.utils.set_random_seed(config.seed)
    fresh = build_model(config.model_config, AttributeSchema.resolve(config.schema))
    with np.load(tmp_path / "model.partial" / "checkpoint.npz") as data:
        stored = [data[f"variables/{index:05d}"] for index in range(len(fresh.variables))]
    in_masks = {id(weight) for weight in fresh.get_layer(MASK_NETWORK).variables}
    moved = {True: 0.0, False: 0.0}
    for variable, value in zip(fresh.variables, stored, strict=True):
        if "moving" not in variable.path and "seed" not in variable.path:
            change = np.abs(value - np.asarray(variable)).max()
            own = id(variable) in in_masks
            moved[own] = max(moved[own], change)
    assert moved[False] <= config.learning_rate * 1.01  # one step of Adam
    assert moved[True] > 2 * config.learning_rate


@pytest.mark.slow
def test_stopped_and_resumed_equals_uninterrupted(whole, make_config, tmp_path, trainings):
    config = make_config(tmp_path / "model", **SETTINGS)
    for method, count in (
        ("on_train_batch_end", 4),  # in the first stage's first epoch
        ("on_train_batch_end", 11),  # in the second stage's first epoch
    ):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            trainings.interrupt_at(patch, method, count)
            train(config, progress=False)
    assert_same(train(config, progress=False), whole[0], trainings)


def assert_same(resumed, whole, trainings):
    trainings.assert_equal_models(whole.folder, resumed.folder)
    assert resumed.best_epoch == whole.best_epoch
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3, 4]
    losses = [row["val_loss"] for row in whole.history]
    assert [row["val_loss"] for row in resumed.history] == pytest.approx(losses, rel=1e-3)


@pytest.mark.parametrize("epochs", [1, 2, 3])  # in the first stage, at its end, in the second
@pytest.mark.slow
def test_a_kill_after_an_epoch_loses_nothing(whole, make_config, tmp_path, trainings, epochs):
    result, copies = whole
    assert len(copies) == 4
    shutil.copytree(copies[epochs - 1], tmp_path / "killed.partial")
    config = make_config(tmp_path / "killed", **SETTINGS)
    assert_same(train(config, progress=False), result, trainings)


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


@pytest.mark.slow
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
    with pytest.raises(ModelError, match="with a separate mask network, a UNet"):
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
