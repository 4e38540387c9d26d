"""The arguments of keras-cv's backbones, by name.

They are spelled out because keras-cv's aliases and presets go online even when no weights are
asked for. All take pixels in [0, 255]; each network scales them as the published weights of its
kind expect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from far_keras.layers import Rescale

__all__ = ["KERAS_CV_BACKBONES", "KerasCVBackbone"]


@dataclass(frozen=True)
class KerasCVBackbone:
    """A backbone of keras-cv: call it with the Input (B, H, W, 3) of pixels in [0, 255].

    Args:
        kind: Name of the class in ``keras_cv.models``.
        arguments: Its arguments.
        offset: The pixel value that becomes 0.
        divisor: The distance from `offset` that becomes 1.
    """

    kind: str
    arguments: dict[str, Any]
    offset: float = 0.0
    divisor: float = 255.0

    def __call__(self, pixels: keras.KerasTensor) -> keras.Model:
        # Imported here: keras-cv takes seconds to load.
        import keras_cv

        x = Rescale(self.offset, self.divisor, name="rescale")(pixels)
        build = getattr(keras_cv.models, self.kind)
        return build(**self.arguments, include_rescaling=False, input_tensor=x)


# Rows of a block table, one column a stage; numbers as in the papers that are named.

# He et al. 2015, arXiv 1512.03385. "Version 1": the activations follow the sums, so that every
# pyramid level is normalised and non-negative. In version 2 the levels are raw sums.
_RESNET18 = {
    "stackwise_filters": [64, 128, 256, 512],
    "stackwise_blocks": [2, 2, 2, 2],
    "stackwise_strides": [1, 2, 2, 2],
    "block_type": "basic_block",
}
_RESNET50 = {
    "stackwise_filters": [64, 128, 256, 512],
    "stackwise_blocks": [3, 4, 6, 3],
    "stackwise_strides": [1, 2, 2, 2],
    "block_type": "block",
}

# Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excite and with ReLU6.
_EFFICIENTNET_LITE0 = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
}

# Tan and Le 2021, arXiv 2104.00298.
_EFFICIENTNET_V2_B0 = {
    "stackwise_kernel_sizes": [3, 3, 3, 3, 3, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 5, 8],
    "stackwise_input_filters": [32, 16, 32, 48, 96, 112],
    "stackwise_output_filters": [16, 32, 48, 96, 112, 192],
    "stackwise_expansion_ratios": [1, 4, 4, 4, 6, 6],
    "stackwise_squeeze_and_excite_ratios": [0.0, 0.0, 0.0, 0.25, 0.25, 0.25],
    "stackwise_strides": [1, 2, 2, 2, 1, 2],
    "stackwise_conv_types": ["fused", "fused", "fused", "unfused", "unfused", "unfused"],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
}

# Howard et al. 2019, arXiv 1905.02244, table 2.
_MOBILENET_V3_SMALL = {
    "stackwise_expansion": [1, 72 / 16, 88 / 24, 4, 6, 6, 3, 3, 6, 6, 6],
    "stackwise_filters": [16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96],
    "stackwise_kernel_size": [3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5],
    "stackwise_stride": [2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1],
    "stackwise_se_ratio": [0.25, None, None, *[0.25] * 8],
    "stackwise_activation": [*["relu"] * 3, *["hard_swish"] * 8],
}

# Huang et al. 2016, arXiv 1608.06993.
_DENSENET121 = {
    "stackwise_num_repeats": [6, 12, 24, 16],
    "compression_ratio": 0.5,
    "growth_rate": 32,
}

KERAS_CV_BACKBONES = {
    "densenet121": KerasCVBackbone("DenseNetBackbone", _DENSENET121),
    "efficientnetlite0": KerasCVBackbone("EfficientNetLiteBackbone", _EFFICIENTNET_LITE0, 127, 128),
    "efficientnetv2_b0": KerasCVBackbone("EfficientNetV2Backbone", _EFFICIENTNET_V2_B0),
    "mobilenetv3small": KerasCVBackbone("MobileNetV3Backbone", _MOBILENET_V3_SMALL),
    "resnet18": KerasCVBackbone("ResNetBackbone", _RESNET18),
    "resnet50": KerasCVBackbone("ResNetBackbone", _RESNET50),
}
"""Functions from the Input of pixels to a backbone with the levels P2 to P5, by name."""
