import keras
import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.evaluation.explanations import (
    activation_energy,
    gradient_energy,
    proportional_energy,
)
from far_keras.schema import AttributeSchema, Group

SCHEMA = AttributeSchema(
    "small",
    ("Smiling", "Young", "Big_Lips"),
    (Group("Mouth", ("Smiling", "Big_Lips"), ("mouth",)), Group("Whole", ("Young",), ("object",))),
)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 8, 8, 3), np.uint8)


def linear(kernel):
    """A network of one matrix: its gradients by the pixels are the kernel's columns."""
    image = keras.Input((8, 8, 3), name="image")
    head = keras.layers.Dense(3, use_bias=False)
    model = keras.Model(image, {"attributes": head(keras.layers.Flatten()(image))})
    head.set_weights([kernel.reshape(-1, 3)])
    return model


def with_levels(kernels):
    """Levels P1 (8x8) and P2 (4x4) of the pixels as they are; each attribute is linear in them."""
    pixels = keras.Input((8, 8, 3))
    levels = {
        "P1": keras.layers.Rescaling(1.0)(pixels),
        "P2": keras.layers.AveragePooling2D(2)(pixels),
    }
    backbone = keras.Model(pixels, levels, name="backbone")
    image = keras.Input((8, 8, 3), name="image")
    features = backbone(image)
    answers = []
    for level, kernel in kernels.items():
        head = keras.layers.Dense(3, use_bias=False)
        answers.append(head(keras.layers.Flatten()(features[level])))
        head.set_weights([kernel.reshape(-1, 3)])
    logits = keras.layers.Add()(answers) if len(answers) > 1 else answers[0]
    return keras.Model(image, {"attributes": logits})


def test_the_gradient_energy_of_a_linear_network_is_its_squared_weights():
    kernel = RNG.normal(size=(8, 8, 3, 3)).astype("float32")
    energy = gradient_energy(linear(kernel), SCHEMA)(IMAGES)
    squared = (kernel**2).sum(axis=2)  # over colours
    expected = np.stack([squared[..., 0] + squared[..., 2], squared[..., 1]])
    np.testing.assert_allclose(energy, np.stack([expected] * 3), rtol=1e-5)  # float32


def test_the_activation_energy_is_the_evidence_of_each_place_and_level():
    kernels = {"P1": RNG.normal(size=(8, 8, 3, 3)), "P2": RNG.normal(size=(4, 4, 3, 3))}
    energy = activation_energy(with_levels(kernels), SCHEMA)(IMAGES)
    assert energy.shape == (3, 2, 8, 8)
    pixels = IMAGES.astype(float)
    coarse = pixels.reshape(3, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    fine = np.abs(np.einsum("bhwc,hwca->ahwb", pixels, kernels["P1"])).transpose(3, 0, 1, 2)
    small = np.abs(np.einsum("bhwc,hwca->ahwb", coarse, kernels["P2"])).transpose(3, 0, 1, 2)
    # Enlarging keeps each map's sum, but for the edges of bilinear interpolation.
    total = (fine + 0).sum(axis=(2, 3)) + small.sum(axis=(2, 3))
    mouth = total[:, 0] + total[:, 2]
    np.testing.assert_allclose(energy.sum(axis=(2, 3))[:, 0], mouth, rtol=0.15)
    only_fine = activation_energy(with_levels({"P1": kernels["P1"]}), SCHEMA)(IMAGES)
    np.testing.assert_allclose(only_fine[:, 1], fine[:, 1], rtol=1e-4)


@pytest.mark.parametrize("measure", [gradient_energy, activation_energy])
def test_an_answer_that_reads_one_region_only_has_all_its_energy_there(measure):
    kernel = np.zeros((8, 8, 3, 3), "float32")
    kernel[5:, 2:6, :, 0] = RNG.normal(size=(3, 4, 3))
    kernel[6, 3, :, 2] = -2.0  # evidence against counts too
    kernel[..., 1] = RNG.normal(size=(8, 8, 3))
    masks = np.zeros((3, 2, 8, 8), bool)
    masks[:, 0, 5:, 2:6] = masks[:, 1, :, :4] = True
    energy = measure(with_levels({"P1": kernel}), SCHEMA)(IMAGES)
    inside = proportional_energy(energy, masks)
    np.testing.assert_allclose(inside[:, 0], 1.0, atol=1e-6)
    assert ((inside[:, 1] > 0.3) & (inside[:, 1] < 0.7)).all()  # it reads everything
    elsewhere = proportional_energy(energy, ~masks)
    np.testing.assert_allclose(elsewhere[:, 0], 0.0, atol=1e-6)


def test_pictures_do_not_leak_into_one_another():
    kernel = RNG.normal(size=(8, 8, 3, 3)).astype("float32")
    for measure in (gradient_energy, activation_energy):
        energy = measure(with_levels({"P1": kernel}), SCHEMA)
        together = energy(IMAGES)
        for n in range(3):
            np.testing.assert_allclose(energy(IMAGES[n : n + 1])[0], together[n], rtol=1e-5)


def test_no_energy_and_no_mask_are_undefined():
    energy = np.stack([np.zeros((4, 4)), np.ones((4, 4)), np.ones((4, 4))])
    masks = np.stack([np.ones((4, 4)), np.zeros((4, 4)), np.ones((4, 4))]).astype(bool)
    assert np.isnan(proportional_energy(energy, masks)).tolist() == [True, True, False]


def test_a_network_without_levels_has_no_activation_to_look_at():
    with pytest.raises(ModelError, match="with a layer 'backbone'"):
        activation_energy(linear(np.zeros((8, 8, 3, 3))), SCHEMA)
