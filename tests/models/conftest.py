"""Small parts for tests of networks."""

import keras
import pytest

from far_keras.models.backbones import BACKBONES
from far_keras.models.variants import VARIANTS
from far_keras.schema import AttributeSchema, Group


@pytest.fixture
def schema():
    """Attributes that are not in the order of their groups."""
    return AttributeSchema(
        "small",
        ("Smiling", "Young", "Wavy_Hair", "Big_Lips"),
        (
            Group("Mouth", ("Smiling", "Big_Lips"), ("mouth",)),
            Group("Hair", ("Wavy_Hair",), ("hair",)),
            Group("Object", ("Young",), ("object",)),
        ),
    )


def small_backbone(pixels):
    """A keras-cv style backbone that is small: five strided convolutions, P1 to P5."""
    x = keras.layers.Rescaling(1 / 255)(pixels)
    levels = {}
    for n in range(1, 6):
        x = keras.layers.Conv2D(4 + n, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("relu", name=f"level_{n}")(x)
        levels[f"P{n}"] = f"level_{n}"
    network = keras.Model(pixels, x, name="small")
    network.pyramid_level_inputs = levels
    return network


@pytest.fixture
def backbone():
    """A small keras-cv style backbone for pictures of any size."""
    return small_backbone(keras.Input((None, None, 3)))


@pytest.fixture
def small_variants(monkeypatch):
    """Named variants on the small backbone: mgmtn_small and baseline_small."""
    monkeypatch.setitem(BACKBONES, "small", small_backbone)
    monkeypatch.setitem(VARIANTS, "mgmtn_small", ("mgmtn", "small"))
    monkeypatch.setitem(VARIANTS, "baseline_small", ("baseline", "small"))
