"""Measures models on one split, with intervals, beside a baseline and the majority's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from far_keras.calibration import Calibration
from far_keras.errors import ModelError
from far_keras.evaluation.answers import answer_split
from far_keras.evaluation.bootstrap import Answers
from far_keras.evaluation.calibration import calibration_figures
from far_keras.evaluation.figures import MAJORITY, Evaluation, score
from far_keras.evaluation.scores import majority_answer
from far_keras.evaluation.subjects import load_subjects, open_pictures
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
    least: int = 0,
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
        batch_size: Images at once.
        least: Labels of each class that an attribute needs to count in the means.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the resampling.
        progress: Show a progress bar a model, on standard error.

    Raises:
        ModelError: A folder holds no model, a model is given twice, or the models do not answer
            the same attributes.
        DatasetError: The records are missing, incomplete, lack an attribute or the split.
    """
    from far_keras.datasets.records import read_table_of_records
    from far_keras.models.storage import given_mask_size

    folders = [models] if isinstance(models, str | Path) else list(models)
    pictures = open_pictures(records, split)
    subjects = load_subjects([*folders, *([] if baseline is None else [baseline])])
    schema = subjects[0].loaded.schema
    answers, masks, fed, calibration = {}, {}, {}, {}
    labels = np.zeros((0, 0), np.int8)
    for subject in subjects:
        name, model = subject.name, subject.loaded
        if model.config.task != "attributes":
            raise ModelError(
                f"{subject.folder}: expected a model that answers attributes. Received: a mask "
                "network alone; measure it with far_keras.evaluation.evaluate_masks"
            )
        if model.schema.attributes != schema.attributes:
            raise ModelError(
                f"{subject.folder}: expected the attributes of {subjects[0].folder}, to compare "
                f"the two. Received: {schema.difference(model.schema)}"
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
        if said.masks:
            masks[name] = (model.schema.group_names, said.masks)
    if pictures.manifest.count("train"):
        columns = [pictures.manifest.attributes.index(name) for name in schema.attributes]
        majority = majority_answer(read_table_of_records(records, "train").labels[:, columns])
        answers[MAJORITY] = Answers(
            np.broadcast_to(majority, labels.shape), np.full(len(majority), 0.5)
        )
    return score(
        schema.attributes,
        labels,
        answers,
        masks=masks,
        calibration=calibration,
        folders={subject.name: subject.folder for subject in subjects},
        identities=pictures.clusters,
        least=least,
        resamples=resamples,
        seed=seed,
        data={
            **pictures.data,
            # Of the attributes in question.
            "pictures_without_labels": int((labels == MISSING).all(axis=1).sum()),
            # Networks with given masks read these masks of the records themselves.
            "given_masks": fed,
        },
    )


def _in_order(thresholds: Mapping[str, float], schema: AttributeSchema) -> NDArray:
    return np.array([thresholds[name] for name in schema.attributes], float)
