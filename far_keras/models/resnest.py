"""ResNeSt-50: the paper's backbone, which keras-cv does not have."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from far_keras.layers import Rescale, SplitAttention

__all__ = ["resnest", "resnest50"]

# ImageNet's mean and standard deviation by channel, for pixels in [0, 255].
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)

_EPSILON, _MOMENTUM = 1e-5, 0.9  # of every batch normalization
_EXPANSION = 4  # output channels of a block over its width


def resnest50(pixels: keras.KerasTensor) -> keras.Model:
    """ResNeSt-50 with radix 2, deep stem and average downsampling; 25,434,240 parameters.

    Args:
        pixels: The Input (B, H, W, 3) of pixels in [0, 255], RGB; H and W are 32 or more, or None.

    Returns:
        See `resnest`; its levels P2, P3, P4, P5 have 256, 512, 1024, 2048 channels.
    """
    return resnest(pixels, (64, 128, 256, 512), (3, 4, 6, 3), (1, 2, 2, 2), 32, name="resnest50")


def resnest(
    pixels: keras.KerasTensor,
    widths: Sequence[int],
    blocks: Sequence[int],
    strides: Sequence[int],
    stem_width: int,
    name: str = "resnest",
) -> keras.Model:
    """Builds a residual network of split-attention blocks (arXiv 2004.08955), in keras-cv's style.

    It follows the authors' implementation (PyPI ``resnest`` 0.0.5) with deep stem, ``avg_down`` and
    ``avd``, cardinality 1, and `benchmarks/resnest_parity.py` compares the two: padding is on both
    sides as in PyTorch, where Keras' "same" would shift every strided layer by a pixel on even
    sizes, and the average pooling after split attention counts the zeros of the padding.

    Args:
        pixels: The Input (B, H, W, 3) of pixels in [0, 255], RGB.
        widths: By stack: the blocks' inner channels; their outputs have four times as many.
        blocks: By stack: the number of blocks, 1 or more.
        strides: By stack: the first block's stride, 1 or 2.
        stem_width: Channels of the stem's first two convolutions; the third has twice as many.
        name: The model's name.

    Returns:
        A functional model to the last stack's features (B, h, w, C). Its attribute
        ``pyramid_level_inputs`` has by level ``"P2"``, ``"P3"``, … the name of the layer with the
        last features of stride 2^n.
    """
    x = _stem(Rescale(_MEAN, _STD, name="rescale")(pixels), stem_width)
    level, levels = 2, {}
    stacks = zip(widths, blocks, strides, strict=True)
    for stack, (width, count, stride) in enumerate(stacks, start=1):
        for block in range(1, count + 1):
            x = _block(x, width, stride if block == 1 else 1, f"stack{stack}_block{block}")
        level += stride - 1
        levels[f"P{level}"] = f"stack{stack}_block{count}_out"
    network = keras.Model(pixels, x, name=name)
    network.pyramid_level_inputs = levels
    return network


def _stem(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    for n, (filters, stride) in enumerate([(width, 2), (width, 1), (2 * width, 1)], start=1):
        x = _conv_norm(x, filters, f"stem{n}", kernel_size=3, stride=stride)
        x = keras.layers.Activation("relu", name=f"stem{n}_relu")(x)
    # Nothing is below 0 after a ReLU: padding with zeros is padding with minus infinity.
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return keras.layers.MaxPooling2D(3, 2, "valid", name="stem_pool")(x)


def _block(x: keras.KerasTensor, width: int, stride: int, name: str) -> keras.KerasTensor:
    shortcut = x
    if stride > 1 or x.shape[-1] != _EXPANSION * width:
        if stride > 1:
            # Odd sizes leave half a window at the end, where only what is there is averaged
            # (ceil_mode without count_include_pad). This is what "same" does here.
            shortcut = keras.layers.AveragePooling2D(
                stride, stride, "same", name=f"{name}_shortcut_pool"
            )(shortcut)
        shortcut = _conv_norm(shortcut, _EXPANSION * width, f"{name}_shortcut")
    x = _conv_norm(x, width, f"{name}_reduce")
    x = keras.layers.Activation("relu", name=f"{name}_reduce_relu")(x)
    x = SplitAttention(
        width,
        momentum=_MOMENTUM,
        epsilon=_EPSILON,
        name=f"{name}_split_attention",
    )(x)
    if stride > 1:
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pool_pad")(x)
        x = keras.layers.AveragePooling2D(3, stride, "valid", name=f"{name}_pool")(x)
    x = _conv_norm(x, _EXPANSION * width, f"{name}_expand")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.Activation("relu", name=f"{name}_out")(x)


def _conv_norm(
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
        momentum=_MOMENTUM, epsilon=_EPSILON, name=f"{name}_norm"
    )(x)
