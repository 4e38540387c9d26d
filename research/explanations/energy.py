"""How much of each network's evidence comes from inside each group's region.

Two measures give, for each image and group, a map of how much each pixel matters to the group's
logits: `activation_energy` and `gradient_energy`. `proportional_energy` is the share inside the
group's mask, and `explain` estimates it for saved models on a split of records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from far_keras.console import progress_bar
from far_keras.errors import DatasetError, ModelError
from far_keras.evaluation.bootstrap import Estimate, estimate_means
from far_keras.evaluation.evaluate import EvaluatedModel, load_models, open_split
from far_keras.evaluation.metrics import group_masks, outline
from far_keras.evaluation.predict import read_faces
from far_keras.files import atomic_path, write_atomically
from far_keras.images import resize_image
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    import keras
    from rich.console import RenderableType

__all__ = [
    "METHODS",
    "Examples",
    "Explanation",
    "activation_energy",
    "explain",
    "explanation_grid",
    "explanation_tables",
    "gradient_energy",
    "proportional_energy",
    "write_explanation",
]

_BATCH = 8

Energy = Callable[[NDArray], NDArray[np.float32]]
"""From images (B, S, S, 3) in [0, 255] to their energy (B, G, S, S), at least 0."""


def activation_energy(model: keras.Model, schema: AttributeSchema) -> Energy:
    """Class activation: what each place of the feature maps adds to, or takes from, the logits.

    At a place of a pyramid level it is ``|sum_c A_c d logit / d A_c|`` (HiResCAM, Draelos and
    Carin, arXiv 2011.08891, without the sign, since a "no" is a prediction too). It is enlarged
    bilinearly and summed over all levels that the network reads and over the group's attributes.
    For a baseline, average pooling and one Dense, it is the class activation map of Zhou et al.,
    arXiv 1512.04150. Features of a coarse level depend on pixels far beyond their place, so this
    shows where the network collects its evidence, not which pixels it is made of: for that see
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
            "model: expected a network with a layer 'backbone', whose levels are read. "
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
    """How strongly each pixel moves each group's logits.

    For group g it is the sum, over the group's attributes a and the three colours c, of
    ``(d logit_a / d x_c)^2`` (Simonyan et al., arXiv 1312.6034, squared and summed). Gradients by
    the pixels include every path of a network, its masks and shortcuts too, and do not depend on
    the choice of a layer, so different architectures can be compared; they describe small changes
    only, not the effect of a covered region. It runs one backward pass per attribute.

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


METHODS: dict[str, Callable[[keras.Model, AttributeSchema], Energy]] = {
    "activation": activation_energy,
    "gradient": gradient_energy,
}
_TITLES = {"activation": "class activation", "gradient": "gradients by the pixels"}


@dataclass(frozen=True)
class Examples:
    """One network's energy of some images, for a grid.

    Args:
        images: (K, S, S, 3) uint8, in the network's own size.
        masks: (K, G, S, S) bool.
        energy: By one of `METHODS`, (K, G, S, S).
        inside: By method, (K, G): the share of the energy inside the mask.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    energy: Mapping[str, NDArray[np.float32]]
    inside: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Explanation:
    """Shares of energy inside the groups' masks.

    Args:
        data: Which images, and how they were resampled.
        groups: G names.
        area: By group and under "mean": the share of the image that the mask covers, which
            energy spread evenly would have inside.
        inside: By model, method, and group or "mean": the share of the energy.
        differences: By "first - second", method, and group: the paired difference of a model and
            the next.
        examples: By model.
    """

    data: dict[str, Any]
    groups: tuple[str, ...]
    area: dict[str, Estimate]
    inside: dict[str, dict[str, dict[str, Estimate]]]
    differences: dict[str, dict[str, dict[str, Estimate]]]
    examples: dict[str, Examples]


def explain(
    models: str | Path | Sequence[str | Path],
    records: str | Path,
    split: str = "test",
    *,
    count: int = 100,
    examples: int = 4,
    methods: Sequence[str] = tuple(METHODS),
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Explanation:
    """Measures where the evidence of one or more saved models comes from.

    Args:
        models: Folder of a saved model, or several with the same groups.
        records: Folder that `far_keras.datasets.annotate` wrote. Its landmark masks locate each
            group; images without, or without a face, are left out.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        count: Number of images, drawn from the split without repetition.
        examples: How many of them to keep for a grid.
        methods: Which of `METHODS`; "gradient" takes most of the time.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the drawing and the resampling.
        progress: Show a progress bar per model, on standard error.

    Raises:
        ModelError: A folder holds no model, one is given twice, predicts no attributes or needs
            masks as an input, or their groups differ.
        DatasetError: The records cannot be used, or none of the images has masks.
    """
    from far_keras.models.storage import require_recogniser

    if count < 1 or (unknown := sorted(set(methods) - set(METHODS))):
        raise DatasetError(
            f"count and methods: expected at least 1, and some of {tuple(METHODS)}. "
            f"Received: {count} and {unknown if count >= 1 else list(methods)}"
        )
    measured = open_split(records, split)
    evaluated = load_models([models] if isinstance(models, str | Path) else list(models))
    schema = evaluated[0].loaded.schema
    for model in evaluated:
        require_recogniser(model.loaded.model, "an explanation")
        if model.loaded.schema.groups != schema.groups:
            raise ModelError(
                f"{model.folder}: expected the groups of {evaluated[0].folder}, to compare the "
                f"two. Received: {schema.difference(model.loaded.schema)}"
            )
    total = measured.data["images"]
    rows = np.sort(np.random.default_rng(seed).permutation(total)[:count]).tolist()
    faces = read_faces(records, split, rows)
    masked = {}
    for row in rows:
        image, regions = faces[row]
        if regions is not None and regions.any():
            masked[row] = (image, group_masks(regions, schema))
    if not masked:
        raise DatasetError(
            f"{records}: none of {len(rows)} images of the split {split!r} has landmark masks; "
            "raise count, or annotate the images"
        )
    shares, kept = {}, {}
    for model in evaluated:
        shares[model.name], kept[model.name] = _measure(
            model, list(masked.values()), examples, methods, progress
        )
    clusters = None if measured.clusters is None else measured.clusters[list(masked)]
    drawing: Any = {"resamples": resamples, "seed": seed, "identities": clusters}
    # At the frame's own resolution, whatever the networks'.
    area = np.array([masks.mean(axis=(1, 2)) for _, masks in masked.values()])
    groups = schema.group_names
    return Explanation(
        data={
            **measured.data,
            "images": len(masked),
            "identities": 0 if clusters is None else len(np.unique(clusters)),
            "without_masks": len(rows) - len(masked),
            "resamples": resamples,
            "seed": seed,
        },
        groups=groups,
        area=estimate_means(groups, np.where(area > 0, area, np.nan), **drawing),
        inside={
            name: {
                method: estimate_means(groups, values, **drawing) for method, values in each.items()
            }
            for name, each in shares.items()
        },
        differences={
            f"{first} - {second}": {
                method: estimate_means(
                    groups, shares[first][method] - shares[second][method], **drawing
                )
                for method in methods
            }
            for first, second in pairwise(shares)
        },
        examples=kept,
    )


def _measure(
    model: EvaluatedModel,
    faces: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]],
    examples: int,
    methods: Sequence[str],
    progress: bool,
) -> tuple[dict[str, NDArray[np.float64]], Examples]:
    """By method the shares (N, G), and the first images with their energy."""
    size = model.loaded.image_size
    measures = {m: METHODS[m](model.loaded.model, model.loaded.schema) for m in methods}
    shares: dict[str, list] = {method: [] for method in methods}
    energies: dict[str, list] = {method: [] for method in methods}
    kept: list[NDArray] = []
    kept_masks: list[NDArray] = []
    with progress_bar(progress) as bar:
        for images, masks in bar.track(
            _batches(faces, size),
            total=-(-len(faces) // _BATCH),
            description=f"explaining {model.name}",
        ):
            missing = max(0, examples - sum(map(len, kept)))
            kept.append(images[:missing])
            kept_masks.append(masks[:missing])
            for method, measure in measures.items():
                energy = measure(images)
                shares[method].append(proportional_energy(energy, masks))
                energies[method].append(energy[:missing])
    inside = {method: np.concatenate(values) for method, values in shares.items()}
    return inside, Examples(
        images=np.concatenate(kept),
        masks=np.concatenate(kept_masks),
        energy={method: np.concatenate(values) for method, values in energies.items()},
        inside={method: values[:examples] for method, values in inside.items()},
    )


def _batches(
    faces: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]], size: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Images (B, S, S, 3), resized to the network's input, and group masks (B, G, S, S)."""

    def resized_mask(mask: NDArray) -> NDArray:
        return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))

    for start in range(0, len(faces), _BATCH):
        part = faces[start : start + _BATCH]
        yield (
            np.stack([resize_image(image, size) for image, _ in part]),
            np.stack([[resized_mask(mask) for mask in masks] for _, masks in part]).astype(bool),
        )


def explanation_tables(explanation: Explanation) -> list[RenderableType]:
    """One table per method with one row per group, for `rich`."""
    from rich.table import Table

    tables: list[RenderableType] = []
    for method in next(iter(explanation.inside.values())):
        table = Table(
            title=f"share of energy inside the group's mask: {_TITLES[method]}",
            title_justify="left",
        )
        table.add_column("group")
        table.add_column("area of\nthe mask", justify="right")
        for name in explanation.inside:
            table.add_column(name, justify="right")
        for name in explanation.differences:
            table.add_column(name.replace(" - ", "\n- "), justify="right")
        for group in (*explanation.groups, "mean"):
            table.add_row(
                group,
                f"{explanation.area[group].value:.3f}",
                *(each[method][group].format() for each in explanation.inside.values()),
                *(
                    each[method][group].format(signed=True)
                    for each in explanation.differences.values()
                ),
            )
        tables.append(table)
    return tables


def write_explanation(explanation: Explanation, folder: str | Path) -> list[Path]:
    """Writes ``explanation.json`` and a grid ``explanation-METHOD.png`` for each method."""

    def plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
        return {name: each.to_dict() for name, each in estimates.items()}

    def by_model(models: dict[str, dict[str, dict[str, Estimate]]]) -> dict[str, Any]:
        return {
            name: {method: plain(each) for method, each in methods.items()}
            for name, methods in models.items()
        }

    data = {
        "data": explanation.data,
        "area": plain(explanation.area),
        "inside": by_model(explanation.inside),
        "differences": by_model(explanation.differences),
    }
    paths = [Path(folder) / "explanation.json"]
    write_atomically(paths[0], json.dumps(data, indent=1, allow_nan=False) + "\n")
    if not len(next(iter(explanation.examples.values())).images):
        return paths
    kind = "synthetic (rendered) faces" if explanation.data.get("synthetic") else "faces"
    for method in next(iter(explanation.inside.values())):
        title = f"Where the evidence comes from, by {_TITLES[method]}: {kind}"
        paths.append(Path(folder) / f"explanation-{method}.png")
        with atomic_path(paths[-1]) as temporary:
            explanation_grid(explanation, method, title).save(temporary, "PNG")
    return paths


_CELL = 150  # pixels a side
_GAP, _HEAD, _LEFT = 4, 44, 128
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)
_LINE = (0, 235, 255)  # cyan does not occur in the heat map
_BLUR = 2.5  # pixels of a cell: gradients of single pixels are too grainy to show a region


def explanation_grid(explanation: Explanation, method: str, title: str) -> Image.Image:
    """Draws the examples that an explanation kept.

    Each cell shows the face in grey, the energy as heat relative to the cell's own 99th percentile
    (cells show where, not how much), the group's mask as a cyan line, and the share inside it.

    Args:
        explanation: What to draw.
        method: One of `METHODS` that it holds.
        title: A line above.
    """
    groups, models = explanation.groups, explanation.examples
    faces = len(next(iter(models.values())).images)
    step = _CELL + _GAP
    width = _LEFT + step * (1 + len(groups))
    height = _HEAD + 26 + faces * (len(models) * step + 10)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(17), ImageFont.load_default(13)
    pen.text((8, 6), title, _INK, font)
    for column, group in enumerate(groups):
        pen.text((_LEFT + step * (column + 1) + 4, _HEAD), group, _INK, font)
    y = _HEAD + 26
    for face in range(faces):
        for row, (name, examples) in enumerate(models.items()):
            for line, text in enumerate(_broken(name)):
                pen.text((8, y + 6 + 17 * line), text, _INK, small)
            if row == 0:
                image = Image.fromarray(examples.images[face])
                sheet.paste(image.resize((_CELL, _CELL), Image.Resampling.LANCZOS), (_LEFT, y))
            for column in range(len(groups)):
                x = _LEFT + step * (column + 1)
                sheet.paste(Image.fromarray(_cell(examples, method, face, column)), (x, y))
                share = examples.inside[method][face, column]
                text = f"{share:.0%}" if np.isfinite(share) else "no mask"
                place = (x + 4, y + _CELL - 19)
                left, top, right, bottom = pen.textbbox(place, text, small)
                pen.rectangle((left - 3, top - 2, right + 3, bottom + 2), fill=(20, 20, 20))
                pen.text(place, text, _PAPER, small)
            y += step
        y += 10
    legend = "heat: energy, relative to each cell; line: the group's mask; number: share inside"
    pen.text((_LEFT, 28), legend, _FAINT, small)
    return sheet


def _cell(examples: Examples, method: str, face: int, group: int) -> NDArray[np.uint8]:
    size = (_CELL, _CELL)
    image = Image.fromarray(examples.images[face]).convert("L")
    grey = np.asarray(image.resize(size, Image.Resampling.LANCZOS), np.float32)[..., None]
    energy = Image.fromarray(examples.energy[method][face, group])
    heat = gaussian_filter(np.asarray(energy.resize(size, Image.Resampling.BILINEAR)), _BLUR)
    heat = np.clip(heat / max(np.percentile(heat, 99), 1e-30), 0, 1)
    opacity = np.sqrt(heat)[..., None] * 0.85
    cell = grey * 0.75 * (1 - opacity) + _warm(heat) * opacity
    mask = Image.fromarray(examples.masks[face, group]).resize(size, Image.Resampling.NEAREST)
    edge = outline(np.asarray(mask, bool))
    cell[edge | np.roll(edge, 1, axis=0) | np.roll(edge, 1, axis=1)] = _LINE
    return cell.round().clip(0, 255).astype(np.uint8)


def _warm(heat: NDArray) -> NDArray[np.float32]:
    """From dark red by orange to pale yellow: (H, W) in [0, 1] to (H, W, 3)."""
    stops = np.array([[120, 0, 30], [225, 50, 20], [255, 160, 30], [255, 245, 170]], np.float32)
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(heat, places, stops[:, c]) for c in range(3)], axis=-1)


def _broken(name: str, width: int = 15) -> list[str]:
    """A name in lines that fit next to the rows, broken after underscores."""
    lines = [""]
    for part in name.replace("_", "_ ").split(" "):
        if len(lines[-1] + part) > width and lines[-1]:
            lines.append("")
        lines[-1] += part
    return lines
