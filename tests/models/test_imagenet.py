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
