"""Compares exported files with the network that they were made of, on a whole split."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far_keras.calibration import sigmoid
from far_keras.console import progress_bar
from far_keras.errors import DatasetError
from far_keras.evaluation.bootstrap import (
    Estimate,
    ThresholdedProbabilities,
    estimate,
    resample_means,
    resample_scores,
)
from far_keras.evaluation.evaluate import person_clusters
from far_keras.evaluation.metrics import attribute_scores, mask_iou, mean_over_attributes
from far_keras.files import write_atomically
from far_keras.schema import MISSING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from far_keras.models.storage import LoadedModel

__all__ = ["FileParity", "Parity", "measure_parity", "parity_table", "write_parity"]

_KERAS = "Keras"


@dataclass(frozen=True)
class FileParity:
    """One file compared with its network, on the same images.

    Args:
        name: Of the file in the report.
        path: The file.
        size: Its bytes.
        difference: Mean over images and attributes of the probabilities' absolute difference.
        largest_difference: The greatest of these.
        mask_difference: Mean absolute difference of the masks' probabilities; NaN without masks.
        agreement: By attribute, the share of images with the same decision.
        accuracy: Of the decisions at the thresholds, mean over attributes, with its 95% interval.
        accuracy_change: Accuracy less the network's, with the paired interval.
        mask_iou: Mean over groups of the overlap with landmark masks; None without masks.
        mask_iou_change: That less the network's; None without masks.
    """

    name: str
    path: str
    size: int
    difference: float
    largest_difference: float
    mask_difference: float
    agreement: dict[str, float]
    accuracy: Estimate
    accuracy_change: Estimate
    mask_iou: Estimate | None
    mask_iou_change: Estimate | None

    @property
    def mean_agreement(self) -> float:
        """Share of all decisions that are the same."""
        return float(np.mean(list(self.agreement.values())))


@dataclass(frozen=True)
class Parity:
    """Files compared with the network that they were made of.

    Args:
        records: The folder of records.
        split: Which images of it.
        images: Number of images.
        accuracy: The network's, of its decisions at the thresholds, with its 95% interval.
        mask_iou: The network's, mean over groups; None without masks.
        untrained: Attributes that were not trained: their decisions are noise.
        files: One per file.
    """

    records: str
    split: str
    images: int
    accuracy: Estimate
    mask_iou: Estimate | None
    untrained: tuple[str, ...]
    files: list[FileParity]


def measure_parity(
    loaded: LoadedModel,
    files: Mapping[str, str | Path],
    records: str | Path,
    split: str = "test",
    *,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Parity:
    """Compares .tflite files with the network that they were made of, on a split of records.

    Args:
        loaded: The network.
        files: .tflite files by their name in the report.
        records: Folder that `far-keras annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the resampling.
        progress: Show a progress bar on standard error.

    Raises:
        ModelError: A file is unusable, or predicts another schema.
        DatasetError: The records are missing, incomplete, lack an attribute or the split.
    """
    from far_keras.datasets.records import read_table_of_records
    from far_keras.export.litert import load_tflite

    models = {name: load_tflite(path, loaded.schema) for name, path in files.items()}
    labels, masks, predictions = _predict(loaded, models, records, split, progress)
    if not labels.size or (labels == MISSING).all():
        raise DatasetError(f"{records}: the split {split!r} has no labels to measure on")
    clusters = person_clusters(read_table_of_records(records, split).identities)[0]
    drawing: Any = {"resamples": resamples, "seed": seed, "identities": clusters}

    attributes = loaded.schema.attributes
    thresholds = np.array([loaded.thresholds[name] for name in attributes])
    models_scored = {
        name: ThresholdedProbabilities(each["attributes"], thresholds)
        for name, each in predictions.items()
    }
    drawn = resample_scores(labels, models_scored, **drawing)
    # By model, a value and its resamples.
    accuracy: dict[str, tuple[Any, NDArray[Any]]] = {}
    overlap: dict[str, tuple[Any, NDArray[Any]]] = {}
    for name, each in predictions.items():
        exact = attribute_scores(labels, each["attributes"], thresholds)["accuracy"]
        accuracy[name] = (
            mean_over_attributes(exact),
            mean_over_attributes(drawn[name]["accuracy"]),
        )
        if masks is not None:
            iou = mask_iou(masks, each["masks"])
            overlap[name] = (
                mean_over_attributes(np.nanmean(iou, axis=0)),
                mean_over_attributes(resample_means(iou, **drawing)),
            )

    def change(scores: dict[str, tuple[Any, NDArray[Any]]], name: str) -> Estimate:
        value, samples = scores[name]
        return estimate(value - scores[_KERAS][0], samples - scores[_KERAS][1])

    network = predictions[_KERAS]
    compared = []
    for name, path in files.items():
        probabilities = predictions[name]["attributes"]
        apart = np.abs(probabilities - network["attributes"])
        same = (probabilities >= thresholds) == (network["attributes"] >= thresholds)
        mask_difference = math.nan
        if masks is not None:
            mask_difference = float(np.abs(predictions[name]["masks"] - network["masks"]).mean())
        compared.append(
            FileParity(
                name=name,
                path=str(path),
                size=Path(path).stat().st_size,
                difference=float(apart.mean()),
                largest_difference=float(apart.max()),
                mask_difference=mask_difference,
                agreement=dict(zip(attributes, map(float, same.mean(axis=0)), strict=True)),
                accuracy=estimate(*accuracy[name]),
                accuracy_change=change(accuracy, name),
                mask_iou=estimate(*overlap[name]) if overlap else None,
                mask_iou_change=change(overlap, name) if overlap else None,
            )
        )
    return Parity(
        records=str(records),
        split=split,
        images=len(labels),
        accuracy=estimate(*accuracy[_KERAS]),
        mask_iou=estimate(*overlap[_KERAS]) if overlap else None,
        untrained=loaded.untrained,
        files=compared,
    )


def parity_table(parity: Parity) -> RenderableType:
    """The comparison as a table for `rich`."""
    from rich.table import Table

    table = Table(title=f"{parity.images} images of the split {parity.split!r}, in percent")
    table.add_column("file")
    for column in ("difference", "same", "least the same", "accuracy", "change", "mask IoU"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row(
        _KERAS, "", "", "", _percent(parity.accuracy), "", _percent(parity.mask_iou, brief=True)
    )
    for file in parity.files:
        trained = [name for name in file.agreement if name not in parity.untrained]
        least = min(trained, key=lambda name: file.agreement[name])
        table.add_row(
            file.name,
            f"{100 * file.difference:.2g}",
            f"{100 * file.mean_agreement:.2f}",
            f"{100 * file.agreement[least]:.1f} {least}",
            _percent(file.accuracy),
            _percent(file.accuracy_change),
            f"{_percent(file.mask_iou, brief=True)} ({_percent(file.mask_iou_change, brief=True)})"
            if file.mask_iou
            else "",
        )
    return table


def write_parity(parity: Parity, folder: str | Path) -> Path:
    """Writes ``parity.json`` and returns its path."""
    data = asdict(parity)
    for file, parts in zip(parity.files, data["files"], strict=True):
        parts["mean_agreement"] = file.mean_agreement
        if not math.isfinite(file.mask_difference):
            parts["mask_difference"] = None
    path = Path(folder) / "parity.json"
    write_atomically(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
    return path


def _predict(
    loaded: LoadedModel,
    models: Mapping[str, Any],
    records: str | Path,
    split: str,
    progress: bool,
) -> tuple[NDArray[np.int8], NDArray[Any] | None, dict[str, dict[str, NDArray[Any]]]]:
    """Labels (N, A), masks (N, h, w, G) or None, and by model the probabilities of each output."""
    from far_keras.datasets.pipeline import load_records
    from far_keras.models.storage import compile_forward, mask_size

    side = mask_size(loaded.model)
    batches = load_records(
        records,
        split,
        schema=loaded.schema,
        image_size=loaded.image_size,
        mask_size=side or 32,
        masks="landmarks" if side else None,
        cache=False,
    )
    forward = compile_forward(loaded.model)

    def network(images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        logits = forward(images)
        outputs = {
            "attributes": loaded.calibration.probabilities(
                logits["attributes"], loaded.schema.attributes
            )
        }
        if "masks" in logits:
            outputs["masks"] = sigmoid(logits["masks"])
        return outputs

    runs = {_KERAS: network, **models}
    labels, masks = [], []
    parts: dict[str, list[dict[str, NDArray[Any]]]] = {name: [] for name in runs}
    with progress_bar(progress) as bar:
        count = int(batches.cardinality())
        for images, truth in bar.track(batches, total=count, description="comparing"):
            labels.append(truth["attributes"].numpy().astype(np.int8))
            if side:
                masks.append(truth["masks"].numpy())
            for name, run in runs.items():
                parts[name].append(run(images.numpy()))
    predictions = {
        name: {key: np.concatenate([part[key] for part in each]) for key in each[0]}
        for name, each in parts.items()
    }
    return np.concatenate(labels), np.concatenate(masks) if masks else None, predictions


def _percent(score: Estimate | None, brief: bool = False) -> str:
    if score is None:
        return ""
    value, low, high = (100 * part for part in (score.value, score.low, score.high))
    return f"{value:.2f}" if brief else Estimate(value, low, high).format(2)
