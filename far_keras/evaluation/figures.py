"""The figures of an evaluation, with intervals, from labels and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from far_keras.evaluation.bootstrap import Answers, Figure, interval, resample_scores
from far_keras.evaluation.mask_figures import MaskFigures, mask_figures
from far_keras.evaluation.scores import attribute_scores, mean_over_attributes, prevalence

__all__ = [
    "FIGURES",
    "MAJORITY",
    "Difference",
    "Evaluation",
    "Figure",
    "ModelScores",
    "describe_data",
    "score",
]

# Figure: (metric of `attribute_scores`, whether it is taken at the model's fitted thresholds)
FIGURES: dict[str, tuple[str, bool]] = {
    "accuracy": ("accuracy", False),
    "balanced_accuracy": ("balanced_accuracy", True),
    "roc_auc": ("roc_auc", True),
    "f1": ("f1", True),
    "accuracy_at_thresholds": ("accuracy", True),
    "balanced_accuracy_at_half": ("balanced_accuracy", False),
    "f1_at_half": ("f1", False),
}
"""The figures of an evaluation. Accuracy is that of the more probable answer (probability >= 0.5),
balanced accuracy and F1 are those of the decisions at the thresholds that were fitted on the
validation split; the last three swap that. See docs/evaluation.md."""

MAJORITY = "majority"
"""Name of the answerer that never looks at the image."""


@dataclass(frozen=True)
class ModelScores:
    """One model's figures.

    Args:
        name: What reports call it.
        folder: Where it was loaded from; "" for the majority.
        mean: By figure, the mean over the attributes that define it.
        attributes: By attribute, then by figure.
        thresholds: By attribute.
        masks: Of the masks that it predicts; empty without.
        calibration: See `far_keras.evaluation.calibration.calibration_figures`; None if not known.
    """

    name: str
    folder: str
    mean: dict[str, Figure]
    attributes: dict[str, dict[str, Figure]]
    thresholds: dict[str, float]
    masks: MaskFigures = field(default_factory=dict)
    calibration: Mapping[str, float] | None = None

    @property
    def mask_iou(self) -> dict[str, Figure] | None:
        """Against the landmark masks, by group and under "mean"; None without masks."""
        return self.masks["landmarks"]["iou"] if self.masks else None


@dataclass(frozen=True)
class Difference:
    """Figures of `first` minus those of `second`, with intervals of the paired difference."""

    first: str
    second: str
    mean: dict[str, Figure]
    attributes: dict[str, dict[str, Figure]]


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured on one split.

    Args:
        data: Which images: records, name, split, images, identities, synthetic, resampled
            (what the intervals resample), resamples, least (labels of each class that an attribute
            needs to count in the means), given_masks (which masks of the records the
            networks with given masks read, by name).
        attributes: Names, in the schema's order.
        prevalence: By attribute, the share of "yes" among the known labels; NaN if none is known.
        known: By attribute, the number of known labels.
        models: First the model in question, then the baseline if any, then the majority.
        differences: Of each model to the next one that is not the majority.
    """

    data: dict[str, Any]
    attributes: tuple[str, ...]
    prevalence: dict[str, float]
    known: dict[str, int]
    models: tuple[ModelScores, ...]
    differences: tuple[Difference, ...]

    @property
    def undefined(self) -> tuple[str, ...]:
        """The attributes with labels of one class only, or none: left out of AUC and its mean."""
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
        """One model's figures; KeyError names those there are."""
        for scores in self.models:
            if scores.name == name:
                return scores
        raise KeyError(f"no model {name!r}; there are {[scores.name for scores in self.models]}")


class _Measured(Protocol):
    @property
    def data(self) -> dict[str, Any]: ...


def describe_data(evaluation: _Measured) -> str:
    """One line that says which images were measured."""
    data = evaluation.data
    kind = "synthetic (rendered) faces" if data.get("synthetic") else "pictures"
    people = f" of {data['identities']:,} persons" if data.get("identities") else ""
    return (
        f"{data.get('pictures', 0):,} {kind}{people}, {data.get('split', '?')} split of "
        f"{data.get('name', '?')!r}; 95% intervals by resampling {data['resampled']}"
    )


def score(
    attributes: Sequence[str],
    labels: NDArray,
    answers: Mapping[str, Answers],
    *,
    masks: Mapping[str, tuple[Sequence[str], Mapping[str, NDArray]]] | None = None,
    calibration: Mapping[str, Mapping[str, float]] | None = None,
    folders: Mapping[str, str] | None = None,
    identities: NDArray | None = None,
    data: Mapping[str, object] | None = None,
    least: int = 0,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Scores answers that are at hand already; `evaluate` does it for saved models.

    Args:
        attributes: A names.
        labels: (N, A), 1, 0 or `MISSING`.
        answers: By name, in the order of the report; `MAJORITY` last.
        masks: By name, group names, and mask scores (N, 3, G) by source, see
            `far_keras.evaluation.answers.SplitAnswers`.
        calibration: By name, what `calibration_figures` gave.
        folders: By name, where the model came from.
        identities: (N,) for resampling whole persons; None resamples images.
        data: Says which images these are.
        least: Labels of each class that an attribute needs to count in the means.
        resamples: Bootstrap resamples.
        seed: Of the resampling.
    """
    masks, folders = masks or {}, folders or {}
    at_half = {name: Answers(a.probabilities, np.full_like(a.thresholds, 0.5))
               for name, a in answers.items()}  # fmt: skip
    drawing: Any = {"resamples": resamples, "seed": seed, "identities": identities}
    drawn = [resample_scores(labels, which, **drawing) for which in (at_half, answers)]
    points, samples = {}, {}
    for name in answers:
        exact = [
            attribute_scores(labels, which[name].probabilities, which[name].thresholds)
            for which in (at_half, answers)
        ]
        points[name] = {key: exact[fitted][metric] for key, (metric, fitted) in FIGURES.items()}
        samples[name] = {
            key: drawn[fitted][name][metric] for key, (metric, fitted) in FIGURES.items()
        }
    counted = np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0)) >= least
    models = []
    for name, model in answers.items():
        mean, each = _figures(attributes, counted, points[name], samples[name])
        overlaps = mask_figures(*masks[name], **drawing) if name in masks else {}
        thresholds = dict(zip(attributes, map(float, model.thresholds), strict=True))
        calibrated = (calibration or {}).get(name)
        folder = folders.get(name, "")
        models.append(ModelScores(name, folder, mean, each, thresholds, overlaps, calibrated))
    differences = []
    for first, second in pairwise(name for name in answers if name != MAJORITY):
        mean, each = _figures(
            attributes,
            counted,
            {key: points[first][key] - points[second][key] for key in FIGURES},
            {key: samples[first][key] - samples[second][key] for key in FIGURES},
        )
        differences.append(Difference(first, second, mean, each))
    share, known = prevalence(labels)
    return Evaluation(
        data={
            **(data or {}),
            "resampled": "pictures" if identities is None else "identities",
            "resamples": resamples,
            "least": least,
        },
        attributes=tuple(attributes),
        prevalence=dict(zip(attributes, map(float, share), strict=True)),
        known=dict(zip(attributes, map(int, known), strict=True)),
        models=tuple(models),
        differences=tuple(differences),
    )


def _figures(
    attributes: Sequence[str],
    counted: NDArray,
    points: Mapping[str, NDArray],
    samples: Mapping[str, NDArray],
) -> tuple[dict[str, Figure], dict[str, dict[str, Figure]]]:
    """Means and per-attribute figures of point values (A,) and their resamples (R, A).

    Only attributes that are `counted`, (A,), go into the means.
    """
    mean: dict[str, Figure] = {}
    each: dict[str, dict[str, Figure]] = {name: {} for name in attributes}
    for key, values in points.items():
        # Where an attribute is undefined on the images themselves it has no interval either.
        drawn = np.where(np.isfinite(values), samples[key], np.nan)
        low, high = interval(drawn)
        for a, name in enumerate(attributes):
            each[name][key] = Figure(float(values[a]), float(low[a]), float(high[a]))
        low, high = interval(mean_over_attributes(drawn[:, counted]))
        centre = float(mean_over_attributes(values[counted]))
        mean[key] = Figure(centre, float(low), float(high))
    return mean, each
