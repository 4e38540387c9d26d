"""Images out of a test split: masks over faces, and the worst errors."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from far_keras.evaluation.mask_scores import group_masks, unpack_regions
from far_keras.recognition.drawing import overlay_masks
from far_keras.schema import MISSING

if TYPE_CHECKING:
    from far_keras.evaluation.answers import SplitAnswers
    from far_keras.models.storage import LoadedModel

__all__ = ["Mistake", "mask_rows", "read_faces", "worst_mistakes"]


@dataclass(frozen=True)
class Mistake:
    """A confident wrong answer.

    Args:
        row: Index of the image in its split.
        attribute: Which one.
        label: What is true, 1 or 0.
        probability: Of "yes", as answered.
    """

    row: int
    attribute: str
    label: int
    probability: float

    def __str__(self) -> str:
        answer, share = ("no", 1 - self.probability) if self.label else ("yes", self.probability)
        name = self.attribute.replace("_", " ")
        return f"{name}: answered {answer} ({share:.0%} sure), labelled {['no', 'yes'][self.label]}"


def worst_mistakes(
    attributes: tuple[str, ...], said: SplitAnswers, count: int = 12, each: int = 2
) -> list[Mistake]:
    """The wrong answers that were surest, one an image and at most `each` an attribute."""
    known = said.labels != MISSING
    wrongness = np.where(known, np.abs(said.probabilities - said.labels), 0.0)
    order = np.argsort(-wrongness, axis=None, kind="stable")
    found: list[Mistake] = []
    used = dict.fromkeys(attributes, 0)
    for row, column in zip(*np.unravel_index(order, wrongness.shape), strict=True):
        if len(found) == count or wrongness[row, column] < 0.5:
            break
        name = attributes[column]
        if used[name] < each and all(mistake.row != row for mistake in found):
            used[name] += 1
            probability = float(said.probabilities[row, column])
            found.append(Mistake(int(row), name, int(said.labels[row, column]), probability))
    return found


def read_faces(
    records: str | Path, split: str, rows: list[int]
) -> dict[int, tuple[NDArray[np.uint8], NDArray[np.bool_] | None]]:
    """Aligned images (218, 178, 3) and region masks (218, 178, 8) of some rows of a split.

    The masks are those from landmarks, None where no face was found.
    """
    from far_keras.datasets.manifest import read_manifest
    from far_keras.datasets.records import read_shard

    wanted, faces, first = set(rows), {}, 0
    for shard in read_manifest(records).split_shards(split):
        if any(first <= row < first + shard.records for row in wanted):
            for row, record in enumerate(read_shard(Path(records) / shard.file), first):
                if row in wanted:
                    image = np.asarray(Image.open(io.BytesIO(record.image)).convert("RGB"))
                    faces[row] = (image, unpack_regions(record.masks))
        first += shard.records
    return faces


def mask_rows(
    loaded: LoadedModel, records: str | Path, split: str, rows: list[int]
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]:
    """For some rows of a split: the image, landmark masks over it, the network's masks over it.

    Rows without landmark masks, or without a face, are left out.
    """
    from far_keras.models.storage import compile_forward

    forward = compile_forward(loaded.model)
    faces = read_faces(records, split, rows)
    shown = []
    for row in rows:
        image, regions = faces[row]
        if regions is None or not regions.any():
            continue
        size = (loaded.image_size, loaded.image_size)
        small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        outputs = forward(np.asarray(small)[None])
        logits = np.moveaxis(outputs["masks"][0], -1, 0)  # (G, h, w)
        predicted = 0.5 * (1 + np.tanh(0.5 * logits))
        given = group_masks(regions, loaded.schema).astype(np.float32)
        shown.append((image, overlay_masks(image, given), overlay_masks(image, predicted)))
    return shown
