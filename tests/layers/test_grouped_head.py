import numpy as np
import pytest

from far_keras.layers import GroupedHead

RNG = np.random.default_rng(4)


def test_each_logit_reads_its_own_group():
    x = RNG.normal(size=(5, 3, 4)).astype("float32")
    group_of = [2, 0, 2, 1, 0]
    layer = GroupedHead(group_of)
    layer(x)
    kernel, bias = RNG.normal(size=(5, 4)), RNG.normal(size=5)
    layer.set_weights([kernel, bias])
    expected = np.stack(
        [x[:, group] @ kernel[a] + bias[a] for a, group in enumerate(group_of)], axis=1
    )
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)  # float32


def test_a_group_moves_no_other_groups_logits():
    x = RNG.normal(size=(2, 3, 4)).astype("float32")
    layer = GroupedHead([2, 0, 1])
    before = np.asarray(layer(x))
    x[:, 1] += 1
    changed = np.asarray(layer(x)) != before
    np.testing.assert_array_equal(changed, [[False, False, True]] * 2)


def test_refuses_a_group_that_the_input_lacks():
    with pytest.raises(ValueError, match="only 3 groups"):
        GroupedHead([0, 3])(np.zeros((1, 3, 4)))


@pytest.mark.parametrize("group_of", [[], [0, -1]])
def test_refuses_bad_group_indices(group_of):
    with pytest.raises(ValueError, match="Received"):
        GroupedHead(group_of)
