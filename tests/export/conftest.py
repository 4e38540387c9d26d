"""Models and images for tests of exported files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.calibration import Calibration
from far_keras.export import export_saved_model, load_saved_model
from far_keras.export.tflite import convert
from far_keras.models.backbones import BACKBONES
from far_keras.models.storage import LoadedModel
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import CELEBA


@pytest.fixture(scope="session")
def random_model():
    """A function from a variant's name and arguments to a `LoadedModel`."""
    return _random_model


@pytest.fixture(scope="session")
def small_model_of(random_model):
    """A function from arguments to a mask-guided network on a small backbone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "small", _small_backbone)
        patch.setitem(VARIANTS, "mgmtn_small", ("mgmtn", "small"))
        yield lambda **arguments: random_model("mgmtn_small", **{"image_size": 64, **arguments})


@pytest.fixture(scope="session")
def small_model(small_model_of):
    """A network of 64 pixels with all parts, which converts in seconds."""
    return small_model_of()


@pytest.fixture(scope="session")
def version(small_model, tmp_path_factory):
    """The small model as version 1 of the SavedModel "faces"."""
    return export_saved_model(small_model, tmp_path_factory.mktemp("saved_models") / "faces")


@pytest.fixture(scope="session")
def exported(version):
    """That version, loaded."""
    return load_saved_model(version)


@pytest.fixture(scope="session")
def flatbuffer(small_model):
    """The small model as a float32 .tflite file without metadata."""
    return convert(small_model)


@pytest.fixture(scope="session")
def make_images():
    """A function from count, size and seed to images."""
    return _images


def _small_backbone(pixels):
    """A keras-cv style backbone: five strided convolutions, P1 to P5, one of them depthwise."""
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    levels = {}
    for n in range(1, 6):
        x = keras.layers.Conv2D(12, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("relu6")(x)
        if n == 1:
            x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
        x = keras.layers.Activation("linear", name=f"level_{n}")(x)
        levels[f"P{n}"] = f"level_{n}"
    network = keras.Model(pixels, x, name="small")
    network.pyramid_level_inputs = levels
    return network


def _random_model(variant, **arguments):
    """A named network with weights as a trained one has them: no statistic is 0 or 1."""
    config = ModelConfig(variant, arguments)
    keras.utils.set_random_seed(3)  # the same weights whatever ran before
    model = build_model(config)
    rng = np.random.default_rng(0)
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0  # one call sets the statistics
        for weight, low, high in ((norm.gamma, 0.8, 1.2), (norm.beta, -0.3, 0.3)):
            if weight is not None:
                weight.assign(rng.uniform(low, high, weight.shape))
    # As a graph, which frees what is no longer needed: large networks took gigabytes otherwise.
    tf.function(model)(_images(8, model.inputs[0].shape[1], seed=9), training=True)
    thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
    calibration = Calibration({"Smiling": (0.7, 0.4), "Bald": (1.3, -1.0)})
    return LoadedModel(model, CELEBA, thresholds, config, {}, calibration)


def _images(count, size, seed=0):
    """uint8 (count, size, size, 3) of smooth colours, which random weights tell apart."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 6, 6, 3)).astype(np.float32)
    smooth = keras.ops.image.resize(coarse, (size, size), interpolation="bicubic")
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)
