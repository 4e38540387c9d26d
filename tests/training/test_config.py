import argparse
import json
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from far_keras.training.config import ConfigError, TrainConfig, add_flags, given_flags

# A value for each field that is not its default.
OTHER = {
    "records": "r",
    "output": "o",
    "variant": "mgmtn_mobilenetv3small",
    "schema": "s.yaml",
    "image_size": 96,
    "task": "attributes",
    "model": {"dropout": 0.5, "mask_network": "unet"},
    "imagenet": True,
    "masks": "true",
    "mask_mode": "two_stage",
    "mask_epochs": 2,
    "masks_from": None,
    "mask_weight": 0.5,
    "augment": True,
    "limit": 800,
    "batch_size": 7,
    "epochs": 3,
    "learning_rate": 0.01,
    "warmup": 0.1,
    "weight_decay": 0.2,
    "backbone_rate": 0.1,
    "precision": "mixed_float16",
    "seed": 9,
}


def test_every_field_is_tested():
    assert set(OTHER) == {item.name for item in fields(TrainConfig)}


@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"mask_epochs": None, "masks_from": "m"},
        {
            "task": "masks",
            "mask_mode": "joint",
            "mask_epochs": None,
            "imagenet": False,
            "backbone_rate": 1.0,
        },
    ],
    ids=["two stages", "masks from a folder", "masks alone"],
)
def test_files_give_back_every_value(tmp_path, name, change):
    config = TrainConfig(**(OTHER | change))
    data = config.to_dict()
    text = json.dumps(data) if name.endswith("json") else yaml.safe_dump(data)
    (tmp_path / name).write_text(text)
    again = TrainConfig.from_file(tmp_path / name)
    assert again == config and again.to_dict() == OTHER | change


def test_overrides_win_and_the_rest_keeps_its_default(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("records: r\noutput: o\nepochs: 4\nlearning_rate: 1\n")
    config = TrainConfig.from_file(path, epochs=2, output=Path("p"))
    assert config == TrainConfig(records="r", output="p", epochs=2, learning_rate=1.0)
    assert isinstance(config.learning_rate, float)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"variant": "resnet"}, "variant: expected one of .*Received: 'resnet'"),
        ({"image_size": 16}, "image_size: expected at least 32. Received: 16"),
        ({"masks": "none"}, r"masks: expected one of \('landmarks', 'true'\). Received: 'none'"),
        ({"batch_size": 0}, "batch_size"),
        ({"limit": 0}, "limit: expected at least 1. Received: 0"),
        ({"batch_size": 2.5}, "batch_size: expected int. Received: 2.5"),
        ({"epochs": True}, "epochs: expected int. Received: True"),
        ({"learning_rate": "1e-3"}, "learning_rate: expected float. Received: '1e-3'"),
        ({"learning_rate": float("nan")}, "learning_rate: expected above 0 and below 10"),
        ({"warmup": 1.0}, "warmup"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"backbone_rate": 1.1}, "backbone_rate: expected at least 0 and at most 1. Received: 1.1"),
        ({"backbone_rate": 0.5, "imagenet": False}, "backbone_rate: expected 1 for a backbone"),
        ({"mask_weight": -0.1}, "mask_weight: expected at least 0. Received: -0.1"),
        ({"precision": "float64"}, r"precision: expected one of \(.float32., "),
        ({"seed": -1}, "seed: expected at least 0 and below 2147483648. Received: -1"),
        ({"imagenet": 1}, "imagenet: expected bool"),
        ({"records": None}, "records: expected str"),
        ({"model": {"image_size": 64}}, "model: image_size has a field of its own"),
        ({"model": [1]}, "model"),
        ({"learning_rte": 1.0}, "unknown keys .'learning_rte'.; known are"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict({"records": "r", "output": "o", **change})


REMOVED = {
    "photometric": ("standard", "strong"),
    "region_swap": (0.0, 0.25),
    "ema": (0, 0.99),
    "label_smoothing": (0.0, 0.1),
    "mix_style": (0.0, 0.5),
}


@pytest.mark.parametrize("name", REMOVED)
def test_fields_of_version_0_1_load_where_they_were_not_used(name):
    off, on = REMOVED[name]
    data = {"records": "r", "output": "o"}
    assert TrainConfig.from_dict({**data, name: off}) == TrainConfig(**data)
    with pytest.raises(ConfigError, match=rf"c\.yaml: {name} {on!r}: removed in version 0\.2"):
        TrainConfig.from_dict({**data, name: on}, source="c.yaml")


def parse(text):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser)
    return given_flags(parser.parse_args(text.split()))


def test_every_field_has_a_flag():
    flags = "r --output o" + "".join(
        f" --{name.replace('_', '-')} {value}"
        for name, value in OTHER.items()
        if name not in ("records", "output", "model", "imagenet", "augment", "masks_from")
    )
    given = parse(f"{flags} --model dropout=0.5 --model mask_network=unet --imagenet --augment")
    assert TrainConfig.from_dict(given).to_dict() == OTHER
    assert parse("r --output o --masks-from m --no-augment") == {
        "records": Path("r"),
        "output": Path("o"),
        "masks_from": Path("m"),
        "augment": False,
    }
    assert parse('r --output o --model levels=["P3"]')["model"] == {"levels": ["P3"]}


@pytest.mark.parametrize("flags", ["--epochs many", "--masks none", "--model dropout"])
def test_bad_flags_are_refused(flags):
    with pytest.raises(argparse.ArgumentError):
        parse(f"r --output o {flags}")


def test_missing_keys_are_named():
    with pytest.raises(ConfigError, match=r"\['records', 'output'\] are missing"):
        TrainConfig.from_dict({})


@pytest.mark.parametrize(
    "name, text", [("c.toml", ""), ("c.yaml", "a: ["), ("c.json", "{"), ("c.yaml", "- 1")]
)
def test_bad_files_are_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=name):
        TrainConfig.from_file(tmp_path / name)
    with pytest.raises(ConfigError, match=r"none\.json: cannot read"):
        TrainConfig.from_file(tmp_path / "none.json")
