"""Model folders, Keras files, and running a model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from far_keras.calibration import Calibration
from far_keras.errors import ModelError
from far_keras.layers import BatchNormalization
from far_keras.models import storage
from far_keras.models.storage import (
    compile_forward,
    load_keras_file,
    load_model,
    load_weights_file,
    read_schema,
    save_keras_file,
    save_model,
    save_weights_file,
)
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import CELEBA, AttributeSchema, Group

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
# Arguments that are not the variants' own.
GATED = {
    "levels": ["P3", "P4"],
    "fusion": "gated",
    "fusion_units": 7,
    "pooling": "product",
    "global_shortcut": False,
}
RELOADED = [
    ("mgmtn_small", GATED),
    ("mgmtn_small", {"mask_network": "unet", "unet_channels": [4, 6, 8]}),
    ("baseline_small", {"dropout": 0.5}),
    ("mgmtn_mobilenetv3small", {"global_path": False}),
    *(
        pytest.param(variant, arguments, marks=pytest.mark.slow)
        for variant, arguments in (
            ("baseline_mobilenetv3small", {}),
            ("mgmtn_efficientnetlite0", GATED),
            ("baseline_efficientnetlite0", {"dropout": 0.5}),
            ("mgmtn_resnet50", {"unet_channels": [4, 6, 8]}),
            ("baseline_resnet50", {}),
            ("mgmtn_resnest50", {"unet_channels": [4, 6]}),
            ("baseline_resnest50", {}),
        )
    ),
]


@pytest.fixture
def saved(tmp_path, schema, small_variants):
    """A small model and its folder."""
    config = ModelConfig("baseline_small", {"image_size": 64})
    model = build_model(config, schema)
    folder = save_model(
        model,
        tmp_path / "model",
        config=config,
        schema=schema,
        thresholds={"Young": 0.25},
        calibration=Calibration({"Young": (1.5, -0.5)}),
        provenance={"seed": 3},
        documents={"history.json": [{"epoch": 1}]},
    )
    return model, folder


@pytest.mark.parametrize(("variant", "arguments"), RELOADED)
def test_reloaded_model_gives_equal_outputs(variant, arguments, schema, small_variants, tmp_path):
    config = ModelConfig(variant, {"image_size": 64, **arguments})
    model = build_model(config, schema)
    for weight in model.weights:  # also biases and statistics, which start as constants
        weight.assign(RNG.uniform(0.9, 1.1, weight.shape) * weight + 0.01)
    save_model(model, tmp_path / "m", config=config, schema=schema)
    loaded = load_model(tmp_path / "m", schema)
    assert loaded.model.name == variant
    assert loaded.schema == schema and loaded.image_size == 64
    # Every argument is in the file, whatever the variant's own may be one day.
    assert loaded.config.arguments.items() >= config.arguments.items()
    assert "dropout" in loaded.config.arguments
    expected = model.predict(IMAGES, verbose=0)
    outputs = loaded.model.predict(IMAGES, verbose=0)
    assert set(outputs) == set(expected)
    for key in outputs:
        np.testing.assert_array_equal(outputs[key], expected[key])


def test_weight_files_do_not_tell_fused_normalisations_apart(schema, small_variants, tmp_path):
    config = ModelConfig("baseline_small", {"image_size": 64})
    model = build_model(config, schema)
    norms = [x for x in model._flatten_layers() if type(x) is BatchNormalization]
    assert norms
    for norm in norms:
        norm.moving_mean.assign(np.random.default_rng(0).normal(size=norm.moving_mean.shape))
    save_model(model, tmp_path / "m", config=config, schema=schema)
    plain = keras.models.clone_model(
        build_model(config, schema).get_layer("backbone"),
        clone_function=lambda layer: (
            keras.layers.BatchNormalization.from_config(layer.get_config())
            if isinstance(layer, BatchNormalization)
            else layer.__class__.from_config(layer.get_config())
        ),
    )
    assert not any(type(layer) is BatchNormalization for layer in plain._flatten_layers())
    plain.save_weights(tmp_path / "plain.weights.h5")
    model.get_layer("backbone").load_weights(tmp_path / "plain.weights.h5")
    for ours, theirs in zip(model.get_layer("backbone").weights, plain.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_calibration_is_stored_and_models_without_one_have_plain_sigmoids(saved):
    _, folder = saved
    loaded = load_model(folder)
    assert loaded.calibration == Calibration({"Young": (1.5, -0.5)})
    expected = {"Smiling": 0.5, "Young": 1 / (1 + np.exp(0.5)), "Wavy_Hair": 0.5, "Big_Lips": 0.5}
    np.testing.assert_allclose(loaded.probabilities(np.zeros((1, 4)))[0], list(expected.values()))
    (folder / "calibration.json").write_text('{"Young": {"slope": -1, "offset": 0}}')
    with pytest.raises(ModelError, match=r"calibration\.json|positive slope"):
        load_model(folder)
    (folder / "calibration.json").unlink()
    assert load_model(folder).calibration == Calibration()


def test_folder_holds_what_was_given(saved, schema):
    _, folder = saved
    assert sorted(os.listdir(folder)) == [
        "calibration.json",
        "config.json",
        "history.json",
        "model.weights.h5",
        "provenance.json",
        "schema.json",
        "thresholds.json",
    ]
    loaded = load_model(folder)
    assert loaded.thresholds == dict.fromkeys(schema.attributes, 0.5) | {"Young": 0.25}
    assert loaded.provenance == {"seed": 3}
    assert json.loads((folder / "history.json").read_text()) == [{"epoch": 1}]


def test_another_schema_is_refused_with_the_difference(saved):
    _, folder = saved
    with pytest.raises(ModelError, match=r"'celeba'. Received: the schema 'small': missing.*Bald"):
        load_model(folder, CELEBA)


def test_the_same_attributes_in_another_order_are_refused(saved, schema):
    _, folder = saved
    turned = AttributeSchema("turned", schema.attributes[::-1], schema.groups)
    with pytest.raises(ModelError, match="another order"):
        load_model(folder, turned)


@pytest.mark.parametrize(
    "name",
    ["config.json", "model.weights.h5", "schema.json", "thresholds.json", "provenance.json"],
)
def test_each_missing_file_is_named(saved, name):
    _, folder = saved
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name}: the file is missing"):
        load_model(folder)


@pytest.mark.parametrize("keep", [0, 1000, -1])
def test_truncated_weights_are_refused(saved, keep):
    _, folder = saved
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.weights\.h5: the file is truncated"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "schema.json", "thresholds.json"])
def test_broken_json_is_named(saved, name):
    _, folder = saved
    (folder / name).write_text("{")
    with pytest.raises(ModelError, match=f"{name}: cannot be read"):
        load_model(folder)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 99}, "format 99"),
        ({"variant": "mgmtn_imaginary"}, "mgmtn_imaginary"),
        ({"arguments": {"colour": 1}}, "colour"),
        ({"arguments": {"image_size": 8}}, "at least 32"),
        # The weights are whole, but of another network.
        ({"variant": "mgmtn_small", "arguments": {}}, "not the weights of the 'mgmtn_small'"),
    ],
)
def test_a_changed_description_is_refused(saved, change, message):
    _, folder = saved
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="there is none"):
        load_model(tmp_path / "nothing")


def test_saving_again_replaces_the_model(saved, schema):
    model, folder = saved
    config = load_model(folder).config
    save_model(model, folder, config=config, schema=schema, provenance={"seed": 4})
    assert load_model(folder).provenance == {"seed": 4}
    assert not (folder / "history.json").exists()
    assert os.listdir(folder.parent) == ["model"]


def test_foreign_folders_are_not_touched(saved, schema, tmp_path):
    model, folder = saved
    other = tmp_path / "letters"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    with pytest.raises(ModelError, match="it holds other files"):
        save_model(model, other, config=load_model(folder).config, schema=schema)
    assert (other / "letter.txt").read_text() == "dear"


def test_a_failed_save_leaves_the_old_model_whole(saved, schema, monkeypatch):
    model, folder = saved
    config = load_model(folder).config

    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(storage, "_write_json", full)
        save_model(model, folder, config=config, schema=schema)
    assert load_model(folder).provenance == {"seed": 3}
    assert os.listdir(folder.parent) == ["model"]


@pytest.mark.parametrize("thresholds", [{"Young": 1.5}, {"Bald": 0.5}])
def test_thresholds_that_are_none_are_refused(saved, schema, tmp_path, thresholds):
    model, folder = saved
    config = load_model(folder).config
    with pytest.raises(ModelError, match="thresholds"):
        save_model(model, tmp_path / "x", config=config, schema=schema, thresholds=thresholds)
    assert not (tmp_path / "x").exists()


def test_unknown_variants_and_arguments_are_refused():
    with pytest.raises(ModelError, match="mgmtn_efficientnetlite0"):
        ModelConfig("imaginary")
    with pytest.raises(ModelError, match=r"does not take the arguments \['name'\]"):
        build_model(ModelConfig("baseline_efficientnetlite0", {"name": "x"}))
    with pytest.raises(ModelError, match="fusion must be one of"):
        build_model(ModelConfig("mgmtn_efficientnetlite0", {"fusion": "magic"}))


def test_the_optimiser_is_not_stored(saved, schema, tmp_path):
    model, folder = saved
    model.compile("adam", "mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    config = load_model(folder).config
    again = save_model(model, tmp_path / "again", config=config, schema=schema)
    sizes = [(path / "model.weights.h5").stat().st_size for path in (folder, again)]
    assert sizes[0] == sizes[1]
    expected = model.predict(IMAGES, verbose=0)["attributes"]
    outputs = load_model(again).model.predict(IMAGES, verbose=0)["attributes"]
    np.testing.assert_array_equal(outputs, expected)


def test_half_precision_is_stored_and_read_as_float32(saved, schema, tmp_path):
    model, _ = saved
    config = ModelConfig("baseline_small", {"image_size": 64})
    halved = save_model(model, tmp_path / "half", config=config, schema=schema, half=True)
    kinds = set()
    with h5py.File(halved / "model.weights.h5") as file:
        file.visititems(lambda _, item: kinds.add(getattr(item, "dtype", None)))
    assert kinds == {None, np.dtype("float16")}
    loaded = load_model(halved)
    for weight, rounded in zip(model.weights, loaded.model.weights, strict=True):
        assert rounded.dtype == "float32"
        np.testing.assert_array_equal(np.asarray(rounded), np.float16(weight).astype(np.float32))


def test_weights_beyond_half_precision_are_refused(saved, schema, tmp_path):
    model, _ = saved
    model.weights[0].assign(np.full(model.weights[0].shape, 1e5))
    config = ModelConfig("baseline_small", {"image_size": 64})
    with pytest.raises(ModelError, match="beyond float16's range"):
        save_model(model, tmp_path / "half", config=config, schema=schema, half=True)
    assert not (tmp_path / "half").exists()


ROOT = Path(__file__).parents[2]
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
FAST = ("mgmtn_mobilenetv3small", "given", "two_stage", "masks_shared")
# The baselines of the large networks are parts of them.
SLOW = tuple(
    name for name in CASES if name not in (*FAST, "baseline_resnest50", "baseline_resnet50")
)

# Keras alone reads the .keras file; of this package it needs the layers only.
SCRIPT = """
import sys
import keras, numpy as np
import far_keras.layers
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import AttributeSchema

for name, (variant, arguments, task) in eval(sys.argv[2]).items():
    folder = f"{sys.argv[1]}/{name}"
    data = dict(np.load(folder + "/expected.npz"))
    inputs = {key[3:]: data[key] for key in data if key.startswith("in_")}
    inputs = inputs if len(inputs) > 1 else inputs["image"]
    whole = keras.models.load_model(folder + "/model.keras")
    schema = AttributeSchema.from_file(folder + "/schema.json")
    built = build_model(ModelConfig(variant, {"image_size": 64, **arguments}, task), schema)
    built.load_weights(folder + "/model.weights.h5")
    for model in (whole, built):
        outputs = model.predict(inputs, verbose=0)
        assert set(outputs) == {key[4:] for key in data if key.startswith("out_")}, name
        for key, value in outputs.items():
            np.testing.assert_allclose(value, data["out_" + key], rtol=1e-5, atol=1e-5)
"""


@pytest.mark.parametrize("names", [FAST, pytest.param(SLOW, marks=pytest.mark.slow)], ids=str)
@pytest.mark.slow
def test_keras_alone_reloads_both_files_in_a_fresh_process(names, schema, tmp_path):
    for name in names:
        write_case(tmp_path / name, *CASES[name], schema)
    cases = {name: CASES[name] for name in names}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), repr(cases)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def write_case(folder, variant, arguments, task, schema):
    """Both files of a network, its inputs and its outputs."""
    folder.mkdir()
    model = build_model(ModelConfig(variant, {"image_size": 64, **arguments}, task), schema)
    for weight in model.weights:  # also biases and statistics, which start as constants
        weight.assign(RNG.uniform(0.9, 1.1, weight.shape) * weight + 0.01)
    inputs = {
        tensor.name: RNG.uniform(0, 255 if tensor.name == "image" else 1, (2, *tensor.shape[1:]))
        for tensor in model.inputs
    }
    inputs = {name: value.astype("float32") for name, value in inputs.items()}
    outputs = model.predict(inputs if len(inputs) > 1 else inputs["image"], verbose=0)
    save_keras_file(model, folder / "model.keras", schema)
    save_weights_file(model, folder / "model.weights.h5", schema)
    (folder / "schema.json").write_text(json.dumps(schema.to_dict()))
    np.savez(
        folder / "expected.npz",
        **{f"in_{name}": value for name, value in inputs.items()},
        **{f"out_{name}": value for name, value in outputs.items()},
    )


@pytest.fixture
def files(schema, small_variants, tmp_path):
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


def test_another_schema_is_refused_with_the_attributes_that_differ(files, schema, renamed):
    model, keras_file, weights_file = files
    said = (
        r"'renamed'. Received: the schema 'small': missing attributes \['Old'\]; additional .*Young"
    )
    with pytest.raises(ModelError, match=said):
        load_keras_file(keras_file, renamed)
    with pytest.raises(ModelError, match=said):
        load_weights_file(model, weights_file, renamed)
    # Also the weights out of a model's folder.
    with pytest.raises(ModelError, match=said):
        load_weights_file(model, keras_file.parent / "folder" / "model.weights.h5", renamed)


def test_the_right_schema_is_read_back(files, schema):
    model, keras_file, weights_file = files
    assert read_schema(keras_file) == read_schema(weights_file) == schema
    images = RNG.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    expected = model.predict(images, verbose=0)["attributes"]
    again = load_keras_file(keras_file, schema).predict(images, verbose=0)["attributes"]
    np.testing.assert_array_equal(again, expected)
    for weight in model.weights:
        weight.assign(weight * 0)
    load_weights_file(model, weights_file, schema)
    np.testing.assert_array_equal(model.predict(images, verbose=0)["attributes"], expected)


def test_files_that_cannot_be_are_refused(files, schema, tmp_path):
    model, keras_file, weights_file = files
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


def test_weights_of_another_network_are_refused(files, schema, small_variants):
    _, _, weights_file = files
    other = build_model(ModelConfig("mgmtn_small", {"image_size": 64}), schema)
    with pytest.raises(ModelError, match="not the weights of a network like 'mgmtn_small'"):
        load_weights_file(other, weights_file, schema)


def test_any_batch_size_in_inference_mode():
    image = keras.Input((4, 4, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.9)(image))
    model = keras.Model(image, {"mean": pooled, "twice": keras.layers.Rescaling(2.0)(pooled)})
    forward = compile_forward(model)
    for count in (1, 3, 7):
        pictures = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
        outputs = forward(pictures)
        expected = pictures.mean(axis=(1, 2))  # dropout would zero or scale most of it
        np.testing.assert_allclose(outputs["mean"], expected, rtol=1e-6)
        np.testing.assert_allclose(outputs["twice"], 2 * expected, rtol=1e-6)
        assert outputs["mean"].dtype == np.float32
