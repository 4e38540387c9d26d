"""Keras' own files: all variants and modes, reloaded by Keras alone in a fresh process."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.models.storage import (
    load_keras_file,
    load_weights_file,
    read_schema,
    save_keras_file,
    save_model,
    save_weights_file,
)
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import AttributeSchema, Group

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
UNET = {"mask_network": "unet", "unet_channels": [4, 6]}
# Each variant as it is, but small; and what training modes make of one.
CASES = {
    **{
        name: (name, UNET if name in ("mgmtn_resnest50", "mgmtn_resnet50") else {}, "attributes")
        for name in VARIANTS
    },
    "given": ("mgmtn_mobilenetv3small", {"masks": "given"}, "attributes"),
    "ones": ("mgmtn_mobilenetv3small", {"masks": "ones"}, "attributes"),
    "two_stage": ("mgmtn_mobilenetv3small", UNET, "attributes"),
    "masks_shared": ("mgmtn_mobilenetv3small", {}, "masks"),
    "masks_unet": ("mgmtn_mobilenetv3small", UNET, "masks"),
}
SLOW = ("resnest50", "resnet50", "efficientnetlite0")

# Keras alone reads the .keras file; of this package it needs the layers only.
SCRIPT = """
import sys
import keras, numpy as np
import far_keras.layers
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import AttributeSchema

folder = sys.argv[1]
data = dict(np.load(folder + "/expected.npz"))
inputs = {name[3:]: data[name] for name in data if name.startswith("in_")}
inputs = inputs if len(inputs) > 1 else inputs["image"]
whole = keras.models.load_model(folder + "/model.keras")
schema = AttributeSchema.from_file(folder + "/schema.json")
variant, arguments, task = eval(sys.argv[2])
built = build_model(ModelConfig(variant, arguments, task), schema)
built.load_weights(folder + "/model.weights.h5")
for model in (whole, built):
    outputs = model.predict(inputs, verbose=0)
    assert set(outputs) == {name[4:] for name in data if name.startswith("out_")}
    for name, value in outputs.items():
        np.testing.assert_allclose(value, data["out_" + name], rtol=1e-5, atol=1e-5)
"""


@pytest.mark.parametrize(
    "case",
    [pytest.param(name, marks=pytest.mark.slow if name.endswith(SLOW) else ()) for name in CASES],
)
def test_keras_alone_reloads_both_files_in_a_fresh_process(case, schema, tmp_path):
    variant, arguments, task = CASES[case]
    arguments = {"image_size": 64, **arguments}
    model = build_model(ModelConfig(variant, arguments, task), schema)
    for weight in model.weights:  # also biases and statistics, which start as constants
        weight.assign(RNG.uniform(0.9, 1.1, weight.shape) * weight + 0.01)
    inputs = {
        tensor.name: RNG.uniform(0, 255 if tensor.name == "image" else 1, (2, *tensor.shape[1:]))
        for tensor in model.inputs
    }
    inputs = {name: value.astype("float32") for name, value in inputs.items()}
    outputs = model.predict(inputs if len(inputs) > 1 else inputs["image"], verbose=0)
    save_keras_file(model, tmp_path / "model.keras", schema)
    save_weights_file(model, tmp_path / "model.weights.h5", schema)
    (tmp_path / "schema.json").write_text(json.dumps(schema.to_dict()))
    np.savez(
        tmp_path / "expected.npz",
        **{f"in_{name}": value for name, value in inputs.items()},
        **{f"out_{name}": value for name, value in outputs.items()},
    )
    parts = (variant, arguments, task)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path), repr(parts)],
        cwd=ROOT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def saved(schema, small_variants, tmp_path):
    """A small model, and its two files."""
    config = ModelConfig("baseline_small", {"image_size": 64})
    model = build_model(config, schema)
    save_model(model, tmp_path / "folder", config=config, schema=schema)
    return (
        model,
        save_keras_file(model, tmp_path / "model.keras", schema),
        save_weights_file(model, tmp_path / "model.weights.h5", schema),
    )


@pytest.fixture
def renamed(schema):
    """As many attributes, one of them another: no shape tells the two apart."""
    words = {"Young": "Old"}

    def other(names):
        return tuple(words.get(name, name) for name in names)

    groups = tuple(Group(g.name, other(g.attributes), g.regions) for g in schema.groups)
    return AttributeSchema("renamed", other(schema.attributes), groups)


def test_another_schema_is_refused_with_the_attributes_that_differ(saved, schema, renamed):
    model, keras_file, weights_file = saved
    said = (
        r"'small', not 'renamed': missing attributes \['Old'\]; additional attributes \['Young'\]"
    )
    with pytest.raises(ModelError, match=said):
        load_keras_file(keras_file, renamed)
    with pytest.raises(ModelError, match=said):
        load_weights_file(model, weights_file, renamed)
    # Also the weights out of a model's folder.
    with pytest.raises(ModelError, match=said):
        load_weights_file(model, keras_file.parent / "folder" / "model.weights.h5", renamed)


def test_the_right_schema_is_read_back(saved, schema):
    model, keras_file, weights_file = saved
    assert read_schema(keras_file) == read_schema(weights_file) == schema
    images = RNG.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    expected = model.predict(images, verbose=0)["attributes"]
    again = load_keras_file(keras_file, schema).predict(images, verbose=0)["attributes"]
    np.testing.assert_array_equal(again, expected)
    for weight in model.weights:
        weight.assign(weight * 0)
    load_weights_file(model, weights_file, schema)
    np.testing.assert_array_equal(model.predict(images, verbose=0)["attributes"], expected)


def test_files_that_cannot_be_are_refused(saved, schema, tmp_path):
    model, keras_file, weights_file = saved
    model.save(tmp_path / "plain.keras")
    model.save_weights(tmp_path / "plain.weights.h5")
    for name in ("plain.keras", "plain.weights.h5"):
        with pytest.raises(ModelError, match=f"{name}: .* one that Keras alone wrote"):
            read_schema(tmp_path / name)
    for path in (keras_file, weights_file):
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(ModelError, match=f"{path.name}: the file is truncated"):
            read_schema(path)
    with pytest.raises(ModelError, match="expected a name that ends in"):
        save_keras_file(model, tmp_path / "model.h5", schema)
    with pytest.raises(ModelError, match="there is none"):
        load_keras_file(tmp_path / "nothing.keras")


def test_weights_of_another_network_are_refused(saved, schema, small_variants):
    _, _, weights_file = saved
    other = build_model(ModelConfig("mgmtn_small", {"image_size": 64}), schema)
    with pytest.raises(ModelError, match="not the weights of a network like 'mgmtn_small'"):
        load_weights_file(other, weights_file, schema)
