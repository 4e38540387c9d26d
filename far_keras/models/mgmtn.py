"""MGMTN, the Mask-Guided Multi-Task Network."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from far_keras.layers import AreaResize, GroupedHead, GroupGlobalFusion, GroupPooling
from far_keras.models.backbones import build_backbone
from far_keras.models.mask_network import shared_mask_decoder
from far_keras.schema import CELEBA, AttributeSchema

__all__ = ["mgmtn"]


def mgmtn(
    backbone: str | keras.Model = "efficientnetlite0",
    schema: AttributeSchema = CELEBA,
    image_size: int = 128,
    *,
    levels: Sequence[str] = ("P3", "P4", "P5"),
    mask_level: str = "P2",
    mask_filters: int = 32,
    pooling: str = "average",
    fusion: str = "concat",
    fusion_units: int = 64,
    global_shortcut: bool = True,
    dropout: float = 0.2,
    name: str | None = None,
) -> keras.Model:
    """Builds a Mask-Guided Multi-Task Network (Gao et al., arXiv 2601.01408).

    A mask network predicts where each group of attributes is in the picture; the backbone's
    features are pooled under each mask, fused with the global feature (G2FF), and answer the
    group's attributes. The paper leaves open the fusion, the losses and the table of attributes:
    what stands here is our choice.

    Args:
        backbone: A name in `far_keras.models.backbones.BACKBONES` or a keras-cv style backbone.
        schema: The attributes and their groups: A attributes, G groups.
        image_size: Height and width of the input in pixels, at least 32.
        levels: The pyramid levels whose features are pooled under the masks, fine to coarse.
        mask_level: The pyramid level at whose size the masks are predicted; P2 has stride 4.
        mask_filters: Channels of the mask decoder.
        pooling: ``"average"`` or ``"product"``, see `GroupPooling`.
        fusion: ``"concat"``, ``"gated"`` or ``"sum"``, see `GroupGlobalFusion`.
        fusion_units: Length D of each group's fused feature.
        global_shortcut: Whether the global feature also answers every attribute by itself. Without
            it the network falls behind a plain one on small data and on attributes of the whole
            face.
        dropout: Share of fused and of global features dropped in training.
        name: The model's name; ``"mgmtn"`` if None.

    Returns:
        A functional model from "image" (B, image_size, image_size, 3), pixels in [0, 255] of any
        dtype, to ``{"attributes": logits (B, A), "masks": logits (B, h, w, G)}``, in the schema's
        order of attributes and groups.

    Raises:
        ModelError: The backbone is unknown or lacks a level, or the image is too small.
        ValueError: An unknown `pooling` or `fusion`.

    Example:
        >>> model = mgmtn(image_size=128)
        >>> {key: value.shape for key, value in model(np.zeros((1, 128, 128, 3))).items()}
        {'attributes': (1, 40), 'masks': (1, 32, 32, 8)}
    """
    # Levels from the masks' up to the coarsest that is pooled, such as P2 P3 P4 P5.
    strides = [int(level[1:]) for level in (mask_level, *levels)]
    all_levels = [f"P{n}" for n in range(min(strides), max(strides) + 1)]
    extractor = build_backbone(backbone, image_size, all_levels)
    image = keras.Input((image_size, image_size, 3), name="image")
    pyramid = extractor(image)  # Pn: (B, h_n, w_n, C_n)

    # AML. The fusion reads probabilities, not thresholded masks: gradients flow through them.
    from_masks_up = all_levels[all_levels.index(mask_level) :]
    mask_logits = shared_mask_decoder(
        [pyramid[level] for level in from_masks_up], schema.num_groups, mask_filters
    )  # (B, h, w, G)
    masks = keras.layers.Activation("sigmoid", name="mask_probabilities")(mask_logits)

    # One vector a group and level, all groups at once; and one for the whole picture.
    group_features, global_features = [], []
    for level in levels:
        features = pyramid[level]
        level_masks = AreaResize(*features.shape[1:3], name=f"masks_{level}")(masks)
        pool = GroupPooling(pooling, name=f"group_pooling_{level}")
        group_features.append(pool([features, level_masks]))  # (B, G, C_n)
        average = keras.layers.GlobalAveragePooling2D(name=f"global_pooling_{level}")
        global_features.append(average(features))  # (B, C_n)
    group = keras.layers.Concatenate(name="group_features")(group_features)  # (B, G, sum C_n)
    whole = keras.layers.Concatenate(name="global_features")(global_features)  # (B, sum C_n)

    # G2FF, then each attribute from its group's vector.
    fused = GroupGlobalFusion(fusion_units, fusion, name="fusion")([group, whole])  # (B, G, D)
    fused = keras.layers.Dropout(dropout, name="fused_dropout")(fused)
    groups_by_attribute = [
        schema.groups.index(schema.group_of(attribute)) for attribute in schema.attributes
    ]
    logits = GroupedHead(groups_by_attribute, name="group_logits")(fused)  # (B, A)
    if global_shortcut:
        last = keras.layers.Dropout(dropout, name="global_dropout")(global_features[-1])
        shortcut = keras.layers.Dense(schema.num_attributes, name="global_logits")(last)
        logits = keras.layers.Add(name="attribute_logits")([logits, shortcut])  # (B, A)
    return keras.Model(image, {"attributes": logits, "masks": mask_logits}, name=name or "mgmtn")
