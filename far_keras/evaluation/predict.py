"""Predictions of a model for one split of a folder of records."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from far_keras.calibration import sigmoid
from far_keras.console import progress_bar
from far_keras.evaluation.metrics import MASK_METRICS, group_masks, mask_scores, unpack_regions
from far_keras.schema import AttributeSchema

if TYPE_CHECKING:
    from far_keras.datasets.records import FaceRecord
    from far_keras.models.storage import LoadedModel

__all__ = ["SplitPredictions", "predict_split", "read_faces"]


@dataclass(frozen=True)
class SplitPredictions:
    """Labels, predictions and mask overlaps of N images, in the order of the records.

    Args:
        labels: (N, A) int8, 1, 0 or `MISSING`.
        probabilities: (N, A) float64, calibrated; (N, 0) of a network that predicts masks only.
        logits: (N, A) float64.
        masks: By the masks that the predicted ones are compared with, ``"landmarks"`` or
            ``"true"``: an array (N, 3, G) of `far_keras.evaluation.metrics.mask_scores`, NaN where
            an image has no masks. Empty for a network that predicts none.
        given_masks: The masks of the records that the network had as an input, as in its training;
            None if it has no such input.
    """

    labels: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    logits: NDArray[np.float64]
    masks: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    given_masks: str | None = None

    @property
    def iou(self) -> NDArray[np.float64] | None:
        """(N, G) intersection over union with the landmark masks; None without masks."""
        return self.masks["landmarks"][:, MASK_METRICS.index("iou")] if self.masks else None


def predict_split(
    loaded: LoadedModel,
    records: str | Path,
    split: str,
    *,
    batch_size: int = 32,
    title: str | None = None,
) -> SplitPredictions:
    """Runs a model on a split, once, without augmentation.

    Args:
        loaded: A model that predicts attributes, masks or both.
        records: Folder that `far_keras.datasets.annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        batch_size: Images per batch.
        title: Of a progress bar on standard error; None shows none.

    Raises:
        DatasetError: The records are missing, incomplete, or lack an attribute of the schema.
    """
    import keras

    from far_keras.datasets.pipeline import load_records
    from far_keras.datasets.records import read_manifest
    from far_keras.models.storage import compile_forward, given_mask_size

    model, schema = loaded.model, loaded.schema
    given = given_mask_size(model)
    source = loaded.provenance.get("config", {}).get("masks", "landmarks")
    batches = load_records(
        records,
        split,
        schema=schema,
        image_size=loaded.image_size,
        mask_size=given or 32,
        batch_size=batch_size,
        masks=source if given else None,
        masks_as="input" if given else "target",
        cache=False,
    )
    forward = compile_forward(model)
    labels, logits, overlaps = [], [], []
    has_true_masks = read_manifest(records).true_masks
    stored = _read_split(records, split)  # in the same order as the batches
    with progress_bar(title is not None) as bar:
        count = int(batches.cardinality())
        for inputs, known in bar.track(batches, total=count, description=title or ""):
            outputs = forward(keras.tree.map_structure(lambda tensor: tensor.numpy(), inputs))
            labels.append(known["attributes"].numpy().astype(np.int8))
            if "attributes" in outputs:
                logits.append(outputs["attributes"].astype(np.float64))
            for predicted in sigmoid(outputs["masks"]) if "masks" in outputs else ():
                record = next(stored)
                sources = {"landmarks": record.masks}
                if has_true_masks:
                    sources["true"] = record.true_masks
                overlaps.append(
                    {source: _overlap(png, predicted, schema) for source, png in sources.items()}
                )
    joined = np.concatenate(logits) if logits else np.zeros((sum(map(len, labels)), 0))
    return SplitPredictions(
        labels=np.concatenate(labels),
        probabilities=(
            loaded.calibration.probabilities(joined, schema.attributes) if logits else joined
        ),
        logits=joined,
        given_masks=source if given else None,
        masks={
            source: np.stack([each[source] for each in overlaps])
            for source in (overlaps[0] if overlaps else ())
        },
    )


def read_faces(
    records: str | Path, split: str, rows: list[int]
) -> dict[int, tuple[NDArray[np.uint8], NDArray[np.bool_] | None]]:
    """Aligned images (218, 178, 3) and region masks (218, 178, 8) of some rows of a split.

    The masks are those from landmarks, None where no face was found.
    """
    from far_keras.datasets.records import read_manifest, read_shard

    wanted, faces, first = set(rows), {}, 0
    for shard in read_manifest(records).split_shards(split):
        if any(first <= row < first + shard.records for row in wanted):
            for row, record in enumerate(read_shard(Path(records) / shard.file), first):
                if row in wanted:
                    image = np.asarray(Image.open(io.BytesIO(record.image)).convert("RGB"))
                    faces[row] = (image, unpack_regions(record.masks))
        first += shard.records
    return faces


def _read_split(records: str | Path, split: str) -> Iterator[FaceRecord]:
    from far_keras.datasets.records import read_manifest, read_shard

    for shard in read_manifest(records).split_shards(split):
        yield from read_shard(Path(records) / shard.file)


def _overlap(
    png: bytes, probabilities: NDArray[Any], schema: AttributeSchema
) -> NDArray[np.float64]:
    """(3, G) scores of an image's masks; NaN where the record has none."""
    regions = unpack_regions(png)
    if regions is None:
        return np.full((len(MASK_METRICS), probabilities.shape[-1]), np.nan)
    return mask_scores(group_masks(regions, schema), probabilities)
