"""Where in the image a network's answers come from: two measures of the energy of each pixel.

Both give, for each image and group, a map of how much each place matters to the group's
answers. `proportional_energy` is the share of it inside the group's mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from far_keras.errors import ModelError
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    import keras

__all__ = ["METHODS", "Energy", "activation_energy", "gradient_energy", "proportional_energy"]

METHODS = ("activation", "gradient")
"""`activation_energy` and `gradient_energy`."""

Energy = Callable[[NDArray], NDArray[np.float32]]
"""From images (B, S, S, 3) in [0, 255] to their energy (B, G, S, S), at least 0."""


def activation_energy(model: keras.Model, schema: AttributeSchema) -> Energy:
    """Class activation: what each place of the feature maps adds to, or takes from, the answers.

    At a place of a pyramid level it is ``|sum_c A_c d logit / d A_c|`` (HiResCAM, Draelos and
    Carin, arXiv 2011.08891, with the sign dropped, since a "no" is an answer too). It is enlarged
    bilinearly and summed over all levels that the network reads and over the group's attributes.
    For a baseline, average pooling and one Dense, it is the class activation map of Zhou et al.,
    arXiv 1512.04150. Features of a coarse level see far beyond their place, so this tells where
    the network picks its evidence up, not which pixels it is made of: for that see
    `gradient_energy`.

    Args:
        model: A network of `far_keras.models`, from images to a dict with logits "attributes".
        schema: The attributes and their groups.

    Raises:
        ModelError: The model has no layer "backbone" that gives a dict of levels.
    """
    import keras
    import tensorflow as tf

    if "backbone" not in (layer.name for layer in model.layers):
        raise ModelError(
            "model: expected a network with a layer 'backbone', whose levels are looked at. "
            f"Received: {model.name!r} with {[layer.name for layer in model.layers]}"
        )
    backbone = model.get_layer("backbone")
    # Keras lists the tensors of a dict in the order of its sorted keys.
    levels = list(backbone._inbound_nodes[-1].output_tensors)
    head = keras.Model([model.inputs[0], *levels], model.output["attributes"])
    group_of = _groups(schema)
    size = model.inputs[0].shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)])
    def energy(images: tf.Tensor) -> tf.Tensor:
        features = tf.nest.flatten(backbone(images, training=False))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(features)
            logits = tf.unstack(head([images, *features], training=False), axis=1)
        found = []
        for logit in logits:
            gradients = tape.gradient(logit, features, unconnected_gradients="zero")
            maps = 0.0
            for feature, gradient in zip(features, gradients, strict=True):
                evidence = tf.abs(tf.reduce_sum(feature * gradient, axis=-1, keepdims=True))
                h, w = evidence.shape[1:3]
                large = tf.image.resize(tf.cast(evidence, tf.float32), (size, size))
                maps += large[..., 0] * (h * w / size**2)  # as much in all as on the small map
            found.append(maps)
        return _by_group(tf.stack(found, axis=1), group_of, schema.num_groups)

    return lambda images: energy(tf.convert_to_tensor(np.asarray(images, np.float32))).numpy()


def gradient_energy(model: keras.Model, schema: AttributeSchema) -> Energy:
    """How strongly each pixel moves each group's answers.

    For group g it is the sum, over the group's attributes a and the three colours c, of
    ``(d logit_a / d x_c)^2`` (Simonyan et al., arXiv 1312.6034, squared and summed). Gradients by
    the pixels include every path of a network, its masks and shortcuts too, and do not depend on
    the choice of a layer, so networks of different build can be compared; they tell of small
    changes only, not of what a covered region would do. It runs the network back once for each
    attribute.

    Args:
        model: From images (B, S, S, 3) to a dict with logits "attributes" (B, A).
        schema: The attributes and their groups.
    """
    import tensorflow as tf

    group_of = _groups(schema)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32),
            tf.TensorSpec((), tf.int32),
        ]
    )
    def energy(images: tf.Tensor, attribute: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = tf.gather(model(images, training=False)["attributes"], attribute, axis=1)
        # In inference an image's logit depends on no other image of the batch.
        return tf.reduce_sum(tape.gradient(logits, images) ** 2, axis=-1)

    def measure(images: NDArray) -> NDArray[np.float32]:
        pixels = tf.convert_to_tensor(np.asarray(images, np.float32))
        found = np.zeros((len(images), schema.num_groups, *images.shape[1:3]), np.float32)
        for attribute, group in enumerate(group_of):
            found[:, group] += energy(pixels, tf.constant(attribute, tf.int32)).numpy()
        return found

    return measure


def proportional_energy(energy: NDArray, masks: NDArray) -> NDArray[np.float64]:
    """The share of energy inside masks, as in the energy-based pointing game.

    Wang et al., "Score-CAM", CVPR workshops 2020, arXiv 1910.01279, with masks for boxes.

    Args:
        energy: (..., H, W), at least 0.
        masks: (..., H, W), true inside.

    Returns:
        (...), in [0, 1]; NaN where a mask is empty or there is no energy at all.
    """
    energy = np.asarray(energy, np.float64)
    inside, whole = (energy * masks).sum(axis=(-2, -1)), energy.sum(axis=(-2, -1))
    defined = (whole > 0) & np.asarray(masks).any(axis=(-2, -1))
    return np.where(defined, inside / np.where(whole > 0, whole, 1), np.nan)


def _groups(schema: AttributeSchema) -> list[int]:
    return [schema.groups.index(schema.group_of(name)) for name in schema.attributes]


def _by_group(maps, group_of: list[int], groups: int):
    """(B, A, S, S) to (B, G, S, S): the sum over each group's attributes."""
    import tensorflow as tf

    members = np.zeros((groups, len(group_of)), np.float32)
    members[group_of, np.arange(len(group_of))] = 1
    return tf.einsum("ga,bahw->bghw", members, maps)
