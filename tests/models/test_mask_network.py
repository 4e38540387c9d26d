import keras
import numpy as np
import pytest

from far_keras.errors import ModelError
from far_keras.models.mask_network import unet

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [32, 57, 64, 227])
def test_masks_have_the_pictures_size(size):
    network = unet(size, 3, (2, 3, 4, 5, 6))
    logits = network(RNG.uniform(0, 255, (2, size, size, 3)).astype("float32"))
    assert logits.shape == (2, size, size, 3) and np.all(np.isfinite(logits))


@pytest.mark.parametrize("size", [101, 102, 104])
def test_a_moved_picture_moves_the_masks_by_the_same_pixels(size):
    """Whatever the size, no resampling moves masks against the image: only rows are cut off."""
    network = unet(size, 2, (4, 6, 8))
    step = 4  # the stride of the coarsest resolution
    picture = RNG.uniform(0, 255, (1, size + step, size + step, 3)).astype("float32")
    before = np.asarray(network(picture[:, step:, step:]))
    after = np.asarray(network(picture[:, :size, :size]))
    # A mask pixel sees less than 30 pixels around it; nearer to the border it sees the border.
    inner, moved = slice(30, size - 34), slice(30 + step, size - 30)
    assert before.std() > 0
    np.testing.assert_allclose(
        after[:, moved, moved], before[:, inner, inner], rtol=1e-4, atol=1e-4
    )  # float32


def test_every_weight_learns():
    network = unet(37, 2, (3, 4, 5))
    network.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=False)
    before = network.get_weights()
    network.train_on_batch(RNG.uniform(0, 255, (2, 37, 37, 3)), RNG.normal(size=(2, 37, 37, 2)))
    for weight, old in zip(network.weights, before, strict=True):
        assert np.any(np.asarray(weight) != old), weight.path


@pytest.mark.parametrize("channels", [(8,), (8, 0), (8, 16.0)])
def test_bad_channels_are_refused(channels):
    with pytest.raises(ModelError, match=r"unet_channels: expected at least two.*Received"):
        unet(64, 2, channels)
