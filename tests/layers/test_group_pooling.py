import numpy as np
import pytest

from far_keras.layers import GroupPooling

RNG = np.random.default_rng(1)
FEATURES = RNG.normal(size=(2, 5, 6, 3)).astype("float32")


def reference(features, masks, mode, epsilon):
    """Group by group and image by image, in float64, as the docstring defines it."""
    batch, h, w, channels = features.shape
    pooled = np.zeros((batch, masks.shape[-1], channels))
    for b in range(batch):
        for g in range(masks.shape[-1]):
            weighted = masks[b, :, :, g, None].astype(float) * features[b]
            scale = masks[b, :, :, g].sum() + epsilon if mode == "average" else h * w
            pooled[b, g] = weighted.sum(axis=(0, 1)) / scale
    return pooled


@pytest.mark.parametrize("mode", ["average", "product"])
def test_equals_the_reference(mode):
    masks = RNG.uniform(size=(2, 5, 6, 4)).astype("float32")
    result = GroupPooling(mode, epsilon=0.1)([FEATURES, masks])
    # float32 sums of 30 terms of about 1.
    np.testing.assert_allclose(result, reference(FEATURES, masks, mode, 0.1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["average", "product"])
def test_masks_of_ones_give_the_plain_average(mode):
    result = GroupPooling(mode)([FEATURES, np.ones((2, 5, 6, 2), "float32")])
    average = FEATURES.mean(axis=(1, 2))
    # 1e-5: the epsilon of 1e-6 beside 30 cells, and float32 sums.
    np.testing.assert_allclose(result[:, 0], average, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result[:, 1], average, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_masks_of_zeros_give_zeros(dtype):
    result = np.asarray(GroupPooling(dtype=dtype)([FEATURES, np.zeros((2, 5, 6, 2))]))
    assert np.all(result == 0)


def test_one_pixel_gives_that_pixels_feature():
    masks = np.zeros((2, 5, 6, 1), "float32")
    masks[:, 3, 2] = 1
    result = GroupPooling()([FEATURES, masks])
    np.testing.assert_allclose(result[:, 0], FEATURES[:, 3, 2], rtol=1e-5)  # epsilon is 1e-6


def test_refuses_masks_of_another_size():
    with pytest.raises(ValueError, match=r"resize the masks with AreaResize"):
        GroupPooling()([FEATURES, np.zeros((2, 4, 6, 2))])


@pytest.mark.parametrize("arguments", [{"mode": "max"}, {"epsilon": 0}])
def test_refuses_bad_arguments(arguments):
    with pytest.raises(ValueError, match="Received"):
        GroupPooling(**arguments)
