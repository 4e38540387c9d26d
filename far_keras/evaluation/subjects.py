"""What an evaluation is of: the stored models, each once, and the images of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far_keras.errors import DatasetError, ModelError
from far_keras.schema import MISSING

if TYPE_CHECKING:
    from far_keras.datasets.manifest import Manifest
    from far_keras.models.storage import LoadedModel

__all__ = ["Pictures", "Subject", "load_subjects", "open_pictures", "person_clusters"]


@dataclass(frozen=True)
class Subject:
    """A model in an evaluation.

    Args:
        name: What reports call it.
        folder: Where it was loaded from.
        loaded: The model.
    """

    name: str
    folder: str
    loaded: LoadedModel


@dataclass(frozen=True)
class Pictures:
    """The images that are measured on.

    Args:
        manifest: Of the records.
        clusters: (N,) what is resampled together: a person's images; None resamples images.
        data: What reports say of them.
    """

    manifest: Manifest
    clusters: NDArray[np.int64] | None
    data: dict[str, Any]


def load_subjects(folders: Sequence[str | Path]) -> list[Subject]:
    """Loads models. They are called by their variants; where these repeat, by their folders.

    Raises:
        ModelError: There is none, a folder holds no model, or one is given twice.
    """
    from far_keras.models.storage import load_model

    if not folders:
        raise ModelError("models: expected the folder of at least one saved model. Received: none")
    places = [Path(folder).resolve() for folder in folders]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise ModelError(
                f"models: expected each model once. Received: {folders[index]} twice, as "
                f"{folders[places.index(place)]} too; the difference of a model to itself says "
                "nothing"
            )
    loaded = [load_model(folder) for folder in folders]
    names = _names(folders, [model.config.variant for model in loaded])
    return [Subject(*each) for each in zip(names, map(str, folders), loaded, strict=True)]


def open_pictures(records: str | Path, split: str) -> Pictures:
    """Looks a split up.

    Raises:
        DatasetError: The records are missing or incomplete, or the split is empty.
    """
    from far_keras.datasets.manifest import read_manifest
    from far_keras.datasets.records import read_table_of_records

    manifest = read_manifest(records)
    table = read_table_of_records(records, split)
    if not table.files:
        raise DatasetError(f"{records}: the split {split!r} has no images to measure on")
    clusters, persons = person_clusters(table.identities)
    data = {
        "records": str(records),
        "name": manifest.name,
        "split": split,
        "pictures": len(table.files),
        "pictures_without_labels": int((table.labels == MISSING).all(axis=1).sum()),
        "identities": persons,
        # Only rendered sets have true regions.
        "synthetic": manifest.true_masks,
        "resampled": "identities" if persons else "pictures",
    }
    return Pictures(manifest, clusters if persons else None, data)


def person_clusters(identities: NDArray) -> tuple[NDArray[np.int64], int]:
    """What is resampled together.

    Args:
        identities: (N,), below 0 where the person is not known.

    Returns:
        (N,) cluster numbers, and how many persons that makes: whoever is not known is a person
        of their own. 0 if nobody is known.
    """
    unknown = identities < 0
    clusters = identities.astype(np.int64).copy()
    clusters[unknown] = -1 - np.arange(unknown.sum())
    return clusters, 0 if unknown.all() else len(np.unique(clusters))


def _names(folders: Sequence[str | Path], variants: Sequence[str]) -> list[str]:
    for names in (list(variants), [Path(folder).name for folder in folders]):
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
