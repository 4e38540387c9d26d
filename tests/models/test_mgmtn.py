import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.errors import ModelError
from far_keras.models.baseline import baseline
from far_keras.models.mgmtn import mgmtn
from far_keras.schema import CELEBA, AttributeSchema, Group

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (2, 64, 64, 3)).astype("float32")

OPTIONS = [
    {},
    {"fusion": "gated"},
    {"fusion": "sum"},
    {"pooling": "product"},
    {"global_shortcut": False},
    {"levels": ("P4",), "mask_level": "P3", "fusion_units": 5, "mask_filters": 6},
    {"levels": ("P2", "P3", "P4"), "mask_level": "P2"},
    {"levels": ("P2", "P5"), "mask_level": "P3"},
    {"mask_network": "unet", "unet_channels": (3, 4, 5)},
    {"masks": "ones"},
    {"group_path": False},
    {"global_path": False},
    {"global_path": False, "mask_network": "unet", "unet_channels": (3, 4)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_reach_every_weight(backbone, schema, options):
    model = mgmtn(backbone, schema, 64, dropout=0.0, **options)
    with tf.GradientTape() as tape:
        outputs = model(IMAGES, training=True)
        loss = sum(tf.reduce_mean((output - 1) ** 2) for output in outputs.values())
    weights = model.trainable_variables
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert gradient is not None and np.any(gradient != 0), weight.path


def test_attributes_alone_teach_the_masks(backbone, schema):
    """The fusion reads probabilities, so the attribute loss reaches the mask decoder."""
    model = mgmtn(backbone, schema, 64)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(IMAGES, training=True)["attributes"] ** 2)
    kernel = model.get_layer("masks").kernel
    assert np.any(tape.gradient(loss, kernel) != 0)


def test_default_network_has_the_documented_shapes():
    model = mgmtn(name="mine")
    assert model.name == "mine"
    assert [tensor.name for tensor in model.inputs] == ["image"]
    assert model.input_shape == (None, 128, 128, 3)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.output.items()}
    assert shapes == {"attributes": (None, 40), "masks": (None, 32, 32, 8)}


def test_pixels_of_uint8_and_float32_answer_alike(backbone, schema):
    model = mgmtn(backbone, schema, 64)
    pixels = IMAGES.astype("uint8")
    as_float = model(pixels.astype("float32"))
    for key, value in model(pixels).items():
        np.testing.assert_array_equal(value, as_float[key])


def test_without_shortcut_an_attribute_depends_on_its_own_groups_mask_only(backbone, schema):
    model = mgmtn(backbone, schema, 64, global_shortcut=False)
    bias = model.get_layer("masks").bias
    before = np.asarray(model(IMAGES)["attributes"])
    bias.assign([0, 5, 0])  # moves the mask of the group Hair
    changed = np.any(np.asarray(model(IMAGES)["attributes"]) != before, axis=0)
    assert dict(zip(schema.attributes, changed, strict=True)) == {
        "Smiling": False,
        "Young": False,
        "Wavy_Hair": True,
        "Big_Lips": False,
    }


def test_without_global_path_nothing_outside_of_the_masks_is_seen(backbone, schema):
    model = mgmtn(backbone, schema, 64, global_path=False)
    head = model.get_layer("masks")
    head.set_weights([np.zeros(head.kernel.shape), np.array([-1000.0, 0.0, -1000.0])])
    # Other levels would leave traces of the first image.
    answers = np.asarray(model(IMAGES)["attributes"])
    same = dict(zip(schema.attributes, answers[0] == answers[1], strict=True))
    assert same == {"Smiling": True, "Young": True, "Wavy_Hair": False, "Big_Lips": True}


def test_without_group_path_the_global_feature_answers_alone(backbone, schema):
    model = mgmtn(backbone, schema, 64, group_path=False)
    kernel, bias = model.get_layer("global_logits").get_weights()
    features = np.asarray(model.get_layer("backbone")(IMAGES)["P5"])
    expected = features.mean(axis=(1, 2)) @ kernel + bias
    outputs = model(IMAGES)
    np.testing.assert_allclose(outputs["attributes"], expected, rtol=1e-5, atol=1e-6)  # float32
    assert outputs["masks"].shape == (2, 16, 16, 3)


def test_masks_of_ones_do_not_depend_on_the_predicted(backbone, schema):
    model = mgmtn(backbone, schema, 64, masks="ones", global_path=False)
    before = np.asarray(model(IMAGES)["attributes"])
    model.get_layer("masks").bias.assign([9.0, -9.0, 9.0])
    np.testing.assert_array_equal(model(IMAGES)["attributes"], before)
    kernel, bias = model.get_layer("group_dense").get_weights()
    pyramid = model.get_layer("backbone")(IMAGES)
    means = [np.asarray(pyramid[level]).mean(axis=(1, 2)) for level in ("P3", "P4", "P5")]
    fused = np.maximum(np.einsum("bc,gcd->bgd", np.concatenate(means, axis=1), kernel) + bias, 0)
    kernel, bias = model.get_layer("group_logits").get_weights()
    expected = np.einsum("bad,ad->ba", fused[:, [0, 2, 1, 0]], kernel) + bias
    np.testing.assert_allclose(before, expected, rtol=1e-4, atol=1e-5)  # float32


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"mask_network": "vgg"},
            r"mask_network must be one of .*'unet'.*Received: 'vgg'",
        ),
        ({"masks": "zeros"}, r"masks must be one of .'predicted', 'ones'.*Received: 'zeros'"),
        ({"group_path": False, "global_path": False}, r"or both\. Received: neither"),
    ],
)
def test_options_that_cannot_be_are_refused(backbone, options, message):
    with pytest.raises(ModelError, match=message):
        mgmtn(backbone, CELEBA, 64, **options)


@pytest.mark.parametrize("mask_logit", [-200.0, 200.0])
def test_empty_and_full_masks_give_finite_answers(backbone, schema, mask_logit):
    model = mgmtn(backbone, schema, 64)
    head = model.get_layer("masks")
    head.set_weights([np.zeros(head.kernel.shape), np.full(3, mask_logit)])
    assert np.all(np.isfinite(model(IMAGES)["attributes"]))


@pytest.mark.parametrize("size", [32, 57, 100, 227])
def test_other_image_sizes_work(backbone, schema, size):
    model = mgmtn(backbone, schema, size)
    outputs = model(np.zeros((1, size, size, 3), "float32"))
    stride_4 = -(-size // 4)
    assert outputs["masks"].shape == (1, stride_4, stride_4, 3)
    assert outputs["attributes"].shape == (1, 4)


def test_the_unets_masks_have_the_pictures_size(backbone, schema):
    outputs = mgmtn(backbone, schema, 57, mask_network="unet", unet_channels=(3, 4, 5))(
        np.zeros((1, 57, 57, 3), "float32")
    )
    assert outputs["masks"].shape == (1, 57, 57, 3)
    assert outputs["attributes"].shape == (1, 4)


@pytest.mark.parametrize("mask_network", ["shared", "unet"])
def test_pixels_that_are_no_numbers_spoil_their_own_picture_only(backbone, schema, mask_network):
    model = mgmtn(backbone, schema, 64, mask_network=mask_network, unet_channels=(3, 4))
    broken = IMAGES.copy()
    broken[1, 30, 30, 0] = np.nan
    expected = model(IMAGES)
    for key, value in model(broken).items():
        np.testing.assert_array_equal(value[0], expected[key][0])
        assert np.isnan(value[1]).any()
    assert np.isnan(model(broken)["attributes"][1]).all()


def test_one_group_with_one_attribute_works(backbone):
    one = AttributeSchema("one", ("Smiling",), (Group("Mouth", ("Smiling",), ("mouth",)),))
    outputs = mgmtn(backbone, one, 64)(IMAGES)
    assert outputs["attributes"].shape == (2, 1)
    assert outputs["masks"].shape == (2, 16, 16, 1)


def test_every_batch_normalisation_follows_quickly(backbone, schema):
    model = mgmtn(backbone, schema, 64)
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) > 5
    assert {layer.momentum for layer in norms} == {0.9}


def test_keras_file_reloads_without_custom_code(backbone, schema, tmp_path):
    model = mgmtn(backbone, schema, 64, fusion="gated", pooling="product")
    for weight in model.weights:
        weight.assign(RNG.uniform(0.1, 0.5, weight.shape))  # positive: some are variances
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    expected = model.predict(IMAGES, verbose=0)
    for key, value in reloaded.predict(IMAGES, verbose=0).items():
        np.testing.assert_array_equal(value, expected[key])


def test_unknown_backbone_is_refused():
    with pytest.raises(ModelError, match="efficientnetlite0"):
        mgmtn("resnet9000")


def test_backbone_without_pyramid_is_refused():
    x = keras.Input((None, None, 3))
    plain = keras.Model(x, keras.layers.Conv2D(4, 3)(x), name="plain")
    with pytest.raises(ModelError, match=r"'plain'.*pyramid levels"):
        mgmtn(plain, CELEBA, 64)


def test_too_small_images_are_refused(backbone):
    with pytest.raises(ModelError, match="at least 32"):
        mgmtn(backbone, image_size=31)


def test_exported_model_answers_like_predict(backbone, schema, tmp_path):
    """Batch normalisation and dropout must not be exported in training mode."""
    model = mgmtn(backbone, schema, 64, dropout=0.5)
    for weight in model.weights:
        weight.assign(RNG.uniform(0.1, 0.5, weight.shape))
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")  # kept: it holds the variables
    served = loaded.serve(IMAGES)
    expected = model.predict(IMAGES, verbose=0)
    for key, value in served.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-4)  # float32


def test_baseline_is_backbone_average_and_dense(backbone, schema):
    model = baseline(backbone, schema, 64, name="plain")
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype("float32")
    features = model.get_layer("backbone")(images)["P5"]
    kernel, bias = model.get_layer("attribute_logits").get_weights()
    expected = np.asarray(features).mean(axis=(1, 2)) @ kernel + bias
    outputs = model(images)
    assert set(outputs) == {"attributes"} and model.name == "plain"
    np.testing.assert_allclose(outputs["attributes"], expected, rtol=1e-5, atol=1e-6)  # float32
