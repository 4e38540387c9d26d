"""Backbones by name, by instance, and those that cannot work."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.models.backbones import BACKBONES, build_backbone
from far_keras.models.mgmtn import mgmtn

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 64, 64, 3)).astype("float32")

# Parameters of keras-cv's backbone without its pooling, and the channels of P3, P4, P5; the
# numbers of keras-cv's own presets.
KNOWN = {
    "densenet121": (7_037_504, (512, 1024, 1024)),
    "efficientnetlite0": (3_413_024, (40, 112, 1280)),
    "efficientnetv2_b0": (5_919_312, (48, 112, 1280)),
    "mobilenetv3small": (939_120, (24, 48, 96)),
    "resnet18": (11_186_112, (128, 256, 512)),
    "resnet50": (23_561_152, (512, 1024, 2048)),
}


def csp_darknet(size):
    from keras_cv.models import CSPDarkNetBackbone

    return CSPDarkNetBackbone(
        stackwise_channels=[8, 8, 8, 8],
        stackwise_depth=[1, 1, 1, 1],
        include_rescaling=False,
        use_depthwise=False,
        input_shape=(size, size, 3),
    )


def mix_transformer(size):
    from keras_cv.models import MiTBackbone

    return MiTBackbone(
        depths=[1, 1, 1, 1],
        embedding_dims=[8, 8, 20, 16],
        include_rescaling=False,
        input_shape=(size, size, 3),
    )


def test_every_name_is_tested():
    assert set(KNOWN) == set(BACKBONES) - {"resnest50"}  # see test_resnest.py


@pytest.mark.parametrize("name", KNOWN)
def test_named_backbones_are_those_of_the_papers(name):
    parameters, channels = KNOWN[name]
    assert BACKBONES[name](keras.Input((64, 64, 3))).count_params() == parameters
    features = build_backbone(name, 227).output
    assert tuple(level.shape[-1] for level in features.values()) == channels
    sides = tuple(level.shape[1] for level in features.values())
    assert sides == ((28, 14, 7) if name == "densenet121" else (29, 15, 8))  # it rounds down
    norms = [
        layer
        for layer in build_backbone(name, 64)._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms and {layer.momentum for layer in norms} == {0.9}


@pytest.mark.parametrize("name", ["mobilenetv3small", "resnet18"])
def test_an_instance_of_any_size_gives_its_own_features(name):
    import keras_cv

    known = BACKBONES[name]
    network = getattr(keras_cv.models, known.kind)(**known.arguments, include_rescaling=True)
    levels = network.pyramid_level_inputs
    expected = keras.Model(
        network.input, {key: network.get_layer(levels[key]).output for key in ("P3", "P5")}
    )(IMAGES)
    features = build_backbone(network, 64, ["P3", "P5"])(IMAGES)
    for level, value in expected.items():
        # For MobileNetV3 an activation is replaced by an equal one.
        np.testing.assert_allclose(features[level], value, rtol=1e-4, atol=1e-5)


def test_an_instance_that_is_no_preset_becomes_a_network(schema):
    outputs = mgmtn(csp_darknet(64), schema, 64)(IMAGES)
    assert outputs["attributes"].shape == (2, 4) and np.all(np.isfinite(outputs["masks"]))


def test_a_size_that_fails_in_use_is_refused_with_the_levels_that_differ():
    """Built for any size, keras-cv's CSPDarkNet accepts 75 and fails at the first image."""
    with pytest.raises(ModelError, match=r"75x75, where by rounding P1 is 37 or 38.*multiple of"):
        build_backbone(csp_darknet(None), 75)
    assert build_backbone(csp_darknet(None), 96).output["P5"].shape == (None, 3, 3, 8)


def test_an_instance_for_another_size_is_refused():
    with pytest.raises(ModelError, match=r"fails on images of 96x96.*built for it"):
        build_backbone(csp_darknet(64), 96)


def test_levels_at_other_strides_are_refused():
    """keras-cv's MiT calls its level of stride 16 "P3"."""
    network = mix_transformer(64)
    with pytest.raises(ModelError, match=r"\['P5'\] are not among them"):
        build_backbone(network, 64)
    with pytest.raises(ModelError, match=r"expected P3 .* about 8, .* stride 8\. Received: .*4, 4"):
        build_backbone(network, 64, ["P3", "P4"])


def test_levels_that_are_no_maps_are_refused():
    x = keras.Input((64, 64, 3))
    y = keras.layers.Flatten(name="flat")(keras.layers.AveragePooling2D(32)(x))
    network = keras.Model(x, y, name="flattened")
    network.pyramid_level_inputs = {"P5": "flat"}
    with pytest.raises(ModelError, match=r"'flattened': expected P5 to be \(B, h, w, C\)"):
        build_backbone(network, 64, ["P5"])


def test_mobilenets_keras_file_reloads_in_a_fresh_process(schema, tmp_path):
    """keras-cv's own activation in it would not; the layers of this package are all it needs."""
    model = mgmtn("mobilenetv3small", schema, 64)
    for weight in model.weights:
        weight.assign(RNG.uniform(0.9, 1.1, weight.shape) * weight + 0.01)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "expected.npz", images=IMAGES, **model.predict(IMAGES, verbose=0))
    script = f"""
import keras, numpy as np
import far_keras.layers
model = keras.models.load_model({str(tmp_path / "model.keras")!r})
expected = np.load({str(tmp_path / "expected.npz")!r})
for key, value in model.predict(expected["images"], verbose=0).items():
    np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-5)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
