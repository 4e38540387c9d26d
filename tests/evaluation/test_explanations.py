import keras
import numpy as np
import pytest

from far_keras.evaluation.explanations import (
    Explanations,
    energy_grid,
    gradient_energy,
    proportional_energy,
)
from far_keras.schema import AttributeSchema, Group

SCHEMA = AttributeSchema(
    "small",
    ("Smiling", "Young", "Big_Lips"),
    (Group("Mouth", ("Smiling", "Big_Lips"), ("mouth",)), Group("Whole", ("Young",), ("object",))),
)


def linear(kernel):
    """A network of one matrix: its gradients by the pixels are the kernel's columns."""
    image = keras.Input((6, 6, 3), name="image")
    head = keras.layers.Dense(3, use_bias=False)
    model = keras.Model(image, {"attributes": head(keras.layers.Flatten()(image))})
    head.set_weights([kernel.reshape(-1, 3)])
    return model


def test_the_energy_of_a_linear_network_is_its_squared_weights():
    kernel = np.random.default_rng(0).normal(size=(6, 6, 3, 3)).astype("float32")
    images = np.random.default_rng(1).integers(0, 256, (2, 6, 6, 3), np.uint8)
    energy = gradient_energy(linear(kernel), SCHEMA, images)
    squared = (kernel**2).sum(axis=2)  # over colours
    expected = np.stack([squared[..., 0] + squared[..., 2], squared[..., 1]])
    np.testing.assert_allclose(energy, np.stack([expected] * 2), rtol=1e-5)  # float32


def test_shares_are_those_that_were_built_in():
    kernel = np.zeros((6, 6, 3, 3), "float32")
    kernel[4:, 2:4, :, 0] = 1  # Smiling reads four pixels below
    kernel[0, 0, :, 2] = 2  # Big_Lips reads a corner: energy 4 a colour against 4 * 1
    kernel[..., 1] = 1  # Young reads everything alike
    energy = gradient_energy(linear(kernel), SCHEMA, np.zeros((1, 6, 6, 3)))
    masks = np.zeros((1, 2, 6, 6), bool)
    masks[:, 0, 4:] = masks[:, 1, :, :3] = True
    shown = Explanations(SCHEMA.group_names, np.zeros((1, 6, 6, 3), np.uint8), masks, energy)
    np.testing.assert_allclose(shown.inside, [[0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(shown.area, [[1 / 3, 0.5]])


def test_no_energy_and_no_mask_are_undefined():
    energy = np.stack([np.zeros((4, 4)), np.ones((4, 4)), np.ones((4, 4))])
    masks = np.stack([np.ones((4, 4)), np.zeros((4, 4)), np.ones((4, 4))]).astype(bool)
    assert np.isnan(proportional_energy(energy, masks)).tolist() == [True, True, False]


def test_the_grid_is_red_where_energy_is_and_white_around_the_mask():
    energy, masks = np.zeros((1, 2, 20, 20), "float32"), np.zeros((1, 2, 20, 20), bool)
    energy[:, 0, 10:14, 10:14] = 1
    masks[:, 0, 5:18, 5:18] = True
    pictures = np.full((1, 20, 20, 3), 100, np.uint8)
    grid = np.asarray(energy_grid(Explanations(("Mouth", "Whole"), pictures, masks, energy)))
    assert grid.shape == (20, 60, 3)
    assert grid[0, 0].tolist() == [100] * 3 and grid[0, 20].tolist() == [60] * 3
    assert grid[12, 32].tolist() == [255, 40, 30]
    assert grid[5, 30].tolist() == [255] * 3
    assert np.ptp(grid[:, 40:]) == pytest.approx(0)
