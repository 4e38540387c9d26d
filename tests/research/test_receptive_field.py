import keras
import numpy as np
import pytest

from research.receptive_field import ReceptiveField, receptive_fields

layers = keras.layers


def model_of(build, size=64):
    x = keras.Input((size, size, 2))
    return keras.Model(x, {"out": build(x)})


# Araujo et al., Distill 2019, table of known networks.
@pytest.mark.parametrize(
    ("name", "size"), [("VGG16", 212), ("MobileNet", 315), ("ResNet50V2", 483)]
)
def test_published_fields_are_found(name, size):
    build = getattr(keras.applications, name)
    network = build(weights=None, include_top=False, input_shape=(224, 224, 3))
    model = keras.Model(network.input, {"last": network.output})
    assert receptive_fields(model) == {"last": ReceptiveField(size, 32)}


def branches(x):
    a = layers.Conv2D(3, 5, strides=2, padding="same")(x)
    b = layers.Conv2D(3, 1, strides=2, padding="same")(x)
    return layers.Conv2D(3, 3, padding="same")(layers.Add()([a, b]))


CASES = {
    "dilated": lambda x: layers.Conv2D(3, 3, padding="same", dilation_rate=3)(x),
    "groups": lambda x: layers.Conv2D(4, 3, padding="same", groups=2)(x),
    "branches": branches,
    "concatenated": lambda x: layers.Concatenate()(
        [
            layers.MaxPooling2D(3, 2, padding="same")(x),
            layers.AveragePooling2D(2, 2, padding="same")(x),
        ]
    ),
    "padded": lambda x: layers.Conv2D(3, 4, strides=3)(layers.ZeroPadding2D(((2, 1), (2, 1)))(x)),
    "separable": lambda x: layers.SeparableConv2D(3, 3, strides=2, padding="same")(
        layers.DepthwiseConv2D(5, padding="same")(x)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_changes_are_felt_as_far_as_said(name):
    rng = np.random.default_rng(0)
    model = model_of(CASES[name])
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1, weight.shape))  # nothing cancels
    picture = rng.uniform(0.5, 1, (64, 64, 2)).astype("float32")
    changed = np.repeat(picture[None], 64, axis=0)
    changed[np.arange(64), np.arange(64)] += 10  # row i of image i; brighter wins a maximum
    before, after = (np.asarray(model(x)["out"]) for x in (picture[None], changed))
    felt = np.abs(after - before).max(axis=(2, 3)) > 1  # (changed row, row of the output)
    field = receptive_fields(model)["out"]
    first, second = (np.flatnonzero(felt[:, position]) for position in (8, 9))
    assert first[-1] - first[0] + 1 == field.size
    assert second[0] - first[0] == field.stride


def test_a_gate_from_the_whole_picture_is_said():
    def gate(x):
        y = layers.Conv2D(4, 3, strides=2, padding="same")(x)
        whole = layers.GlobalAveragePooling2D(keepdims=True)(y)
        return layers.Multiply()([y, layers.Conv2D(4, 1, activation="sigmoid")(whole)])

    assert receptive_fields(model_of(gate))["out"] == ReceptiveField(3, 2, gated=True)


def test_what_mixes_positions_is_unknown():
    def attention(x):
        rows = layers.Reshape((64 * 64, 2))(x)
        return layers.Reshape((64, 64, 2))(layers.Dense(2)(rows))

    assert receptive_fields(model_of(attention))["out"] is None
