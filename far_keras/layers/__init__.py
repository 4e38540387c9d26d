"""The layers of mask-guided networks. All are registered with Keras and take channels last."""

# ruff: noqa: E402
from far_keras.extras import require_modules

require_modules("train", "a Keras network", ("tensorflow", "keras"))

from far_keras.layers.area_resize import AreaResize
from far_keras.layers.batch_normalization import BatchNormalization
from far_keras.layers.group_global_fusion import GroupGlobalFusion
from far_keras.layers.group_pooling import GroupPooling
from far_keras.layers.grouped_dense import GroupedDense
from far_keras.layers.grouped_head import GroupedHead
from far_keras.layers.rescale import Rescale
from far_keras.layers.resize import Resize
from far_keras.layers.split_attention import SplitAttention

__all__ = [
    "AreaResize",
    "BatchNormalization",
    "GroupGlobalFusion",
    "GroupPooling",
    "GroupedDense",
    "GroupedHead",
    "Rescale",
    "Resize",
    "SplitAttention",
]
