"""Mixing of styles in a backbone: a network for training, over the layers of a plain one."""

from __future__ import annotations

from typing import Any

import keras

from far_keras.layers import MixStyle

__all__ = ["MIXED_LEVELS", "mix_styles"]

MIXED_LEVELS = ("P1", "P2")
"""The levels whose statistics are mixed, where a backbone has them: strides 2 and 4.

Features that attributes are read from, P3 and coarser, tell those by their means; the paper too
leaves its last levels alone.
"""


def mix_styles(model: keras.Model, probability: float) -> keras.Model:
    """Puts `MixStyle` behind the fine levels of a network's backbone.

    Args:
        model: A network with a layer "backbone" of `far_keras.models.backbones.build_backbone`.
        probability: Of an image to be mixed, 0 to 1.

    Returns:
        A network of the same inputs, outputs, layers and weights: what it learns, `model` knows.
        Where it does not train it answers like `model`, which itself is left as it was.
    """
    plain = model.get_layer("backbone")
    levels = plain.pyramid_level_inputs
    mixed = {levels[level] for level in MIXED_LEVELS if level in levels}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        return MixStyle(probability)(outputs) if layer.name in mixed else outputs

    def same(layer: Any) -> Any:
        return layer

    mixing = keras.models.clone_model(plain, clone_function=same, call_function=call)
    return keras.models.clone_model(
        model, clone_function=lambda layer: mixing if layer is plain else layer
    )
