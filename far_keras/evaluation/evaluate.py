"""Measures models on one split, with intervals, beside a baseline and the majority's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from far_keras.errors import DatasetError, ModelError
from far_keras.evaluation.answers import answer_split
from far_keras.evaluation.bootstrap import Answers
from far_keras.evaluation.calibration import calibration_figures
from far_keras.evaluation.figures import MAJORITY, Evaluation, score
from far_keras.evaluation.scores import majority_answer
from far_keras.models.calibration import Calibration
from far_keras.schema import MISSING, AttributeSchema

if TYPE_CHECKING:
    from far_keras.datasets.pipeline import MaskSource

__all__ = ["evaluate"]


def evaluate(
    models: str | Path | Sequence[str | Path],
    records: str | Path,
    split: str = "test",
    baseline: str | Path | None = None,
    *,
    batch_size: int = 32,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Measures one or more saved models on a split of a folder of records.

    Args:
        models: Folder of a saved model, or several.
        records: Folder that `far_keras.datasets.annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        baseline: Folder of the model to stand beside; it comes after `models`.
        batch_size: Pictures at once.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the resampling.
        progress: Show a progress bar a model, on standard error.

    Raises:
        ModelError: A folder holds no model, or the models do not answer the same attributes.
        DatasetError: The records are missing, incomplete, lack an attribute or the split.
    """
    from far_keras.datasets.manifest import read_manifest
    from far_keras.datasets.records import read_table_of_records
    from far_keras.models.inputs import given_mask_size
    from far_keras.models.storage import load_model

    folders = [models] if isinstance(models, str | Path) else list(models)
    folders += [baseline] if baseline is not None else []
    if not folders:
        raise ModelError("models: expected the folder of at least one saved model. Received: none")
    manifest = read_manifest(records)
    table = read_table_of_records(records, split)
    if not table.files:
        raise DatasetError(f"{records}: the split {split!r} has no pictures to measure on")
    schema: AttributeSchema | None = None
    answers, iou, fed, calibration = {}, {}, {}, {}
    labels = np.zeros((0, 0), np.int8)
    loaded = [load_model(folder) for folder in folders]
    names = _names(folders, [model.config.variant for model in loaded])
    for name, folder, model in zip(names, folders, loaded, strict=True):
        schema = model.schema if schema is None else schema
        if model.schema.attributes != schema.attributes:
            raise ModelError(
                f"{folder}: expected the attributes of {folders[0]}, to compare the two. "
                f"Received: {schema.difference(model.schema)}"
            )
        given = cast("MaskSource", model.provenance.get("config", {}).get("masks", "landmarks"))
        said = answer_split(
            model.model,
            model.schema,
            records,
            split,
            batch_size=batch_size,
            title=f"answering {name}" if progress else None,
            given_masks=given,
            calibration=model.calibration,
        )
        if given_mask_size(model.model):
            fed[name] = given
        labels = said.labels
        answers[name] = Answers(said.probabilities, _in_order(model.thresholds, schema))
        plain = Calibration().probabilities(said.logits, schema.attributes)
        calibration[name] = calibration_figures(labels, plain, said.probabilities)
        if said.iou is not None:
            iou[name] = (model.schema.group_names, said.iou)
    assert schema is not None
    if manifest.count("train"):
        columns = [manifest.attributes.index(name) for name in schema.attributes]
        majority = majority_answer(read_table_of_records(records, "train").labels[:, columns])
        answers[MAJORITY] = Answers(
            np.broadcast_to(majority, labels.shape), np.full(len(majority), 0.5)
        )
    identities, known_identities = _clusters(table.identities)
    return score(
        schema.attributes,
        labels,
        answers,
        iou=iou,
        calibration=calibration,
        folders=dict(zip(names, map(str, folders), strict=True)),
        identities=identities if known_identities else None,
        resamples=resamples,
        seed=seed,
        data={
            "records": str(records),
            "name": manifest.name,
            "split": split,
            "pictures": len(labels),
            "pictures_without_labels": int((labels == MISSING).all(axis=1).sum()),
            "identities": known_identities,
            # Only rendered sets have true regions.
            "synthetic": manifest.true_masks,
            # Networks with given masks read these masks of the records themselves.
            "given_masks": fed,
        },
    )


def _in_order(thresholds: Mapping[str, float], schema: AttributeSchema) -> NDArray:
    return np.array([thresholds[name] for name in schema.attributes], float)


def _clusters(identities: NDArray) -> tuple[NDArray, int]:
    """Cluster numbers, an unknown person being one of its own, and the number of known persons."""
    unknown = identities < 0
    clusters = identities.astype(np.int64).copy()
    clusters[unknown] = -1 - np.arange(unknown.sum())
    return clusters, len(np.unique(identities[~unknown]))


def _names(folders: Sequence[str | Path], variants: Sequence[str]) -> list[str]:
    """The variants' names; where they repeat, the folders' names, then the folders."""
    for names in (list(variants), [Path(folder).name for folder in folders]):
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
