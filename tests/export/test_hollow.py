"""The hollow .tflite file of a model's folder, and what becomes of it when the folder changes."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.export.hollow import HOLLOW, load_hollow, write_hollow
from far_keras.export.tflite_runner import load_tflite
from far_keras.models.pretrained import pretrained_folder
from far_keras.models.storage import load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.engines.keras_model import KerasEngine
from far_keras.recognition.engines.opening import open_engine
from far_keras.recognition.engines.tflite import TFLiteEngine
from far_keras.schema import CELEBA

SIZE = 64


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A network with statistics as training leaves them, so that folding them changes kernels."""
    config = ModelConfig(
        "mgmtn_efficientnetlite0",
        {"image_size": SIZE, "levels": ["P3", "P4", "P5"]},
    )
    model = build_model(config)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.endswith(("gamma", "moving_variance")):
            variable.assign(rng.uniform(0.7, 1.4, variable.shape))
        elif variable.path.endswith(("beta", "moving_mean")):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    folder = tmp_path_factory.mktemp("models") / "noise"
    save_model(
        model,
        folder,
        config=config,
        schema=CELEBA,
        thresholds=dict.fromkeys(CELEBA.attributes, 0.3),
        provenance={"untaught": ["Attractive"]},
        half=True,
    )
    write_hollow(folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def test_it_answers_as_keras_does(folder, images):
    expected, engine = KerasEngine(load_model(folder), "copy"), open_engine(folder)
    assert isinstance(engine, TFLiteEngine)
    assert engine.description == expected.description  # also the name, which is the folder's
    wanted, given = expected(images), engine(images)
    assert wanted.probabilities.std(axis=0).max() > 0.01  # the pictures are told apart
    np.testing.assert_allclose(given.probabilities, wanted.probabilities, atol=1e-4, rtol=0)
    np.testing.assert_allclose(given.masks, wanted.masks, atol=1e-4, rtol=0)


def test_the_weights_are_not_in_it(folder):
    assert (folder / HOLLOW).stat().st_size < 0.04 * (folder / "model.weights.h5").stat().st_size


def test_it_needs_no_tensorflow(folder):
    code = (
        "import sys, numpy as np\n"
        "from far_keras.recognition.engines.opening import open_engine\n"
        f"open_engine({str(folder)!r})(np.zeros((1, {SIZE}, {SIZE}, 3), np.uint8))\n"
        "print([name for name in ('tensorflow', 'keras', 'keras_cv') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_folder_that_was_changed_is_run_by_keras(folder, images):
    thresholds = json.loads((folder / "thresholds.json").read_text())
    (folder / "thresholds.json").write_text(json.dumps(thresholds | {"Smiling": 0.9}))
    assert load_hollow(folder) is None
    engine = open_engine(folder)
    assert isinstance(engine, KerasEngine) and engine.description.thresholds["Smiling"] == 0.9


def test_new_weights_leave_nothing_of_the_old_ones(folder, images):
    loaded = load_model(folder)
    loaded.model.set_weights([weights * 0.9 for weights in loaded.model.get_weights()])
    save_model(loaded.model, folder, config=loaded.config, schema=loaded.schema)
    assert not (folder / HOLLOW).exists()
    assert isinstance(open_engine(folder), KerasEngine)


def test_altered_weights_are_refused_as_without_it(folder):
    with (folder / "model.weights.h5").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelError, match=r"model\.weights\.h5: the file is truncated or was"):
        open_engine(folder)


def test_a_damaged_one_is_named(folder):
    content = bytearray((folder / HOLLOW).read_bytes())
    content[2000] ^= 255
    (folder / HOLLOW).write_bytes(content)
    with pytest.raises(ModelError, match=r"network\.tflite: the file was changed or damaged"):
        open_engine(folder)


def test_alone_it_is_no_model(folder):
    with pytest.raises(ModelError, match=r"network\.tflite: expected .* with weights.*the folder"):
        load_tflite(folder / HOLLOW)


def test_the_model_that_comes_with_the_package_has_one_that_fits():
    model = load_hollow(pretrained_folder())
    assert model is not None
    size = model.description.image_size
    picture = np.full((1, size, size, 3), 128, np.uint8)
    expected = KerasEngine(load_model(pretrained_folder()))(picture)
    np.testing.assert_allclose(model(picture)["attributes"], expected.probabilities, atol=1e-4)
