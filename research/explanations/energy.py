"""How much of each network's answers comes from inside each group's region, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from far_keras.errors import DatasetError, ModelError
from far_keras.evaluation.bootstrap import Figure, mean_figures
from far_keras.evaluation.explanations import (
    METHODS,
    activation_energy,
    gradient_energy,
    proportional_energy,
)
from far_keras.evaluation.gallery import read_faces
from far_keras.evaluation.mask_scores import group_masks
from far_keras.evaluation.subjects import Subject, load_subjects, open_pictures
from far_keras.schema import AttributeSchema

__all__ = ["Explanation", "Shown", "explain"]

_BATCH = 8
_METHODS = {"activation": activation_energy, "gradient": gradient_energy}


@dataclass(frozen=True)
class Shown:
    """One network's energy of some images, for a grid.

    Args:
        images: (K, S, S, 3) uint8, in the network's own size.
        masks: (K, G, S, S) bool.
        energy: By one of `METHODS`, (K, G, S, S).
        inside: By method, (K, G): the share of the energy inside the mask.
    """

    pictures: NDArray[np.uint8]
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
        shown: By model.
    """

    data: dict[str, Any]
    groups: tuple[str, ...]
    area: dict[str, Figure]
    inside: dict[str, dict[str, dict[str, Figure]]]
    differences: dict[str, dict[str, dict[str, Figure]]]
    shown: dict[str, Shown]


def explain(
    models: str | Path | Sequence[str | Path],
    records: str | Path,
    split: str = "test",
    *,
    count: int = 100,
    shown: int = 4,
    methods: Sequence[str] = METHODS,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Explanation:
    """Measures where the answers of one or more saved models come from.

    Args:
        models: Folder of a saved model, or several with the same groups.
        records: Folder that `far_keras.datasets.annotate` wrote. Its landmark masks say where each
            group is; images without, or without a face, are left out.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        count: Images to look at, drawn from the split without repetition.
        shown: How many of them to keep for a grid.
        methods: Which of `METHODS`; "gradient" takes most of the time.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the drawing and the resampling.
        progress: Show a progress bar a model, on standard error.

    Raises:
        ModelError: A folder holds no model, one is given twice, answers no attributes or needs
            masks as an input, or their groups differ.
        DatasetError: The records cannot be used, or none of the images has masks.
    """
    from far_keras.models.storage import require_recogniser

    if count < 1 or (unknown := sorted(set(methods) - set(METHODS))):
        raise DatasetError(
            f"count and methods: expected at least 1, and some of {METHODS}. "
            f"Received: {count} and {unknown if count >= 1 else list(methods)}"
        )
    pictures = open_pictures(records, split)
    subjects = load_subjects([models] if isinstance(models, str | Path) else list(models))
    schema = subjects[0].loaded.schema
    for subject in subjects:
        require_recogniser(subject.loaded.model, "an explanation")
        if subject.loaded.schema.groups != schema.groups:
            raise ModelError(
                f"{subject.folder}: expected the groups of {subjects[0].folder}, to compare the "
                f"two. Received: {schema.difference(subject.loaded.schema)}"
            )
    total = pictures.data["pictures"]
    rows = np.sort(np.random.default_rng(seed).permutation(total)[:count]).tolist()
    faces = read_faces(records, split, rows)
    given, kept = [], []
    for row in rows:
        picture, regions = faces[row]
        if regions is not None and regions.any():
            kept.append(row)
            given.append((picture, group_masks(regions, schema)))
    if not kept:
        raise DatasetError(
            f"{records}: none of {len(rows)} images of the split {split!r} has landmark masks; "
            "raise count, or annotate the images"
        )
    shares, drawn = {}, {}
    for subject in subjects:
        shares[subject.name], drawn[subject.name] = _measure(
            subject, schema, given, shown, methods, progress
        )
    clusters = None if pictures.clusters is None else pictures.clusters[kept]
    drawing: Any = {"resamples": resamples, "seed": seed, "identities": clusters}
    # At the frame's own resolution, whatever the networks'.
    area = np.array([masks.mean(axis=(1, 2)) for _, masks in given])
    groups = schema.group_names
    return Explanation(
        data={
            **pictures.data,
            "pictures": len(kept),
            "identities": 0 if clusters is None else len(np.unique(clusters)),
            "without_masks": len(rows) - len(kept),
            "resamples": resamples,
            "seed": seed,
        },
        groups=groups,
        area=mean_figures(groups, np.where(area > 0, area, np.nan), **drawing),
        inside={
            name: {
                method: mean_figures(groups, values, **drawing) for method, values in each.items()
            }
            for name, each in shares.items()
        },
        differences={
            f"{first} - {second}": {
                method: mean_figures(
                    groups, shares[first][method] - shares[second][method], **drawing
                )
                for method in methods
            }
            for first, second in pairwise(shares)
        },
        shown=drawn,
    )


def _measure(
    subject: Subject,
    schema: AttributeSchema,
    given: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]],
    shown: int,
    methods: Sequence[str],
    progress: bool,
) -> tuple[dict[str, NDArray[np.float64]], Shown]:
    """By method the shares (N, G), and the first `shown` images with all that they came of."""
    size = subject.loaded.image_size
    measures = {m: _METHODS[m](subject.loaded.model, subject.loaded.schema) for m in methods}
    shares: dict[str, list] = {method: [] for method in methods}
    energies: dict[str, list] = {method: [] for method in methods}
    pictures: list[NDArray] = []
    masks: list[NDArray] = []
    bar = track(
        list(_batches(given, size)),
        f"explaining {subject.name}",
        console=Console(stderr=True),
        transient=True,
        disable=not progress,
    )
    for images, regions in bar:
        missing = max(0, shown - sum(map(len, pictures)))
        pictures.append(images[:missing])
        masks.append(regions[:missing])
        for method, measure in measures.items():
            energy = measure(images)
            shares[method].append(proportional_energy(energy, regions))
            energies[method].append(energy[:missing])
    inside = {method: np.concatenate(values) for method, values in shares.items()}
    kept = Shown(
        pictures=np.concatenate(pictures),
        masks=np.concatenate(masks),
        energy={method: np.concatenate(values) for method, values in energies.items()},
        inside={method: values[:shown] for method, values in inside.items()},
    )
    return inside, kept


def _batches(
    given: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]], size: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Images (B, S, S, 3), resized as for answering, and group masks (B, G, S, S)."""
    for start in range(0, len(given), _BATCH):
        part = given[start : start + _BATCH]
        yield (
            np.stack([_resized(image, size, Image.Resampling.BILINEAR) for image, _ in part]),
            np.stack(
                [
                    [_resized(mask, size, Image.Resampling.NEAREST) for mask in masks]
                    for _, masks in part
                ]
            ).astype(bool),
        )


def _resized(array: NDArray, size: int, filter_: Image.Resampling) -> NDArray:
    return np.asarray(Image.fromarray(array).resize((size, size), filter_))
