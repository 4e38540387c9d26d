"""ResNeSt-50: the paper's backbone, which keras-cv does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from far_keras.layers import Rescale, SplitAttention

__all__ = ["ResNeStBackbone", "resnest50"]

# ImageNet's mean and standard deviation by channel, for pixels in [0, 255].
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)

_EPSILON = 1e-5
_EXPANSION = 4  # output channels of a block over its width


def resnest50(pixels: keras.KerasTensor) -> keras.Model:
    """ResNeSt-50 with radix 2, deep stem and average downsampling; 25,434,240 parameters.

    Args:
        pixels: The Input (B, H, W, 3) of pixels in [0, 255], RGB; H and W are 32 or more, or None.

    Returns:
        A `ResNeStBackbone` whose levels P2, P3, P4, P5 have 256, 512, 1024, 2048 channels.
    """
    return ResNeStBackbone(
        stackwise_width=(64, 128, 256, 512),
        stackwise_blocks=(3, 4, 6, 3),
        stackwise_strides=(1, 2, 2, 2),
        stem_width=32,
        input_tensor=pixels,
        name="resnest50",
    )


@keras.saving.register_keras_serializable(package="far_keras")
class ResNeStBackbone(keras.Model):
    """A residual network of split-attention blocks (arXiv 2004.08955), in keras-cv's style.

    A functional model. It follows the authors' implementation (PyPI ``resnest`` 0.0.5) with deep
    stem, ``avg_down`` and ``avd``, cardinality 1, and `benchmarks/resnest_parity.py` compares the
    two: padding is on both sides as in PyTorch, where Keras' "same" would shift every strided
    layer by a pixel on even sizes, and the average pooling after split attention counts the zeros
    of the padding.

    Args:
        stackwise_width: By stack: the blocks' inner channels; they put out four times as many.
        stackwise_blocks: By stack: the number of blocks.
        stackwise_strides: By stack: the first block's stride, 1 or 2.
        stem_width: Channels of the stem's first two convolutions; the third has twice as many.
        radix: Number of splits in each block.
        batch_norm_momentum: Of every batch normalisation.
        input_shape: Shape (H, W, 3) of the images.
        input_tensor: An ``Input`` to build on instead of `input_shape`.

    Attributes:
        pyramid_level_inputs: By level ``"P2"``, ``"P3"``, …: the name of the layer that puts out
            the last features of stride 2^n.

    Call arguments:
        pixels: Tensor (B, H, W, 3) of any numeric dtype in [0, 255], RGB.

    Returns:
        The last stack's features (B, h, w, C).
    """

    def __init__(
        self,
        *,
        stackwise_width: Sequence[int],
        stackwise_blocks: Sequence[int],
        stackwise_strides: Sequence[int],
        stem_width: int,
        radix: int = 2,
        batch_norm_momentum: float = 0.9,
        input_shape: Sequence[int | None] = (None, None, 3),
        input_tensor: keras.KerasTensor | None = None,
        **kwargs: Any,
    ) -> None:
        if not len(stackwise_width) == len(stackwise_blocks) == len(stackwise_strides) > 0:
            raise ValueError(
                "stackwise_width, stackwise_blocks and stackwise_strides must have one entry a "
                f"stack. Received: {stackwise_width!r}, {stackwise_blocks!r}, "
                f"{stackwise_strides!r}"
            )
        if not set(stackwise_strides) <= {1, 2} or min(stackwise_blocks) < 1:
            raise ValueError(
                "stackwise_strides must be 1 or 2, and stackwise_blocks 1 or more. "
                f"Received: {stackwise_strides!r} and {stackwise_blocks!r}"
            )
        pixels = keras.Input(tuple(input_shape)) if input_tensor is None else input_tensor
        build = _Builder(radix, batch_norm_momentum)
        x = build.stem(Rescale(_MEAN, _STD, name="rescale")(pixels), stem_width)
        level, levels = 2, {}
        stacks = zip(stackwise_width, stackwise_blocks, stackwise_strides, strict=True)
        for stack, (width, blocks, stride) in enumerate(stacks, start=1):
            for block in range(1, blocks + 1):
                x = build.block(x, width, stride if block == 1 else 1, f"stack{stack}_block{block}")
            level += stride - 1
            levels[f"P{level}"] = f"stack{stack}_block{blocks}_out"
        super().__init__(inputs=pixels, outputs=x, **kwargs)
        self.pyramid_level_inputs = levels
        self._arguments = {
            "stackwise_width": list(stackwise_width),
            "stackwise_blocks": list(stackwise_blocks),
            "stackwise_strides": list(stackwise_strides),
            "stem_width": stem_width,
            "radix": radix,
            "batch_norm_momentum": batch_norm_momentum,
            "input_shape": list(pixels.shape[1:]),
        }

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.trainable, **self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ResNeStBackbone:
        return cls(**config)


class _Builder:
    """Adds the network's parts to a functional model."""

    def __init__(self, radix: int, momentum: float) -> None:
        self.radix = radix
        self.momentum = momentum

    def stem(self, x: keras.KerasTensor, width: int) -> keras.KerasTensor:
        for n, (filters, stride) in enumerate([(width, 2), (width, 1), (2 * width, 1)], start=1):
            x = self.conv_norm(x, filters, f"stem{n}", kernel_size=3, stride=stride)
            x = keras.layers.Activation("relu", name=f"stem{n}_relu")(x)
        # Nothing is below 0 after a ReLU: padding with zeros is padding with minus infinity.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        return keras.layers.MaxPooling2D(3, 2, "valid", name="stem_pool")(x)

    def block(self, x: keras.KerasTensor, width: int, stride: int, name: str) -> keras.KerasTensor:
        shortcut = x
        if stride > 1 or x.shape[-1] != _EXPANSION * width:
            if stride > 1:
                # Odd sizes leave half a window at the end, where only what is there is averaged
                # (ceil_mode without count_include_pad). This is what "same" does here.
                shortcut = keras.layers.AveragePooling2D(
                    stride, stride, "same", name=f"{name}_shortcut_pool"
                )(shortcut)
            shortcut = self.conv_norm(shortcut, _EXPANSION * width, f"{name}_shortcut")
        x = self.conv_norm(x, width, f"{name}_reduce")
        x = keras.layers.Activation("relu", name=f"{name}_reduce_relu")(x)
        x = SplitAttention(
            width,
            self.radix,
            momentum=self.momentum,
            epsilon=_EPSILON,
            name=f"{name}_split_attention",
        )(x)
        if stride > 1:
            x = keras.layers.ZeroPadding2D(1, name=f"{name}_pool_pad")(x)
            x = keras.layers.AveragePooling2D(3, stride, "valid", name=f"{name}_pool")(x)
        x = self.conv_norm(x, _EXPANSION * width, f"{name}_expand")
        x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
        return keras.layers.Activation("relu", name=f"{name}_out")(x)

    def conv_norm(
        self,
        x: keras.KerasTensor,
        filters: int,
        name: str,
        kernel_size: int = 1,
        stride: int = 1,
    ) -> keras.KerasTensor:
        if kernel_size > 1:
            x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        x = keras.layers.Conv2D(
            filters,
            kernel_size,
            stride,
            "valid",
            use_bias=False,
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="untruncated_normal"
            ),
            name=f"{name}_conv",
        )(x)
        return keras.layers.BatchNormalization(
            momentum=self.momentum, epsilon=_EPSILON, name=f"{name}_norm"
        )(x)
