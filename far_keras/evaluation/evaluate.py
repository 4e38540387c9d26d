"""Measures saved models on one split, with intervals, next to a baseline and the majority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far_keras.calibration import Calibration
from far_keras.errors import DatasetError, ModelError
from far_keras.evaluation.bootstrap import (
    Estimate,
    ThresholdedProbabilities,
    estimate,
    estimate_means,
    resample_scores,
)
from far_keras.evaluation.metrics import (
    MASK_METRICS,
    attribute_scores,
    calibration_metrics,
    majority_baseline,
    mean_over_attributes,
    prevalence,
)
from far_keras.evaluation.predict import predict_split
from far_keras.schema import MISSING

if TYPE_CHECKING:
    from far_keras.datasets.records import Manifest
    from far_keras.models.storage import LoadedModel

__all__ = [
    "EVALUATION_METRICS",
    "MAJORITY",
    "Difference",
    "EvaluatedModel",
    "EvaluatedSplit",
    "Evaluation",
    "ModelScores",
    "describe_data",
    "evaluate",
    "evaluate_masks",
    "load_models",
    "open_split",
    "person_clusters",
    "score_predictions",
]

EVALUATION_METRICS: dict[str, tuple[str, bool]] = {
    "accuracy": ("accuracy", False),
    "balanced_accuracy": ("balanced_accuracy", True),
    "roc_auc": ("roc_auc", True),
    "f1": ("f1", True),
    "accuracy_at_thresholds": ("accuracy", True),
    "balanced_accuracy_at_half": ("balanced_accuracy", False),
    "f1_at_half": ("f1", False),
}
"""Metrics of an evaluation: the metric of `attribute_scores`, and whether it is taken at the fitted
thresholds. Accuracy counts the more probable class (probability >= 0.5); balanced accuracy and F1
count the decisions at the thresholds that were fitted on the validation split; the last three are
the other way round. See docs/evaluation.md."""

MAJORITY = "majority"
"""Name of the baseline that ignores the image."""

MaskEstimates = dict[str, dict[str, dict[str, Estimate]]]
"""By source of the masks compared with ("landmarks", "true"), then by one of `MASK_METRICS`, then
by group, and under "mean" the mean over groups."""


@dataclass(frozen=True)
class ModelScores:
    """Scores of one model.

    Args:
        name: What reports call it.
        folder: Where it was loaded from; "" for the majority.
        mean: By metric, the mean over the attributes that define it.
        attributes: By attribute, then by metric.
        thresholds: By attribute.
        masks: Of the masks that it predicts; empty without.
        calibration: See `far_keras.evaluation.metrics.calibration_metrics`; None if not known.
    """

    name: str
    folder: str
    mean: dict[str, Estimate] = field(default_factory=dict)
    attributes: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    masks: MaskEstimates = field(default_factory=dict)
    calibration: Mapping[str, float] | None = None

    @property
    def mask_iou(self) -> dict[str, Estimate] | None:
        """Against the landmark masks, by group and under "mean"; None without masks."""
        return self.masks["landmarks"]["iou"] if self.masks else None


@dataclass(frozen=True)
class Difference:
    """Scores of `first` minus those of `second`, with intervals of the paired difference."""

    first: str
    second: str
    mean: dict[str, Estimate]
    attributes: dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured on one split.

    Args:
        data: Which images: records, name, split, images (their number), identities, synthetic,
            resampled (what the intervals resample), resamples, least (labels of each class that an
            attribute needs to count in the means), given_masks (which masks of the records the
            networks with given masks read, by name).
        models: First the given models, then the baseline if any, then the majority.
        attributes: Names, in the schema's order; none where only masks were measured.
        prevalence: By attribute, the share of "yes" among the known labels; NaN if none is known.
        known: By attribute, the number of known labels.
        differences: Of each model to the next one that is not the majority.
    """

    data: dict[str, Any]
    models: tuple[ModelScores, ...]
    attributes: tuple[str, ...] = ()
    prevalence: dict[str, float] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()

    @property
    def undefined(self) -> tuple[str, ...]:
        """Attributes with labels of one class only, or none: left out of AUC and its mean."""
        return tuple(
            name
            for name in self.attributes
            if not np.isfinite(self.models[0].attributes[name]["roc_auc"].value)
        )

    @property
    def scarce(self) -> tuple[str, ...]:
        """Attributes with 1 to 9 labels of the rarer class: too few for an honest interval."""
        rarer = {
            name: round(min(share, 1 - share) * self.known[name])
            for name, share in self.prevalence.items()
            if self.known[name]
        }
        return tuple(name for name, count in rarer.items() if 1 <= count < 10)

    def model(self, name: str) -> ModelScores:
        """Scores of one model; KeyError lists the names."""
        for scores in self.models:
            if scores.name == name:
                return scores
        raise KeyError(f"no model {name!r}; there are {[scores.name for scores in self.models]}")


def describe_data(data: Mapping[str, Any]) -> str:
    """One line about the images that were measured, from `Evaluation.data`."""
    kind = "synthetic (rendered) faces" if data.get("synthetic") else "images"
    people = f" of {data['identities']:,} persons" if data.get("identities") else ""
    units = "identities" if data["resampled"] == "identities" else "images"
    return (
        f"{data.get('images', 0):,} {kind}{people}, {data.get('split', '?')} split of "
        f"{data.get('name', '?')!r}; 95% intervals by resampling {units}"
    )


@dataclass(frozen=True)
class EvaluatedModel:
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
class EvaluatedSplit:
    """The images that are measured on.

    Args:
        manifest: Of the records.
        clusters: (N,) what is resampled together: a person's images; None resamples images.
        data: What reports write about them.
    """

    manifest: Manifest
    clusters: NDArray[np.int64] | None
    data: dict[str, Any]


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
        baseline: Folder of the model to compare with; it comes after `models`.
        batch_size: Images per batch.
        least: Labels of each class that an attribute needs to count in the means.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the resampling.
        progress: Show a progress bar per model, on standard error.

    Raises:
        ModelError: A folder holds no model, a model is given twice, or the models do not
            predict the same attributes.
        DatasetError: The records are missing, incomplete, lack an attribute or the split.
    """
    from far_keras.datasets.records import read_table_of_records

    folders = [models] if isinstance(models, str | Path) else list(models)
    measured = open_split(records, split)
    evaluated = load_models([*folders, *([] if baseline is None else [baseline])])
    schema = evaluated[0].loaded.schema
    predictions, masks, given_masks, calibration = {}, {}, {}, {}
    labels = np.zeros((0, 0), np.int8)
    for each in evaluated:
        name, model = each.name, each.loaded
        if model.config.task != "attributes":
            raise ModelError(
                f"{each.folder}: expected a model that predicts attributes. Received: a mask "
                "network alone; measure it with `evaluate_masks`"
            )
        if model.schema.attributes != schema.attributes:
            raise ModelError(
                f"{each.folder}: expected the attributes of {evaluated[0].folder}, to compare "
                f"the two. Received: {schema.difference(model.schema)}"
            )
        title = f"predicting {name}" if progress else None
        predicted = predict_split(model, records, split, batch_size=batch_size, title=title)
        if predicted.given_masks:
            given_masks[name] = predicted.given_masks
        labels = predicted.labels
        thresholds = np.array([model.thresholds[name] for name in schema.attributes], float)
        predictions[name] = ThresholdedProbabilities(predicted.probabilities, thresholds)
        plain = Calibration().probabilities(predicted.logits, schema.attributes)
        calibration[name] = calibration_metrics(labels, plain, predicted.probabilities)
        if predicted.masks:
            masks[name] = (model.schema.group_names, predicted.masks)
    if measured.manifest.count("train"):
        columns = [measured.manifest.attributes.index(name) for name in schema.attributes]
        majority = majority_baseline(read_table_of_records(records, "train").labels[:, columns])
        predictions[MAJORITY] = ThresholdedProbabilities(
            np.broadcast_to(majority, labels.shape), np.full(len(majority), 0.5)
        )
    return score_predictions(
        schema.attributes,
        labels,
        predictions,
        masks=masks,
        calibration=calibration,
        folders={each.name: each.folder for each in evaluated},
        identities=measured.clusters,
        least=least,
        resamples=resamples,
        seed=seed,
        data={
            **measured.data,
            # Of the models' attributes.
            "images_without_labels": int((labels == MISSING).all(axis=1).sum()),
            # Networks with given masks read these masks of the records themselves.
            "given_masks": given_masks,
        },
    )


def evaluate_masks(
    models: str | Path | Sequence[str | Path],
    records: str | Path,
    split: str = "test",
    *,
    batch_size: int = 32,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Measures only the masks that one or more saved models predict, also mask networks alone.

    They are compared with the masks from landmarks, and with the true regions where the records
    have them.

    Args:
        models: Folder of a saved model, or several.
        records: Folder that `far_keras.datasets.annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        batch_size: Images per batch.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the resampling.
        progress: Show a progress bar per model, on standard error.

    Raises:
        ModelError: A folder holds no model, a model is given twice, or it predicts no masks.
        DatasetError: The records are missing, incomplete, or lack an attribute or the split.
    """
    measured = open_split(records, split)
    drawing: Any = {"resamples": resamples, "seed": seed, "identities": measured.clusters}
    scores = []
    for each in load_models([models] if isinstance(models, str | Path) else list(models)):
        loaded = each.loaded
        if "masks" not in loaded.model.output:
            raise ModelError(
                f"{each.folder}: expected a model that predicts masks. "
                f"Received: {loaded.config.variant!r}, which predicts none"
            )
        title = f"predicting {each.name}" if progress else None
        predicted = predict_split(loaded, records, split, batch_size=batch_size, title=title)
        masks = _estimate_masks(loaded.schema.group_names, predicted.masks, drawing)
        scores.append(ModelScores(each.name, each.folder, masks=masks))
    return Evaluation({**measured.data, "resamples": resamples}, tuple(scores))


def score_predictions(
    attributes: Sequence[str],
    labels: NDArray[Any],
    predictions: Mapping[str, ThresholdedProbabilities],
    *,
    masks: Mapping[str, tuple[Sequence[str], Mapping[str, NDArray[Any]]]] | None = None,
    calibration: Mapping[str, Mapping[str, float]] | None = None,
    folders: Mapping[str, str] | None = None,
    identities: NDArray[Any] | None = None,
    data: Mapping[str, object] | None = None,
    least: int = 0,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Scores predictions; `evaluate` makes them with saved models.

    Args:
        attributes: A names.
        labels: (N, A), 1, 0 or `MISSING`.
        predictions: By name, in the order of the report; `MAJORITY` last.
        masks: By name, group names, and mask scores (N, 3, G) by source, see
            `far_keras.evaluation.predict.SplitPredictions`.
        calibration: By name, what `calibration_metrics` returned.
        folders: By name, where the model came from.
        identities: (N,) for resampling whole persons; None resamples images.
        data: Which images these are, see `Evaluation`.
        least: Labels of each class that an attribute needs to count in the means.
        resamples: Bootstrap resamples.
        seed: Of the resampling.
    """
    masks, folders = masks or {}, folders or {}
    at_half = {
        name: ThresholdedProbabilities(each.probabilities, np.full_like(each.thresholds, 0.5))
        for name, each in predictions.items()
    }
    drawing: Any = {"resamples": resamples, "seed": seed, "identities": identities}
    drawn = [resample_scores(labels, which, **drawing) for which in (at_half, predictions)]
    points, samples = {}, {}
    for name in predictions:
        exact = [
            attribute_scores(labels, which[name].probabilities, which[name].thresholds)
            for which in (at_half, predictions)
        ]
        metrics = EVALUATION_METRICS.items()
        points[name] = {key: exact[fitted][metric] for key, (metric, fitted) in metrics}
        samples[name] = {key: drawn[fitted][name][metric] for key, (metric, fitted) in metrics}
    counted = np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0)) >= least
    models = []
    for name, model in predictions.items():
        mean, each = _estimates(attributes, counted, points[name], samples[name])
        overlaps = _estimate_masks(*masks[name], drawing) if name in masks else {}
        thresholds = dict(zip(attributes, map(float, model.thresholds), strict=True))
        calibrated = (calibration or {}).get(name)
        folder = folders.get(name, "")
        models.append(ModelScores(name, folder, mean, each, thresholds, overlaps, calibrated))
    differences = []
    for first, second in pairwise(name for name in predictions if name != MAJORITY):
        mean, each = _estimates(
            attributes,
            counted,
            {key: points[first][key] - points[second][key] for key in EVALUATION_METRICS},
            {key: samples[first][key] - samples[second][key] for key in EVALUATION_METRICS},
        )
        differences.append(Difference(first, second, mean, each))
    share, known = prevalence(labels)
    return Evaluation(
        data={
            **(data or {}),
            "resampled": "images" if identities is None else "identities",
            "resamples": resamples,
            "least": least,
        },
        attributes=tuple(attributes),
        prevalence=dict(zip(attributes, map(float, share), strict=True)),
        known=dict(zip(attributes, map(int, known), strict=True)),
        models=tuple(models),
        differences=tuple(differences),
    )


def _estimates(
    attributes: Sequence[str],
    counted: NDArray[Any],
    points: Mapping[str, NDArray[Any]],
    samples: Mapping[str, NDArray[Any]],
) -> tuple[dict[str, Estimate], dict[str, dict[str, Estimate]]]:
    """Means over the `counted` (A,) attributes, and each attribute's estimates.

    By metric, from point values (A,) and their resamples (R, A).
    """
    mean: dict[str, Estimate] = {}
    each: dict[str, dict[str, Estimate]] = {name: {} for name in attributes}
    for key, values in points.items():
        # Where an attribute is undefined on the images themselves it has no interval either.
        drawn = np.where(np.isfinite(values), samples[key], np.nan)
        for a, name in enumerate(attributes):
            each[name][key] = estimate(values[a], drawn[:, a])
        mean[key] = estimate(
            mean_over_attributes(values[counted]), mean_over_attributes(drawn[:, counted])
        )
    return mean, each


def _estimate_masks(
    groups: Sequence[str], scores: Mapping[str, NDArray[Any]], drawing: Mapping[str, Any]
) -> MaskEstimates:
    """Means over images of scores (N, 3, G) by source."""
    return {
        source: {
            metric: estimate_means(groups, values[:, row], **drawing)
            for row, metric in enumerate(MASK_METRICS)
        }
        for source, values in scores.items()
    }


def load_models(folders: Sequence[str | Path]) -> list[EvaluatedModel]:
    """Loads models. They are named by their variants; where these repeat, by their folders.

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
                f"{folders[places.index(place)]} too; the difference of a model to itself is "
                "always 0"
            )
    loaded = [load_model(folder) for folder in folders]
    names = _names(folders, [model.config.variant for model in loaded])
    return [EvaluatedModel(*each) for each in zip(names, map(str, folders), loaded, strict=True)]


def open_split(records: str | Path, split: str) -> EvaluatedSplit:
    """Reads what is known about a split's images.

    Raises:
        DatasetError: The records are missing or incomplete, or the split is empty.
    """
    from far_keras.datasets.records import read_manifest, read_table_of_records

    manifest = read_manifest(records)
    table = read_table_of_records(records, split)
    if not table.files:
        raise DatasetError(f"{records}: the split {split!r} has no images to measure on")
    clusters, persons = person_clusters(table.identities)
    data = {
        "records": str(records),
        "name": manifest.name,
        "split": split,
        "images": len(table.files),
        "images_without_labels": int((table.labels == MISSING).all(axis=1).sum()),
        "identities": persons,
        # Only rendered sets have true regions.
        "synthetic": manifest.true_masks,
        "resampled": "identities" if persons else "images",
    }
    return EvaluatedSplit(manifest, clusters if persons else None, data)


def person_clusters(identities: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Which images are resampled together.

    Args:
        identities: (N,), below 0 where the person is unknown.

    Returns:
        (N,) cluster numbers, and the number of persons; an image of an unknown person counts as a
        person. 0 if no person is known.
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
