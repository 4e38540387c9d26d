"""Where in the picture a network's answers come from, and whether that is the group's region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from far_keras.evaluation.gallery import group_masks, read_faces
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    import keras

    from far_keras.models.storage import LoadedModel

__all__ = ["Explanations", "energy_grid", "explain", "gradient_energy", "proportional_energy"]


@dataclass(frozen=True)
class Explanations:
    """The energy of N pictures' answers, in a network's own picture size S.

    Args:
        groups: G names.
        pictures: (N, S, S, 3) uint8.
        masks: (N, G, S, S) bool, from landmarks.
        energy: (N, G, S, S) float32, see `gradient_energy`.
    """

    groups: tuple[str, ...]
    pictures: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    energy: NDArray[np.float32]

    @property
    def inside(self) -> NDArray[np.float64]:
        """(N, G) share of the energy inside the group's mask; NaN where undefined."""
        return proportional_energy(self.energy, self.masks)

    @property
    def area(self) -> NDArray[np.float64]:
        """(N, G) share of the picture that the mask covers: what blind energy would have inside."""
        return np.where(self.masks.any(axis=(2, 3)), self.masks.mean(axis=(2, 3)), np.nan)


def explain(loaded: LoadedModel, records: str | Path, split: str, rows: Sequence[int]) -> (
    Explanations
):  # fmt: skip
    """Explains a network's answers to some pictures of a split; those without a face are left out.

    Args:
        loaded: The network, with masks or without.
        records: Folder that `far_keras.datasets.annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        rows: Which pictures, in the order of the records.
    """
    size = (loaded.image_size, loaded.image_size)
    pictures, masks = [], []
    for image, regions in read_faces(records, split, list(rows)).values():
        if regions is None or not regions.any():
            continue
        pictures.append(np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)))
        given = [Image.fromarray(mask > 0) for mask in group_masks(regions, loaded.schema)]
        masks.append([np.asarray(m.resize(size, Image.Resampling.NEAREST), bool) for m in given])
    count, groups = len(pictures), loaded.schema.num_groups
    stacked = np.array(pictures, np.uint8).reshape(count, *size, 3)
    return Explanations(
        groups=loaded.schema.group_names,
        pictures=stacked,
        masks=np.array(masks, bool).reshape(count, groups, *size),
        energy=gradient_energy(loaded.model, loaded.schema, stacked),
    )


def gradient_energy(
    model: keras.Model, schema: AttributeSchema, images: NDArray
) -> NDArray[np.float32]:
    """How strongly each pixel moves each group's answers.

    For group g it is the sum, over the group's attributes a and the three colours c, of
    ``(d logit_a / d x_c)^2`` (Simonyan et al., arXiv 1312.6034, squared and summed). Gradients by
    the pixels include every path of a network, its masks and shortcuts too, and do not depend on
    the choice of a layer, so networks of different build can be compared; they tell of small
    changes only, not of what a covered region would do.

    Args:
        model: From pictures (B, S, S, 3) to a dict with logits "attributes" (B, A).
        schema: The attributes and their groups.
        images: (N, S, S, 3), in [0, 255], of any dtype.

    Returns:
        (N, G, S, S) float32, at least 0. One picture is run at a time, A times.
    """
    import tensorflow as tf

    @tf.function
    def energy(image: tf.Tensor, attribute: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(image)
            logit = tf.gather(model(image, training=False)["attributes"], attribute, axis=1)
        return tf.reduce_sum(tape.gradient(logit, image)[0] ** 2, axis=-1)

    found = np.zeros((len(images), schema.num_groups, *images.shape[1:3]), np.float32)
    for n, image in enumerate(images):
        pixels = tf.convert_to_tensor(np.asarray(image, np.float32)[None])
        for a, name in enumerate(schema.attributes):
            group = schema.groups.index(schema.group_of(name))
            found[n, group] += energy(pixels, tf.constant(a)).numpy()
    return found


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


def energy_grid(explanations: Explanations) -> Image.Image:
    """A picture a row and a group a column: energy in red over grey, the mask's outline in white.

    Each cell's red is relative to its own 99th percentile, as square root: cells tell where, not
    how much.
    """
    rows = []
    for picture, masks, energy in zip(
        explanations.pictures, explanations.masks, explanations.energy, strict=True
    ):
        grey = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1) * 0.6
        cells = [picture.astype(float)]
        for mask, values in zip(masks, energy, strict=True):
            heat = np.sqrt(np.clip(values / max(np.percentile(values, 99), 1e-30), 0, 1))[..., None]
            cell = grey * (1 - heat) + np.array([255.0, 40.0, 30.0]) * heat
            cell[_outline(mask)] = 255
            cells.append(cell)
        rows.append(np.concatenate(cells, axis=1))
    return Image.fromarray(np.concatenate(rows).round().astype(np.uint8))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask's pixels that have a neighbour outside; the picture's edge is no outline."""
    padded = np.pad(mask, 1, mode="edge")
    within = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~within
