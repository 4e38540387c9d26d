"""Backbones by name and by instance, refusals, and ImageNet weights."""

import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data

from far_keras.assets import EFFICIENTNET_LITE0_IMAGENET, find_asset
from far_keras.errors import ModelError
from far_keras.models.backbones import (
    BACKBONES,
    build_backbone,
    load_imagenet_weights,
)
from far_keras.models.mgmtn import mgmtn
from far_keras.models.torch_weights import read_state_dict

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 64, 64, 3)).astype("float32")

# Parameters of keras-cv's backbone without its pooling, and the channels of P3, P4, P5; the
# numbers of keras-cv's own presets.
KNOWN = {
    "efficientnetlite0": (3_413_024, (40, 112, 1280)),
    "mobilenetv3small": (939_120, (24, 48, 96)),
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
    assert sides == (29, 15, 8)
    norms = [
        layer
        for layer in build_backbone(name, 64)._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms and {layer.momentum for layer in norms} == {0.9}


@pytest.mark.parametrize("name", ["mobilenetv3small", "resnet50"])
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


@pytest.mark.slow
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


CATS = {281, 282, 283, 284, 285}  # tabby, tiger cat, Persian, Siamese, Egyptian cat
COFFEE = {504, 967, 968, 969}  # coffee mug, espresso, cup, eggnog
ROCKETS = {657, 744, 812}  # missile, projectile, space shuttle


def imagenet_classifier(image_size):
    """From images (B, S, S, 3) to logits of the 1000 classes."""
    extractor = build_backbone("efficientnetlite0", image_size, levels=("P5",))
    load_imagenet_weights(extractor)
    weights = read_state_dict(find_asset(EFFICIENTNET_LITE0_IMAGENET))
    head = keras.layers.Dense(1000, name="imagenet_logits")
    logits = head(keras.layers.GlobalAveragePooling2D()(extractor.output["P5"]))
    head.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return keras.Model(extractor.input, logits)


@pytest.mark.parametrize("size", [224, 128])
def test_photographs_are_classified_sensibly(size):
    classifier = imagenet_classifier(size)
    photographs = []
    for name in ("chelsea", "coffee", "rocket"):
        picture = Image.fromarray(getattr(data, name)())
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
        photographs.append(np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)))
    logits = classifier.predict(np.stack(photographs), verbose=0)
    top_5 = np.argsort(-logits, axis=1)[:, :5].tolist()
    # Seldom by chance: five of a thousand classes hit five wanted ones in 2.5% of all images.
    assert CATS & set(top_5[0]) and COFFEE & set(top_5[1]) and ROCKETS & set(top_5[2]), top_5
    assert top_5[0][0] in CATS


def test_the_network_takes_the_weights_into_its_backbone():
    model = mgmtn(image_size=64)
    load_imagenet_weights(model.get_layer("backbone"))
    other = build_backbone("efficientnetlite0", 64, ("P5",))
    load_imagenet_weights(other)
    ours = model.get_layer("backbone").get_layer("block3a_project_conv").get_weights()
    np.testing.assert_array_equal(ours[0], other.get_layer("block3a_project_conv").kernel)
    assert np.asarray(ours[0]).std() > 0


def test_a_backbone_that_ends_early_takes_the_weights_of_its_layers():
    short, whole = (build_backbone("efficientnetlite0", 64, levels) for levels in (["P3"], ["P5"]))
    for backbone in (short, whole):
        load_imagenet_weights(backbone)
    assert len(short.weights) < len(whole.weights)
    for ours, theirs in zip(short.weights, whole.weights, strict=False):
        np.testing.assert_array_equal(ours, theirs)


def test_another_backbone_is_refused(backbone):
    with pytest.raises(ModelError, match="EfficientNetLite B0 only"):
        load_imagenet_weights(backbone)


def test_another_width_is_refused():
    lite0 = BACKBONES["efficientnetlite0"]
    wide = replace(lite0, arguments={**lite0.arguments, "width_coefficient": 1.5})
    with pytest.raises(ModelError, match="does not have the shape"):
        load_imagenet_weights(wide(keras.Input((64, 64, 3))))
