"""Does an exported file answer what the network answers that it was made of?

Measured on a whole split: one image says nothing of decisions near their thresholds, nor of
accuracy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from far_keras.errors import DatasetError
from far_keras.evaluation.bootstrap import (
    Answers,
    interval,
    resample_means,
    resample_scores,
)
from far_keras.evaluation.figures import Figure
from far_keras.evaluation.formatting import format_figure
from far_keras.evaluation.scores import attribute_scores, mask_iou, mean_over_attributes
from far_keras.files import atomic_path
from far_keras.schema import MISSING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from far_keras.models.storage import LoadedModel

__all__ = ["PARITY_FILE", "FileParity", "Parity", "measure_parity", "parity_table", "write_parity"]

PARITY_FILE = "parity.json"
_KERAS = "Keras"


@dataclass(frozen=True)
class FileParity:
    """One file beside the network it was made of, on the same images.

    Args:
        name: What the file is called in the report.
        path: Where it is.
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
    accuracy: Figure
    accuracy_change: Figure
    mask_iou: Figure | None
    mask_iou_change: Figure | None

    @property
    def mean_agreement(self) -> float:
        """Share of all decisions that are the same."""
        return float(np.mean(list(self.agreement.values())))


@dataclass(frozen=True)
class Parity:
    """Files beside the network they were made of.

    Args:
        records: The folder of records.
        split: Which images of it.
        images: How many.
        accuracy: The network's, of its decisions at the thresholds, with its 95% interval.
        mask_iou: The network's, mean over groups; None without masks.
        untrained: Attributes that the network was not taught: their decisions are noise.
        files: One a file.
    """

    records: str
    split: str
    pictures: int
    accuracy: Figure
    mask_iou: Figure | None
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
    """Compares .tflite files with the network they were made of, on a split of records.

    Args:
        loaded: The network.
        files: .tflite files by the name that the report is to use.
        records: Folder that `far-keras annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        resamples: Bootstrap resamples for the intervals.
        seed: Of the resampling.
        progress: Show a progress bar on standard error.

    Raises:
        ModelError: A file is unusable, or answers another schema.
        DatasetError: The records are missing, incomplete, lack an attribute or the split.
    """
    from far_keras.datasets.records import read_table_of_records
    from far_keras.export.litert import load_tflite

    models = {name: load_tflite(path, loaded.schema) for name, path in files.items()}
    labels, masks, said = _answer(loaded, models, records, split, progress)
    if not labels.size or (labels == MISSING).all():
        raise DatasetError(f"{records}: the split {split!r} has no labels to measure on")
    identities = read_table_of_records(records, split).identities.astype(np.int64)
    unknown = identities < 0
    identities[unknown] = -1 - np.arange(unknown.sum())  # each a person of its own
    drawing: Any = {"resamples": resamples, "seed": seed, "identities": identities}

    attributes = loaded.schema.attributes
    thresholds = np.array([loaded.thresholds[name] for name in attributes])
    answers = {name: Answers(each["attributes"], thresholds) for name, each in said.items()}
    drawn = resample_scores(labels, answers, **drawing)
    accuracy = {
        name: (
            mean_over_attributes(attribute_scores(labels, *_pair(each))["accuracy"]),
            mean_over_attributes(drawn[name]["accuracy"]),
        )
        for name, each in answers.items()
    }
    overlap = {}
    if masks is not None:
        for name, each in said.items():
            iou = mask_iou(masks, each["masks"])
            overlap[name] = (
                mean_over_attributes(np.nanmean(iou, axis=0)),
                mean_over_attributes(resample_means(iou, **drawing)),
            )

    network = said[_KERAS]
    compared = []
    for name, path in files.items():
        apart = np.abs(said[name]["attributes"] - network["attributes"])
        same = (said[name]["attributes"] >= thresholds) == (network["attributes"] >= thresholds)
        mask_difference = math.nan
        if masks is not None:
            mask_difference = float(np.abs(said[name]["masks"] - network["masks"]).mean())
        compared.append(
            FileParity(
                name,
                str(path),
                Path(path).stat().st_size,
                float(apart.mean()),
                float(apart.max()),
                mask_difference,
                dict(zip(attributes, map(float, same.mean(axis=0)), strict=True)),
                _figure(*accuracy[name]),
                _change(accuracy[name], accuracy[_KERAS]),
                _figure(*overlap[name]) if overlap else None,
                _change(overlap[name], overlap[_KERAS]) if overlap else None,
            )
        )
    return Parity(
        str(records),
        split,
        len(labels),
        _figure(*accuracy[_KERAS]),
        _figure(*overlap[_KERAS]) if overlap else None,
        loaded.untrained,
        compared,
    )


def parity_table(parity: Parity) -> RenderableType:
    """The comparison as a table for `rich`."""
    from rich.table import Table

    table = Table(title=f"{parity.pictures} images of the split {parity.split!r}, in percent")
    table.add_column("file")
    for column in ("difference", "same", "least the same", "accuracy", "change", "mask IoU"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row(
        _KERAS, "", "", "", _percent(parity.accuracy), "", _percent(parity.mask_iou, brief=True)
    )
    for file in parity.files:
        taught = [name for name in file.agreement if name not in parity.untrained]
        least = min(taught, key=lambda name: file.agreement[name])
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
    path = Path(folder) / PARITY_FILE
    data = asdict(parity)
    for file, parts in zip(parity.files, data["files"], strict=True):
        parts["mean_agreement"] = file.mean_agreement
        if not math.isfinite(file.mask_difference):
            parts["mask_difference"] = None
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _answer(
    loaded: LoadedModel,
    models: Mapping[str, Any],
    records: str | Path,
    split: str,
    progress: bool,
) -> tuple[NDArray[np.int8], NDArray | None, dict[str, dict[str, NDArray]]]:
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

    def network(images: NDArray) -> dict[str, NDArray]:
        logits = forward(images)
        answers = {
            "attributes": loaded.calibration.probabilities(
                logits["attributes"], loaded.schema.attributes
            )
        }
        if "masks" in logits:
            answers["masks"] = 0.5 * (1 + np.tanh(0.5 * logits["masks"]))
        return answers

    runs = {_KERAS: network, **models}
    labels, masks = [], []
    parts: dict[str, list[dict[str, NDArray]]] = {name: [] for name in runs}
    shown = track(
        batches,
        "comparing",
        total=int(batches.cardinality()),
        console=Console(stderr=True),
        transient=True,
        disable=not progress,
    )
    for images, truth in shown:
        labels.append(truth["attributes"].numpy().astype(np.int8))
        if side:
            masks.append(truth["masks"].numpy())
        for name, run in runs.items():
            parts[name].append(run(images.numpy()))
    said = {
        name: {key: np.concatenate([part[key] for part in each]) for key in each[0]}
        for name, each in parts.items()
    }
    return np.concatenate(labels), np.concatenate(masks) if masks else None, said


def _pair(answers: Answers) -> tuple[NDArray, NDArray]:
    return answers.probabilities, answers.thresholds


def _figure(value: Any, samples: NDArray) -> Figure:
    low, high = interval(samples)
    return Figure(float(value), float(low), float(high))


def _change(of: tuple[Any, NDArray], against: tuple[Any, NDArray]) -> Figure:
    return _figure(of[0] - against[0], of[1] - against[1])


def _percent(figure: Figure | None, brief: bool = False) -> str:
    if figure is None:
        return ""
    value, low, high = (100 * part for part in (figure.value, figure.low, figure.high))
    return f"{value:.2f}" if brief else format_figure(Figure(value, low, high), 2)
