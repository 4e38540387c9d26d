"""G2FF: the fusion of each group's feature with the feature of the whole image."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from far_keras.layers.grouped_dense import GroupedDense

__all__ = ["GroupGlobalFusion"]

_MODES = ("concat", "gated", "sum")


@keras.saving.register_keras_serializable(package="far_keras")
class GroupGlobalFusion(keras.layers.Layer):
    """Group-Global Feature Fusion: ``f_j = fuse(g_j, o)`` for every group j.

    The paper (arXiv 2601.01408) fuses "each group's features with the global feature" without
    giving the formula. Our choices, with a dense layer ``W_j``, ``V_j`` of each group's own and one
    ``U`` that all groups share:

    - ``"concat"`` (default): ``f_j = relu(W_j [g_j, o])``.
    - ``"sum"``: ``f_j = relu(V_j g_j + U o)``.
    - ``"gated"``: ``z_j = sigmoid(W_j [g_j, o])``, ``f_j = relu(z_j V_j g_j + (1 - z_j) U o)``.

    Args:
        units: Length D of each group's fused vector.
        mode: ``"concat"``, ``"gated"`` or ``"sum"``.

    Call arguments:
        inputs: ``[group, whole]``: group (B, G, C), whole (B, K).

    Returns:
        Tensor (B, G, units).

    Example:
        >>> GroupGlobalFusion(64)([np.ones((2, 8, 32)), np.ones((2, 32))]).shape
        TensorShape([2, 8, 64])
    """

    def __init__(self, units: int, mode: str = "concat", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1. Received: {units!r}")
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {_MODES}. Received: {mode!r}")
        self.units = units
        self.mode = mode
        policy = self.dtype_policy
        if mode != "sum":
            self.joint_dense = GroupedDense(units, name="joint_dense", dtype=policy)  # W
        if mode != "concat":
            self.group_dense = GroupedDense(units, name="group_dense", dtype=policy)  # V
            self.global_dense = keras.layers.Dense(units, name="global_dense", dtype=policy)  # U

    def build(self, input_shape: Any) -> None:
        group, whole = input_shape
        if len(group) != 3 or len(whole) != 2:
            raise ValueError(
                "expected the groups' features (B, G, C) and the global feature (B, K). "
                f"Received: {tuple(group)} and {tuple(whole)}"
            )
        if self.mode != "sum":
            self.joint_dense.build((group[0], group[1], group[2] + whole[1]))
        if self.mode != "concat":
            self.group_dense.build(group)
            self.global_dense.build(whole)

    def call(self, inputs: Any) -> Any:
        group, whole = inputs
        if self.mode == "sum":
            return ops.relu(self.group_dense(group) + self.global_dense(whole)[:, None, :])
        everywhere = ops.tile(whole[:, None, :], (1, group.shape[1], 1))  # (B, G, K)
        joint = self.joint_dense(ops.concatenate([group, everywhere], axis=-1))  # (B, G, units)
        if self.mode == "concat":
            return ops.relu(joint)
        gate = ops.sigmoid(joint)
        own, common = self.group_dense(group), self.global_dense(whole)[:, None, :]
        return ops.relu(gate * own + (1 - gate) * common)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        group, _ = input_shape
        return (group[0], group[1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "mode": self.mode}
