import numpy as np
import pytest

from far_keras.layers import GroupGlobalFusion

RNG = np.random.default_rng(2)
GROUP = RNG.normal(size=(3, 4, 5)).astype("float32")  # (B, G, C)
WHOLE = RNG.normal(size=(3, 6)).astype("float32")  # (B, K)


def reference(layer, mode):
    """Group by group, from the formulas of the docstring."""
    fused = np.zeros((3, 4, 2))
    for g in range(4):
        own = GROUP[:, g]
        if mode != "sum":
            kernel, bias = (np.asarray(w)[g] for w in layer.joint_dense.weights)
            joint = np.concatenate([own, WHOLE], axis=1) @ kernel + bias
        if mode != "concat":
            kernel, bias = (np.asarray(w)[g] for w in layer.group_dense.weights)
            private = own @ kernel + bias
            kernel, bias = (np.asarray(w) for w in layer.global_dense.weights)
            common = WHOLE @ kernel + bias
        if mode == "concat":
            mixed = joint
        elif mode == "sum":
            mixed = private + common
        else:
            gate = 1 / (1 + np.exp(-joint))
            mixed = gate * private + (1 - gate) * common
        fused[:, g] = np.maximum(mixed, 0)
    return fused


@pytest.mark.parametrize("mode", ["concat", "gated", "sum"])
def test_equals_the_reference(mode):
    layer = GroupGlobalFusion(2, mode)
    layer([GROUP, WHOLE])
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    # float32 sums of 11 terms of about 1.
    np.testing.assert_allclose(layer([GROUP, WHOLE]), reference(layer, mode), rtol=1e-4, atol=1e-5)


def test_refuses_swapped_inputs():
    with pytest.raises(ValueError, match="expected the groups' features"):
        GroupGlobalFusion(2)([WHOLE, GROUP])


@pytest.mark.parametrize("arguments", [{"units": 0}, {"units": 2, "mode": "product"}])
def test_refuses_bad_arguments(arguments):
    with pytest.raises(ValueError, match="Received"):
        GroupGlobalFusion(**arguments)
