"""Swaps facial regions between the images of a batch, each with the labels that rest on it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from far_keras.schema import MISSING, AttributeSchema

__all__ = ["swap_regions"]

# How much an emptied place asks to be filled, and how much an image holds on to its ground.
_EMPTIED, _GROUND = 0.5, 0.05


def swap_regions(
    images: tf.Tensor,
    masks: tf.Tensor,
    labels: tf.Tensor,
    seed: tf.Tensor,
    schema: AttributeSchema,
    probability: float = 0.5,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gives each chosen image some groups' regions of its neighbour in the batch.

    All faces are aligned, so the mouth of one lies where the mouth of another was. An image with
    a foreign mouth takes the labels of the mouth's group along; what all of the face decides (a
    group whose regions include "object") has no label there any more. So the labels of one region
    tell nothing about those of another, and a network that answers the smile from the hair is
    wrong. It is CutMix (Yun et al. 2019, arXiv 1905.04899) with facial regions for its boxes.

    Args:
        images: float32 (B, S, S, 3) in [0, 255], of aligned faces; B at least 2.
        masks: float32 (B, M, M, G) in [0, 1], or -1 everywhere for an image whose masks are not
            known. An image without a face or without masks is left as it is, and nothing is taken
            from it.
        labels: float32 (B, A): 1, 0, or -1 for missing.
        seed: int32 or int64 (2,).
        schema: Whose groups and attributes the masks and labels are.
        probability: Of an image to be changed at all, 0 to 1. Of a changed one each group is
            swapped with probability 1/2.

    Returns:
        Images, masks and labels of the same shapes and ranges.
    """
    batch = tf.shape(images)[0]
    whole = np.array(["object" in group.regions for group in schema.groups])  # (G,)
    group_of = [schema.groups.index(schema.group_of(name)) for name in schema.attributes]
    known = tf.reduce_max(masks, axis=(1, 2, 3)) > 0.0  # (B,): has a face whose place is known
    unit = tf.random.stateless_uniform((batch, 1 + schema.num_groups), seed)
    changed = (unit[:, 0] < probability) & known & tf.roll(known, 1, 0)
    swapped = changed[:, None] & (unit[:, 1:] < 0.5) & ~whole  # (B, G)
    changed = tf.reduce_any(swapped, axis=1)  # (B,)

    # Each place goes to whoever has a claim on it; soft edges come from the masks' own.
    takes = tf.cast(swapped, tf.float32)[:, None, None, :]  # (B, 1, 1, G)
    keeps = tf.cast(~swapped & ~whole, tf.float32)[:, None, None, :]
    other = tf.roll(masks, 1, 0)
    theirs = tf.maximum(_claim(other, takes), _EMPTIED * _claim(masks, takes))
    ours = tf.maximum(_claim(masks, keeps), _EMPTIED * _claim(other, keeps))
    ground = _GROUND * (1.0 - theirs) + 1e-6
    share = theirs / (theirs + tf.maximum(ours, ground))  # (B, M, M, 1)
    share = tf.where(changed[:, None, None, None], share, 0.0)

    fine = tf.image.resize(share, tf.shape(images)[1:3])
    images += fine * (tf.roll(images, 1, 0) - images)
    mixed = tf.where(swapped[:, None, None, :], other, masks)
    mixed = tf.where(whole, masks + share * (other - masks), mixed)
    masks = tf.where(changed[:, None, None, None], mixed, masks)

    foreign = tf.gather(swapped, group_of, axis=1)  # (B, A)
    lost = changed[:, None] & whole[group_of]
    labels = tf.where(foreign, tf.roll(labels, 1, 0), labels)
    return images, masks, tf.where(lost, float(MISSING), labels)


def _claim(masks: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """The largest of the chosen groups' masks at each place: (B, M, M, 1) in [0, 1]."""
    return tf.reduce_max(tf.maximum(masks, 0.0) * chosen, axis=-1, keepdims=True)
