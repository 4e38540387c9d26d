"""The weightless .tflite file of a model folder, and what happens when the folder changes."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from far_keras.calibration import Calibration
from far_keras.errors import ModelError
from far_keras.export.litert import load_tflite
from far_keras.export.tflite import rendered_images
from far_keras.export.tflite_file import read_metadata, with_metadata, write_flatbuffer
from far_keras.export.weightless_tflite import load_weightless_tflite, write_weightless_tflite
from far_keras.models.storage import WEIGHTLESS, load_model, save_model
from far_keras.models.variants import ModelConfig, build_model, pretrained_folder
from far_keras.recognition.engines import ExportedEngine, KerasEngine, open_engine
from far_keras.schema import CELEBA, AttributeSchema, Group

SIZE = 64


def write(folder, variant, half=True, spread=1.0, **arguments):
    """A network with statistics as training leaves them, so that folding them changes kernels."""
    config = ModelConfig(variant, {"image_size": SIZE, **arguments})
    keras.utils.set_random_seed(0)
    model = build_model(config)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.endswith("gamma"):
            variable.assign(rng.uniform(0.7 * spread, 1.4 * spread, variable.shape))
        elif variable.path.endswith("moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith(("beta", "moving_mean")):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    return save(folder, model, config, half)


def save(folder, model, config, half=True):
    save_model(
        model,
        folder,
        config=config,
        schema=CELEBA,
        thresholds=dict.fromkeys(CELEBA.attributes, 0.3),
        calibration=Calibration({"Smiling": (0.5, 1.0), "Bald": (2.0, -1.0)}),
        provenance={"untrained": ["Attractive"]},
        half=half,
    )
    write_weightless_tflite(folder)
    return folder


@pytest.fixture(scope="module")
def written(small_model_of, tmp_path_factory):  # the fixture registers the small network
    loaded = small_model_of()
    return save(tmp_path_factory.mktemp("models") / "noise", loaded.model, loaded.config)


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


@pytest.fixture(scope="module")
def images(make_images):
    return make_images(3, SIZE, seed=1)


def check_as_keras(folder, images):
    """The same description and probabilities."""
    expected, engine = KerasEngine(load_model(folder), folder.name), open_engine(folder)
    assert isinstance(engine, ExportedEngine)
    assert engine.description == expected.description  # also the name, which is the folder's
    wanted, given = expected(images), engine(images)
    assert wanted.probabilities.std(axis=0).max() > 0.01  # the images are told apart
    np.testing.assert_allclose(given.probabilities, wanted.probabilities, atol=1e-4, rtol=0)
    if wanted.masks is None:
        assert given.masks is None
    else:
        np.testing.assert_allclose(given.masks, wanted.masks, atol=1e-4, rtol=0)


def test_it_predicts_as_keras_does(folder, images):
    check_as_keras(folder, images)


@pytest.mark.parametrize(
    ("variant", "arguments"),
    [
        pytest.param("baseline_efficientnetlite0", {}, marks=pytest.mark.slow),  # without masks
        pytest.param(
            "mgmtn_mobilenetv3small",
            {"half": False, "global_path": True, "spread": 3.0},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "mgmtn_efficientnetlite0", {"levels": ["P3", "P4", "P5"]}, marks=pytest.mark.slow
        ),
    ],
)
def test_other_networks(variant, arguments, tmp_path, images):
    check_as_keras(write(tmp_path / "other", variant, **arguments), images)


@pytest.mark.parametrize("arguments", [{"task": "masks"}, {"arguments": {"masks": "given"}}])
def test_mask_networks_are_refused(arguments, small_model_of, tmp_path):
    given = {"image_size": SIZE, **arguments.pop("arguments", {})}
    config = ModelConfig("mgmtn_small", given, **arguments)
    save_model(build_model(config), tmp_path / "model", config=config, schema=CELEBA)
    with pytest.raises(ModelError, match="export needs a network"):
        write_weightless_tflite(tmp_path / "model")


def test_another_schema_is_refused(folder):
    schema = AttributeSchema("a", ("A",), (Group("Hair", ("A",), ("hair",)),))
    with pytest.raises(ModelError, match="the schema 'celeba'"):
        open_engine(folder, schema)


def test_one_of_an_earlier_format_is_left_to_keras(folder):
    path = folder / WEIGHTLESS
    description, facts, flatbuffer = read_metadata(path)
    facts["weightless"]["format"] = 0
    path.write_bytes(with_metadata(flatbuffer, description, facts))
    assert isinstance(open_engine(folder), KerasEngine)


def test_a_network_that_would_predict_differently_is_not_written(folder, monkeypatch):
    (folder / WEIGHTLESS).unlink()

    def altered(model):
        values = next(b for b in model.buffers if b.data is not None and len(b.data) > 200)
        values.data = np.frombuffer(bytes(values.data), np.float32).copy()
        values.data[:] = 1.0
        values.data = values.data.view(np.uint8)
        return write_flatbuffer(model)

    monkeypatch.setattr("far_keras.export.weightless_tflite.write_flatbuffer", altered)
    with pytest.raises(ModelError, match="would predict differently"):
        write_weightless_tflite(folder)
    assert not (folder / WEIGHTLESS).exists()


def test_the_weights_are_not_in_it():
    folder = pretrained_folder()
    assert (folder / WEIGHTLESS).stat().st_size < 0.04 * (
        folder / "model.weights.h5"
    ).stat().st_size


def test_it_needs_no_tensorflow(folder):
    code = (
        "import sys, numpy as np\n"
        "from far_keras.recognition.engines import open_engine\n"
        f"open_engine({str(folder)!r})(np.zeros((1, {SIZE}, {SIZE}, 3), np.uint8))\n"
        "print([name for name in ('tensorflow', 'keras', 'keras_cv') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_folder_that_was_changed_is_run_by_keras(folder, images):
    thresholds = json.loads((folder / "thresholds.json").read_text())
    (folder / "thresholds.json").write_text(json.dumps(thresholds | {"Smiling": 0.9}))
    assert load_weightless_tflite(folder) is None
    engine = open_engine(folder)
    assert isinstance(engine, KerasEngine) and engine.description.thresholds["Smiling"] == 0.9


def test_new_weights_leave_nothing_of_the_old_ones(folder, images):
    loaded = load_model(folder)
    loaded.model.set_weights([weights * 0.9 for weights in loaded.model.get_weights()])
    save_model(loaded.model, folder, config=loaded.config, schema=loaded.schema)
    assert not (folder / WEIGHTLESS).exists()
    assert isinstance(open_engine(folder), KerasEngine)


def test_altered_weights_are_refused_as_without_it(folder):
    with (folder / "model.weights.h5").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelError, match=r"model\.weights\.h5: the file is truncated or was"):
        open_engine(folder)


def test_a_damaged_one_is_named(folder):
    content = bytearray((folder / WEIGHTLESS).read_bytes())
    content[2000] ^= 255
    (folder / WEIGHTLESS).write_bytes(content)
    with pytest.raises(ModelError, match=r"network\.tflite: the file was changed or damaged"):
        open_engine(folder)


def test_it_is_no_model_by_itself(folder):
    with pytest.raises(ModelError, match=r"network\.tflite: expected .* with weights.*the folder"):
        load_tflite(folder / WEIGHTLESS)


def test_the_packaged_model_has_one_that_fits():
    model = load_weightless_tflite(pretrained_folder())
    assert model is not None
    images = np.stack(list(rendered_images(model.description.image_size, 4)))
    expected = KerasEngine(load_model(pretrained_folder()), pretrained_folder().name)
    assert model.description == expected.description
    wanted, given = expected(images), model(images)
    assert wanted.probabilities.std(axis=0).max() > 0.2
    np.testing.assert_allclose(given["attributes"], wanted.probabilities, atol=1e-4)
    np.testing.assert_allclose(given["masks"], wanted.masks, atol=1e-4)
