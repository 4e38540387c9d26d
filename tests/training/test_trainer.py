"""The trainer on real records, with networks small enough to train in seconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.datasets.pipeline import load_records
from far_keras.datasets.records import read_manifest, read_shard, write_shard
from far_keras.errors import DatasetError, ModelError
from far_keras.files import exclusive
from far_keras.models.backbones import BACKBONES
from far_keras.models.mgmtn import mgmtn
from far_keras.models.storage import load_model
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import AttributeSchema, Group
from far_keras.training.config import ConfigError, TrainConfig
from far_keras.training.losses import AttributeLoss, MaskLoss
from far_keras.training.metrics import MeanAUC
from far_keras.training.trainer import MASK_NETWORK, _load_split, compile_stage, plan_stages, train

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
        ("on_train_batch_end", 1 + 3),  # in the second epoch
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
    for key in ("loss", "val_loss"):  # also of interrupted epochs
        losses = [row[key] for row in expected.history]
        assert [row[key] for row in resumed.history] == pytest.approx(losses, rel=1e-3)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(
    make_config, whole, tmp_path, trainings, small_variants
):
    config = make_config(tmp_path / "killed")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    script = small_variants + textwrap.dedent(
        f"""
        import os, signal
        from far_keras.models.backbones import BACKBONES
        from far_keras.models.variants import VARIANTS
        from far_keras.training.callbacks import StopAtStep
        from far_keras.training.config import TrainConfig
        from far_keras.training.trainer import train
        BACKBONES["small"] = small_backbone
        VARIANTS["mgmtn_small"] = ("mgmtn", "small")
        steps = []

        def count_and_die(self, batch, logs=None):
            steps.append(batch)
            if len(steps) == {STEPS + 2}:  # in the second epoch
                os.kill(os.getpid(), signal.SIGKILL)

        StopAtStep.on_train_batch_begin = count_and_die
        train(TrainConfig.from_file({str(tmp_path / "config.json")!r}), progress=False)
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
    assert os.listdir(tmp_path / "killed.partial") == ["checkpoint.npz"]
    assert not (tmp_path / "killed").exists()

    resumed = train(config, progress=False)
    assert len(resumed.history) == EPOCHS
    trainings.assert_equal_models(whole[1].folder, resumed.folder)


def test_a_finished_training_returns_at_once(whole, monkeypatch):
    config, result = whole
    monkeypatch.setattr(keras.Model, "fit", None)
    assert train(config, progress=False) == result


def test_a_finished_training_of_what_has_changed_since_is_refused(whole, make_config, tmp_path):
    for name, key, value, said in (
        (
            "provenance.json",
            "manifest_sha256",
            "0" * 64,
            "trained on other records than those that are now",
        ),
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
    with pytest.raises(ModelError, match=r"other settings: epochs = 2, not 5\. Delete"):
        train(make_config(config.output, epochs=5), progress=False)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        trainings.interrupt_at(patch, "on_train_batch_end", 1)
        train(make_config(tmp_path / "other", learning_rate=0.01), progress=False)
    with pytest.raises(ModelError, match=r"other\.partial: .*learning_rate = 0\.01, not 0\.1\."):
        train(make_config(tmp_path / "other", learning_rate=0.1), progress=False)


def test_a_folder_that_another_process_trains_into_is_left_alone(make_config, tmp_path):
    (tmp_path / "model.partial").mkdir()
    refused = pytest.raises(ModelError, match="another process is working")
    with exclusive(tmp_path / "model.partial", ModelError), refused:
        train(make_config(tmp_path / "model"), progress=False)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["state.npz", "config.json"])
def test_an_unfinished_training_of_version_0_1_is_refused(make_config, tmp_path, name):
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / name).write_text("{}")
    with pytest.raises(ModelError, match=r"unfinished training of far_keras 0\.1.* Delete the"):
        train(make_config(tmp_path / "model"), progress=False)


class Recorder(keras.callbacks.Callback):
    """Records the calls, and ends the training after a number of epochs."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs, self.fits, self.steps, self.scores = epochs, 0, 0, []

    def on_train_begin(self, logs=None):
        self.fits += 1

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1

    def on_epoch_end(self, epoch, logs=None):
        self.scores.append(logs["val_auc"])
        self.model.stop_training = epoch + 1 == self.epochs


def test_callbacks_see_one_fit_and_can_stop_it(make_config, tmp_path, trainings):
    recorder = Recorder(2)
    config = make_config(tmp_path / "model", epochs=9, variant="baseline_small", model={})
    result = train(config, callbacks=[recorder], progress=False)
    assert (recorder.fits, recorder.steps) == (1, 2 * STEPS)
    assert recorder.scores == [row["val_auc"] for row in result.history]
    assert load_model(result.folder).provenance["epochs_trained"] == 2
    # The baseline has no masks.
    assert "val_iou" not in result.history[0] and 0 <= result.history[0]["val_auc"] <= 1
    assert set(trainings.outputs_of(result.folder)) == {"attributes"}


@pytest.mark.slow
def test_another_seed_gives_another_model(whole, make_config, tmp_path, trainings):
    other = train(make_config(tmp_path / "model", seed=1), progress=False)
    with pytest.raises(AssertionError):
        trainings.assert_equal_models(whole[1].folder, other.folder)


def test_a_loss_that_is_no_number_is_an_error(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(AttributeLoss, "call", lambda *_: tf.constant(np.nan))
    with pytest.raises(ModelError, match="the loss is not finite in epoch 1"):
        train(make_config(tmp_path / "model"), progress=False)
    assert not (tmp_path / "model").exists()


def test_missing_records_and_a_file_in_place_of_a_folder_are_named(make_config, tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        train(make_config(tmp_path / "model", records=tmp_path / "nowhere"), progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"model\.partial: cannot write: .* another output"):
        train(make_config(tmp_path / "file" / "model"), progress=False)
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
    # Slowly, so that the weights stay comparable over two epochs.
    same = {"variant": "baseline_small", "model": {"dropout": 0.0}, "learning_rate": 5e-4}
    same |= {"augment": False, "epochs": 2}
    one = train(make_config(tmp_path / "one", **same), progress=False)
    two = train(make_config(tmp_path / "two", **same), progress=False, strategy=two_replicas)
    assert load_model(two.folder).provenance["devices"] == 2
    # Batch normalisation sees halves of a batch: near, not equal.
    assert two.history[0]["loss"] == pytest.approx(one.history[0]["loss"], rel=0.2)
    assert [row.keys() for row in two.history] == [row.keys() for row in one.history]


@pytest.mark.slow
def test_mixed_precision_trains_and_is_saved_in_float32(make_config, tmp_path, trainings):
    config = make_config(tmp_path / "model", precision="mixed_float16", epochs=1)
    result = train(config, progress=False)
    assert np.isfinite(result.history[0]["val_loss"])
    assert keras.config.dtype_policy().name == "float32"
    assert trainings.outputs_of(result.folder)["attributes"].dtype == np.float32


def rewrite_settings(path, change):
    """Changes the settings in a checkpoint."""
    with np.load(path) as data:
        arrays = dict(data)
    header = json.loads(str(arrays["header"]))
    change(header["settings"])
    np.savez(path, **{**arrays, "header": json.dumps(header)})


@pytest.mark.slow
def test_an_unfinished_training_resumes_only_with_the_same_data(make_config, tmp_path, trainings):
    records, schema_file = tmp_path / "records", tmp_path / "schema.json"
    shutil.copytree(make_config("unused").records, records)
    shutil.copy(make_config("unused").schema, schema_file)
    settings = {"records": records, "schema": schema_file, "variant": "baseline_small", "model": {}}

    def start(**changes):
        return train(make_config(tmp_path / "model", **settings, **changes), progress=False)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        trainings.interrupt_at(patch, "on_train_batch_end", 1)
        start()
    for file, old, new, message in (
        (records / "manifest.json", '"toy"', '"other"', "on other records than those .* now in"),
        (schema_file, "Bright", "Dark", r"expected the attributes .*additional attributes"),
    ):
        text = file.read_text()
        file.write_text(text.replace(old, new))
        with pytest.raises(ModelError, match=rf"model\.partial.*{message}"):
            start()
        file.write_text(text)
    checkpoint = tmp_path / "model.partial" / "checkpoint.npz"
    whole = checkpoint.read_bytes()
    rewrite_settings(checkpoint, lambda stored: stored.pop("schema"))
    with pytest.raises(ModelError, match=r"checkpoint\.npz: expected .* delete .*model\.partial"):
        start()
    checkpoint.write_bytes(whole)
    # Fields that an earlier version did not have count as their defaults.
    rewrite_settings(checkpoint, lambda stored: stored["config"].pop("warmup"))
    with pytest.raises(ModelError, match=r"warmup = 0\.05, not 0\.1\. Delete the folder"):
        start(warmup=0.1)
    assert len(start().history) == EPOCHS


RNG = np.random.default_rng(0)


def tiny_backbone(pixels):
    x = keras.layers.Rescaling(1 / 255)(pixels)
    levels = {}
    for n in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("relu", name=f"level_{n}")(x)
        levels[f"P{n}"] = f"level_{n}"
    network = keras.Model(pixels, x)
    network.pyramid_level_inputs = levels
    return network


@pytest.fixture
def one_of(monkeypatch, tmp_path):
    """Makes the file of a schema with one group that has one attribute."""
    monkeypatch.setitem(BACKBONES, "tiny", tiny_backbone)
    monkeypatch.setitem(VARIANTS, "mgmtn_tiny", ("mgmtn", "tiny", 32))

    def make(attribute):
        schema = AttributeSchema("one", (attribute,), (Group("Top", (attribute,), ("hair",)),))
        path = tmp_path / "one.json"
        path.write_text(json.dumps(schema.to_dict()))
        return path

    return make


@pytest.fixture
def compiled():
    """A network on two attributes of one group, ready for training."""
    schema = AttributeSchema("two", ("A", "B"), (Group("Top", ("A", "B"), ("hair",)),))
    model = mgmtn(tiny_backbone(keras.Input((32, 32, 3))), schema, 32)
    model.compile("sgd", {"attributes": AttributeLoss(), "masks": MaskLoss()}, jit_compile=False)
    return model


def batch(count=2, mask_size=8):
    images = RNG.uniform(0, 255, (count, 32, 32, 3)).astype("float32")
    targets = {
        "attributes": np.ones((count, 2), "float32"),
        "masks": np.ones((count, mask_size, mask_size, 1), "float32"),
    }
    return images, targets


@pytest.mark.slow
def test_one_attribute_and_a_batch_of_one_train(records, one_of, tmp_path):
    result = train(
        TrainConfig(
            records=records,
            output=tmp_path / "model",
            variant="mgmtn_tiny",
            schema=one_of("Bright"),
            batch_size=1,
            epochs=1,
            imagenet=False,
        ),
        progress=False,
    )
    assert np.isfinite(result.history[0]["val_loss"])
    loaded = load_model(result.folder)
    assert loaded.image_size == 32 and list(loaded.thresholds) == ["Bright"]


def test_masks_alone_from_images_without_masks_is_an_error(records, one_of, tmp_path):
    bare = tmp_path / "bare"
    manifest, shards = read_manifest(records), []
    for shard in manifest.shards:
        made = [replace(record, masks=b"") for record in read_shard(records / shard.file)]
        shards.append(replace(shard, size=write_shard(bare / shard.file, made)))
    replace(manifest, shards=tuple(shards)).write(bare)
    config = TrainConfig(
        records=bare,
        output=tmp_path / "model",
        variant="mgmtn_tiny",
        task="masks",
        schema=one_of("Bright"),
        batch_size=4,
        epochs=1,
        imagenet=False,
    )
    with pytest.raises(DatasetError, match="no training image with 'landmarks' masks"):
        train(config, progress=False)


@pytest.mark.slow
def test_an_attribute_without_any_label_trains_and_is_named(records, one_of, tmp_path):
    result = train(
        TrainConfig(
            records=records,
            output=tmp_path / "model",
            variant="mgmtn_tiny",
            schema=one_of("Unknown"),
            batch_size=4,
            epochs=1,
            imagenet=False,
        ),
        progress=False,
    )
    loaded = load_model(result.folder)
    assert loaded.provenance["untrained"] == ["Unknown"]
    assert loaded.thresholds == {"Unknown": 0.5}


def test_a_batch_without_labels_and_masks_moves_no_weight(compiled):
    images, targets = batch()
    missing = {key: np.full_like(value, -1) for key, value in targets.items()}
    before = [np.asarray(weight) for weight in compiled.trainable_variables]
    assert float(np.max(compiled.train_on_batch(images, missing))) == 0
    for weight, old in zip(compiled.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_pixels_that_are_no_numbers_show_in_the_loss(compiled):
    images, targets = batch()
    images[0, 3, 3] = np.nan
    assert np.isnan(compiled.train_on_batch(images, targets)[0])


@pytest.mark.parametrize("mask_size", [1, 16])
def test_masks_of_another_size_are_refused(compiled, mask_size):
    images, targets = batch(mask_size=mask_size)
    expected = rf"expected \(B, h, w, G\) = \(B, 8, 8, 1\).*Received: \(B, {mask_size}, {mask_size}"
    with pytest.raises(ValueError, match=expected):
        compiled.train_on_batch(images, targets)


def test_images_of_another_size_are_refused(compiled):
    _, targets = batch()
    with pytest.raises(ValueError, match="32, 32, 3"):
        compiled.train_on_batch(np.zeros((2, 64, 64, 3), "float32"), targets)


def test_given_masks_train_and_matter(make_config, tmp_path):
    result = train(make_config(tmp_path / "model", mask_mode="given", epochs=3), progress=False)
    assert all("iou" not in key for row in result.history for key in row)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    loaded = load_model(result.folder)
    assert [tensor.name for tensor in loaded.model.inputs] == ["image", "masks"]
    assert set(loaded.model.output) == {"attributes"}
    assert loaded.provenance["config"]["mask_mode"] == "given"
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    top, bottom = np.zeros((2, 2, 8, 8, 2), "float32")
    top[:, :4], bottom[:, 4:] = 1, 1
    logits = [
        loaded.model.predict({"image": images, "masks": masks}, verbose=0)["attributes"]
        for masks in (top, bottom)
    ]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    with pytest.raises(ModelError, match=r"recognition needs .* 'mgmtn_small' with mask_mode"):
        Recognizer.load(result.folder)


def test_an_image_without_masks_is_given_masks_of_ones(make_config):
    config = make_config("unused")
    options = {
        "schema": AttributeSchema.from_file(config.schema),
        "image_size": 64,
        "mask_size": 8,
        "batch_size": 10,
    }
    _, targets = next(iter(load_records(config.records, "valid", **options)))
    inputs, others = next(iter(load_records(config.records, "valid", masks_as="input", **options)))
    masks, given = targets["masks"].numpy(), inputs["masks"].numpy()
    missing = (masks < 0).all(axis=(1, 2, 3))
    assert missing.tolist() == [False, False, False, False, True] * 2
    assert (given[missing] == 1).all()
    np.testing.assert_array_equal(given[~missing], masks[~missing])
    assert set(others) == {"attributes"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_mode": "magic"}, r"mask_mode: expected one of .*'given'.* Received: 'magic'"),
        ({"mask_mode": "given", "variant": "baseline_small"}, r"expected one of \('joint',\)"),
        ({"model": {"masks": "given"}}, "model: expected masks to be left to mask_mode"),
        ({"model": {"masks": "ones"}, "mask_mode": "given"}, "left to mask_mode"),
    ],
)
def test_modes_that_cannot_be_are_refused(make_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config("unused", **changes)


def test_given_masks_of_another_size_or_number_are_refused():
    groups = (Group("Top", ("A",), ("hair",)), Group("Middle", ("B",), ("nose",)))
    schema = AttributeSchema("two", ("A", "B"), groups)
    model = mgmtn("mobilenetv3small", schema, 64, masks="given")
    images = np.zeros((1, 64, 64, 3), "float32")
    for shape in ((1, 8, 8, 2), (1, 16, 16, 3)):
        with pytest.raises(ValueError, match="16, 16, 2"):
            model.predict({"image": images, "masks": np.ones(shape, "float32")}, verbose=0)


NETWORK = {"levels": ["P4"], "mask_level": "P3", "fusion_units": 8}
UNET = {"levels": ["P4"], "fusion_units": 8, "mask_network": "unet", "unet_channels": [4, 8]}


def first_step(make_config, stage=0, model=NETWORK, **changes):
    """How far the network's weights and statistics go in its first step: by layer, in all."""
    config = make_config(
        "unused",
        variant="mgmtn_efficientnetlite0",  # the setting is for backbones from ImageNet only
        imagenet=True,
        model=model,
        warmup=0.0,
        learning_rate=0.01,
        weight_decay=0.0,
        **changes,
    )
    schema = AttributeSchema.from_file(config.schema)
    network = build_model(ModelConfig("mgmtn_small", {"image_size": 64, **model}), schema)
    learner = compile_stage(network, plan_stages(config)[stage], config, schema, steps=10)
    before = network.get_weights()
    learner.fit(_load_split(config, schema, learner, "train").take(1), shuffle=False, verbose=0)
    moves = {layer.name: {} for layer in network.layers if layer.weights}
    for layer in network.layers:
        for weight in layer.weights:
            old = before[[w.path for w in network.weights].index(weight.path)]
            moves[layer.name][weight.path] = np.abs(np.asarray(weight) - old).max()
    return moves


def test_a_frozen_backbone_keeps_weights_and_statistics(make_config):
    moves = first_step(make_config, backbone_rate=0.0)
    assert len(moves["backbone"]) == 4 * 5 and not any(moves["backbone"].values())
    assert max(moves["group_logits"].values()) == pytest.approx(0.01, rel=0.01)  # Adam's first


def test_a_slow_backbone_moves_by_its_share(make_config):
    moves = first_step(make_config, backbone_rate=0.1)
    kernels = [size for path, size in moves["backbone"].items() if "kernel" in path]
    assert len(kernels) == 4 and kernels == pytest.approx([0.001] * 4, rel=0.05)
    assert max(moves["group_logits"].values()) == pytest.approx(0.01, rel=0.01)


def test_two_stages_slow_the_backbone_where_there_is_one(make_config):
    two = {"model": UNET, "mask_mode": "two_stage", "backbone_rate": 0.0}
    masks, attributes = (first_step(make_config, stage, **two) for stage in (0, 1))
    for moves in (masks, attributes):
        assert not any(moves["backbone"].values())
    assert max(masks[MASK_NETWORK].values()) > 0.005 > 0 == max(masks["group_logits"].values())
    assert max(attributes[MASK_NETWORK].values()) == 0 < max(attributes["group_logits"].values())
