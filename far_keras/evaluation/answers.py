"""What a model answers to one split of a folder of records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from far_keras.evaluation.scores import mask_iou
from far_keras.models.calibration import Calibration
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    import keras

    from far_keras.datasets.pipeline import MaskSource

__all__ = ["SplitAnswers", "answer_split"]


@dataclass(frozen=True)
class SplitAnswers:
    """Labels, answers and mask overlaps of N pictures, in the order of the records.

    Args:
        labels: (N, A) int8, 1, 0 or `MISSING`.
        probabilities: (N, A) float64, calibrated.
        iou: (N, G) intersection over union of predicted and landmark masks, NaN where a picture
            has no masks; None for a model without masks.
        logits: (N, A) float64, what the probabilities were made of.
    """

    labels: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    iou: NDArray[np.float64] | None
    logits: NDArray[np.float64]


def answer_split(
    model: keras.Model,
    schema: AttributeSchema,
    records: str | Path,
    split: str,
    *,
    batch_size: int = 32,
    title: str | None = None,
    given_masks: MaskSource = "landmarks",
    calibration: Calibration | None = None,
) -> SplitAnswers:
    """Runs a model over a split, once, without augmentation.

    Args:
        model: From pictures (B, S, S, 3) to logits ``{"attributes": (B, A)}`` and perhaps
            ``{"masks": (B, h, h, G)}``.
        schema: The model's.
        records: Folder that `far_keras.datasets.annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        batch_size: Pictures at once.
        given_masks: Which masks of the records a network with given masks gets.
        calibration: How logits become probabilities; None for the plain sigmoid.
        title: Shown with a progress bar on standard error; None shows none.

    Raises:
        DatasetError: The records are missing, incomplete, or lack an attribute of the schema.
    """
    import keras

    from far_keras.datasets.pipeline import load_records
    from far_keras.models.forward import compile_forward
    from far_keras.models.inputs import given_mask_size, mask_size

    given, side = given_mask_size(model), mask_size(model)
    predicts = "masks" in model.output
    batches = load_records(
        records,
        split,
        schema=schema,
        image_size=model.inputs[0].shape[1],
        mask_size=side or 32,
        batch_size=batch_size,
        masks=given_masks if given else "landmarks" if side else None,
        masks_as="input" if given else "target",
        cache=False,
    )
    forward = compile_forward(model)
    labels, logits, overlaps = [], [], []
    shown = track(
        batches,
        title or "",
        total=int(batches.cardinality()),
        console=Console(stderr=True),
        transient=True,
        disable=title is None,
    )
    for inputs, truth in shown:
        outputs = forward(keras.tree.map_structure(lambda tensor: tensor.numpy(), inputs))
        labels.append(truth["attributes"].numpy().astype(np.int8))
        logits.append(outputs["attributes"].astype(np.float64))
        if predicts:
            overlaps.append(mask_iou(truth["masks"].numpy(), _sigmoid(outputs["masks"])))
    said = np.concatenate(logits)
    return SplitAnswers(
        labels=np.concatenate(labels),
        probabilities=(calibration or Calibration()).probabilities(said, schema.attributes),
        iou=np.concatenate(overlaps) if overlaps else None,
        logits=said,
    )


def _sigmoid(logits: NDArray) -> NDArray:
    return 0.5 * (1 + np.tanh(0.5 * logits))
