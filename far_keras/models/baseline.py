"""The plain network that every mask-guided one is compared with."""

from __future__ import annotations

import keras

from far_keras.models.backbones import build_backbone
from far_keras.schema import CELEBA, AttributeSchema

__all__ = ["baseline"]


def baseline(
    backbone: str | keras.Model = "efficientnetlite0",
    schema: AttributeSchema = CELEBA,
    image_size: int = 128,
    *,
    level: str = "P5",
    dropout: float = 0.2,
    name: str | None = None,
) -> keras.Model:
    """Builds a backbone with average pooling and one dense layer: no masks, no groups.

    Args:
        backbone: A name in `far_keras.models.backbones.BACKBONES` or a keras-cv style backbone.
        schema: The attributes; its groups play no part.
        image_size: Height and width of the input in pixels, at least 32.
        level: The pyramid level whose features are averaged; what comes after it is left out.
        dropout: Share of the pooled features dropped in training.
        name: The model's name; ``"baseline"`` if None.

    Returns:
        A functional model from "image" (B, image_size, image_size, 3), pixels in [0, 255] of any
        dtype, to ``{"attributes": logits (B, A)}``.

    Raises:
        ModelError: The backbone is unknown or lacks the level, or the image is too small.
    """
    extractor = build_backbone(backbone, image_size, levels=(level,))
    image = keras.Input((image_size, image_size, 3), name="image")
    features = extractor(image)[level]  # (B, h, w, C)
    whole = keras.layers.GlobalAveragePooling2D(name="global_pooling")(features)  # (B, C)
    whole = keras.layers.Dropout(dropout, name="global_dropout")(whole)
    logits = keras.layers.Dense(schema.num_attributes, name="attribute_logits")(whole)  # (B, A)
    return keras.Model(image, {"attributes": logits}, name=name or "baseline")
