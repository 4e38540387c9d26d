"""MGMTN, the Mask-Guided Multi-Task Network."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from far_keras.errors import ModelError
from far_keras.layers import (
    AreaResize,
    GroupedDense,
    GroupedHead,
    GroupGlobalFusion,
    GroupPooling,
)
from far_keras.models.backbones import build_backbone
from far_keras.models.mask_network import pyramid_levels, shared_mask_decoder, unet
from far_keras.schema import CELEBA, AttributeSchema

__all__ = ["mgmtn"]


def mgmtn(
    backbone: str | keras.Model = "efficientnetlite0",
    schema: AttributeSchema = CELEBA,
    image_size: int = 128,
    *,
    levels: Sequence[str] = ("P3", "P4", "P5"),
    mask_network: str = "shared",
    mask_level: str = "P2",
    mask_filters: int = 32,
    unet_channels: Sequence[int] = (16, 32, 64, 128, 256),
    masks: str = "predicted",
    pooling: str = "average",
    fusion: str = "concat",
    fusion_units: int = 64,
    group_path: bool = True,
    global_path: bool = True,
    global_shortcut: bool = True,
    dropout: float = 0.2,
    name: str | None = None,
) -> keras.Model:
    """Builds a Mask-Guided Multi-Task Network (Gao et al., arXiv 2601.01408).

    A mask network predicts where each group of attributes is in the image; the backbone's features
    are pooled under each mask and fused with the global feature (G2FF), from which the group's
    attributes are predicted. The paper does not define the fusion, the losses and the table of
    attributes: they are our choice.

    Args:
        backbone: A name in `far_keras.models.backbones.BACKBONES` or a keras-cv style backbone.
        schema: The attributes and their groups: A attributes, G groups.
        image_size: Height and width of the input in pixels, at least 32.
        levels: The pyramid levels whose features are pooled under the masks, fine to coarse.
        mask_network: ``"shared"``, a light decoder on the backbone's features, or ``"unet"``, the
            paper's separate network on the image, with masks of the image's size.
        mask_level: For the shared decoder: the pyramid level whose size the masks have; P2 has
            stride 4.
        mask_filters: Channels of the shared decoder.
        unet_channels: Channels of the UNet at each resolution, see `unet`.
        masks: The masks that pool the features: ``"predicted"``; ``"ones"``, a baseline that keeps
            the mask network and its loss but pools without it; or ``"given"``, without a mask
            network and with the masks as a second input: with the true regions, an upper bound of
            what better masks could bring.
        pooling: ``"average"`` or ``"product"``, see `GroupPooling`.
        fusion: ``"concat"``, ``"gated"`` or ``"sum"``, see `GroupGlobalFusion`.
        fusion_units: Length D of each group's fused feature.
        group_path: Whether to predict from the groups' features. Without them the global feature
            predicts alone, as in `baseline`, next to the mask network.
        global_path: Whether to use the global feature. Without it each group's attributes depend on
            its own features only, and there is no shortcut.
        global_shortcut: Whether the global feature also predicts every attribute by itself. Without
            it the network is worse than `baseline` on small data and on attributes of the whole
            face.
        dropout: Dropout rate of fused and of global features.
        name: The model's name; ``"mgmtn"`` if None.

    Returns:
        A functional model from "image" (B, image_size, image_size, 3), pixels in [0, 255] of any
        dtype, to ``{"attributes": logits (B, A), "masks": logits (B, h, w, G)}``, in the schema's
        order of attributes and groups.

        With given masks the inputs are ``{"image": as above, "masks": (B, h, w, G) in [0, 1]}``,
        of the size that `mask_network` would predict them in, and the output is "attributes" only.

        An image with NaN pixels gives NaN outputs. In training it spoils the whole batch through
        the batch normalization.

    Raises:
        ModelError: The backbone is unknown or unsuitable (see `build_backbone`), the image is too
            small, a choice such as `mask_network` or `fusion` is unknown, or both paths are off.

    Example:
        >>> model = mgmtn(image_size=128)
        >>> {key: value.shape for key, value in model(np.zeros((1, 128, 128, 3))).items()}
        {'attributes': (1, 40), 'masks': (1, 32, 32, 8)}
    """
    for argument, value, choices in (
        ("mask_network", mask_network, ["shared", "unet"]),
        ("masks", masks, ["predicted", "ones", "given"]),
        ("fusion", fusion, ["concat", "gated", "sum"]),  # also without global path
        ("pooling", pooling, ["average", "product"]),
    ):
        if value not in choices:
            raise ModelError(f"{argument} must be one of {choices}. Received: {value!r}")
    if not (group_path or global_path):
        raise ModelError("expected group_path, global_path or both. Received: neither")

    # All levels in use, such as P2 P3 P4 P5: the shared decoder starts from the coarsest that is
    # pooled and ends at the masks' own.
    all_levels = pyramid_levels([*levels, mask_level] if mask_network == "shared" else levels)
    extractor = build_backbone(backbone, image_size, all_levels)
    image = keras.Input((image_size, image_size, 3), name="image")
    pyramid = extractor(image)  # Pn: (B, h_n, w_n, C_n)

    # AML. The fusion reads probabilities, not thresholded masks: gradients flow through them.
    inputs = {"image": image}
    mask_logits = None
    if masks == "given":
        unet_size = (image_size, image_size)
        size = pyramid[mask_level].shape[1:3] if mask_network == "shared" else unet_size
        guides = inputs["masks"] = keras.Input((*size, schema.num_groups), name="masks")
    elif mask_network == "shared":
        from_masks_up = pyramid_levels(all_levels, finest=mask_level)
        mask_logits = shared_mask_decoder(
            [pyramid[level] for level in from_masks_up], schema.num_groups, mask_filters
        )  # (B, h, w, G)
    else:
        mask_logits = unet(image_size, schema.num_groups, unet_channels)(image)  # (B, S, S, G)
    if masks == "predicted":
        guides = keras.layers.Activation("sigmoid", name="mask_probabilities")(mask_logits)
    elif masks == "ones":
        guides = keras.ops.ones_like(mask_logits)

    # One vector per group and level, all groups at once; and one for the whole image.
    group_features, global_features = [], []
    for level in levels:
        features = pyramid[level]
        level_masks = AreaResize(*features.shape[1:3], name=f"masks_{level}")(guides)
        pool = GroupPooling(pooling, name=f"group_pooling_{level}")
        group_features.append(pool([features, level_masks]))  # (B, G, C_n)
        average = keras.layers.GlobalAveragePooling2D(name=f"global_pooling_{level}")
        global_features.append(average(features))  # (B, C_n)

    # Two logits of every attribute, from its group and from the whole image, are added.
    paths = []
    if group_path:
        group = keras.layers.Concatenate(name="group_features")(group_features)  # (B, G, sum C_n)
        if global_path:  # G2FF
            whole = keras.layers.Concatenate(name="global_features")(global_features)
            fused = GroupGlobalFusion(fusion_units, fusion, name="fusion")([group, whole])
        else:
            fused = GroupedDense(fusion_units, "relu", name="group_dense")(group)
        fused = keras.layers.Dropout(dropout, name="fused_dropout")(fused)  # (B, G, D)
        groups_by_attribute = [
            schema.groups.index(schema.group_of(attribute)) for attribute in schema.attributes
        ]
        paths.append(GroupedHead(groups_by_attribute, name="group_logits")(fused))  # (B, A)
    if global_path and (global_shortcut or not group_path):
        last = keras.layers.Dropout(dropout, name="global_dropout")(global_features[-1])
        paths.append(keras.layers.Dense(schema.num_attributes, name="global_logits")(last))
    logits = paths[0]
    if len(paths) == 2:
        logits = keras.layers.Add(name="attribute_logits")(paths)  # (B, A)
    outputs = {"attributes": logits}
    if mask_logits is not None:
        outputs["masks"] = mask_logits
    return keras.Model(inputs if len(inputs) > 1 else image, outputs, name=name or "mgmtn")
