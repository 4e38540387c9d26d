"""What a model answers to one split of a folder of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from far_keras.calibration import Calibration, sigmoid
from far_keras.evaluation.mask_scores import MASK_METRICS, group_masks, mask_scores, unpack_regions
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    import keras

    from far_keras.datasets.pipeline import MaskSource

__all__ = ["SplitAnswers", "answer_split"]


@dataclass(frozen=True)
class SplitAnswers:
    """Labels, answers and mask overlaps of N images, in the order of the records.

    Args:
        labels: (N, A) int8, 1, 0 or `MISSING`.
        probabilities: (N, A) float64, calibrated; (N, 0) of a network that answers masks only.
        logits: (N, A) float64, what the probabilities were made of.
        masks: By what the predicted masks are compared with, ``"landmarks"`` or ``"true"``: an
            array (N, 3, G) of `far_keras.evaluation.mask_scores.mask_scores`, NaN where an image
            has no masks. Empty for a network that predicts none.
    """

    labels: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    logits: NDArray[np.float64]
    masks: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def iou(self) -> NDArray[np.float64] | None:
        """(N, G) intersection over union with the landmark masks; None without masks."""
        return self.masks["landmarks"][:, MASK_METRICS.index("iou")] if self.masks else None


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
        model: From images (B, S, S, 3), or with given masks from a dict, to logits
            ``{"attributes": (B, A)}`` and perhaps ``{"masks": (B, h, h, G)}``, or to these alone.
        schema: The model's.
        records: Folder that `far_keras.datasets.annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        batch_size: Images at once.
        given_masks: Which masks of the records a network with given masks gets.
        calibration: How logits become probabilities; None for the plain sigmoid.
        title: Shown with a progress bar on standard error; None shows none.

    Raises:
        DatasetError: The records are missing, incomplete, or lack an attribute of the schema.
    """
    import keras

    from far_keras.datasets.pipeline import load_records
    from far_keras.models.storage import compile_forward, given_mask_size

    given = given_mask_size(model)
    batches = load_records(
        records,
        split,
        schema=schema,
        image_size=model.inputs[0].shape[1],
        mask_size=given or 32,
        batch_size=batch_size,
        masks=given_masks if given else None,
        masks_as="input" if given else "target",
        cache=False,
    )
    forward = compile_forward(model)
    labels, logits, overlaps = [], [], []
    truths = _true_masks(records, split, schema)
    shown = track(
        batches,
        title or "",
        total=int(batches.cardinality()),
        console=Console(stderr=True),
        transient=True,
        disable=title is None,
    )
    for inputs, known in shown:
        outputs = forward(keras.tree.map_structure(lambda tensor: tensor.numpy(), inputs))
        labels.append(known["attributes"].numpy().astype(np.int8))
        if "attributes" in outputs:
            logits.append(outputs["attributes"].astype(np.float64))
        if "masks" in outputs:
            # As in the pipeline, the records come in their own order.
            overlaps += [_overlaps(next(truths), each) for each in sigmoid(outputs["masks"])]
    said = np.concatenate(logits) if logits else np.zeros((sum(map(len, labels)), 0))
    calibrated = calibration or Calibration()
    sources = overlaps[0] if overlaps else ()
    return SplitAnswers(
        labels=np.concatenate(labels),
        probabilities=calibrated.probabilities(said, schema.attributes) if logits else said,
        logits=said,
        masks={source: np.stack([each[source] for each in overlaps]) for source in sources},
    )


def _true_masks(
    records: str | Path, split: str, schema: AttributeSchema
) -> Iterator[dict[str, NDArray[np.bool_] | None]]:
    """For each image of a split its group masks (G, 218, 178) by source, None where unknown."""
    from far_keras.datasets.manifest import read_manifest
    from far_keras.datasets.records import read_shard

    manifest = read_manifest(records)
    for shard in manifest.split_shards(split):
        for record in read_shard(Path(records) / shard.file):
            sources = {"landmarks": record.masks}
            if manifest.true_masks:
                sources["true"] = record.true_masks
            yield {
                source: None if (regions := unpack_regions(png)) is None
                else group_masks(regions, schema)
                for source, png in sources.items()
            }  # fmt: skip


def _overlaps(
    truths: Mapping[str, NDArray[np.bool_] | None], probabilities: NDArray
) -> dict[str, NDArray[np.float64]]:
    unknown = np.full((len(MASK_METRICS), probabilities.shape[-1]), np.nan)
    return {
        source: unknown if truth is None else mask_scores(truth, probabilities)
        for source, truth in truths.items()
    }
