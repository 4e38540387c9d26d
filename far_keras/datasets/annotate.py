"""Annotates a data set once: aligned images, labels and masks as TFRecord shards.

This is the annotation step of Adaptive Mask Learning (arXiv 2601.01408): a landmark model sees
every training image, and its points become the masks that the network learns.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

import far_keras
from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.datasets.annotation_workers import annotate_chunks
from far_keras.datasets.dataset import NO_IDENTITY, SPLITS, FaceDataset
from far_keras.datasets.journal import Journal, cannot_write
from far_keras.datasets.manifest import MANIFEST_FILE, MANIFEST_VERSION, Manifest, Shard
from far_keras.datasets.picture import AnnotatedPicture, PictureTask
from far_keras.errors import DatasetError
from far_keras.files import exclusive

__all__ = ["AnnotationSummary", "annotate"]

SHARD_PICTURES = 512
_CHUNK = 16  # images that a worker gets at a time


@dataclass(frozen=True)
class AnnotationSummary:
    """What `annotate` did.

    Args:
        directory: The folder of records.
        records: Images in the records, by split.
        faces_not_found: Names of images that have labels but no masks.
        faceless: How many images are known to show no face.
        unreadable: Names of images that were left out, each with the reason.
        seconds: How long this call took.
        annotated: How many images this call worked on; the others were there already.
    """

    directory: Path
    records: dict[str, int]
    faces_not_found: tuple[str, ...]
    faceless: int
    unreadable: tuple[tuple[str, str], ...]
    seconds: float
    annotated: int

    @property
    def images_per_second(self) -> float:
        """Speed of this call; 0 if there was nothing left to do."""
        return self.annotated / self.seconds if self.annotated else 0.0

    def __str__(self) -> str:
        total = sum(self.records.values())
        splits = ", ".join(f"{split} {count}" for split, count in self.records.items())
        shown = ", ".join(self.faces_not_found[:5])
        unreadable = [f"    {reason}" for _, reason in self.unreadable[:10]]  # which names the file
        if len(self.unreadable) > 10:
            unreadable.append(f"    ... all of them are named in {self.directory / MANIFEST_FILE}")
        return "\n".join(
            [
                f"{total} images in {self.directory} ({splits})",
                f"  face not found: {len(self.faces_not_found)} (labels, but no masks)"
                + (f", such as {shown}" if shown else ""),
                f"  known to show no face: {self.faceless} (no labels, empty masks)",
                f"  unreadable and left out: {len(self.unreadable)}",
                *unreadable,
                f"  {self.annotated} annotated in {self.seconds:.1f} s "
                f"({self.images_per_second:.0f} a second)",
                f"Next: far-keras train {self.directory} --output MODEL",
            ]
        )


@dataclass(frozen=True)
class _Plan:
    """One shard to write, from the data set's rows `rows` in this order."""

    file: str
    split: str
    rows: np.ndarray


def annotate(
    dataset: FaceDataset,
    directory: str | Path,
    *,
    workers: int | None = None,
    shard_pictures: int = SHARD_PICTURES,
    progress: bool = True,
) -> AnnotationSummary:
    """Writes the records of a data set: aligned images with labels and masks.

    The work is spread over processes and can be stopped at any time, also by a kill: run the same
    again and it goes on after the last finished shard. The records do not depend on the number of
    workers or on interruptions. Training images are written in a fixed random order, since data
    sets list a person's images together; the others in the data set's order.

    Images that cannot be read are left out, counted and named. Images without a found face
    keep their labels and have no masks. Images known to be faceless have no labels, and masks
    without a pixel, from which the mask network learns what is no face.

    Args:
        dataset: From `open_dataset`.
        directory: Folder for the records; made if missing.
        workers: Number of processes; all cores if None. 1 works in this process.
        shard_pictures: At most this many images go into one file.
        progress: Show a progress bar.

    Returns:
        What was done; ``print`` it.

    Raises:
        DatasetError: The folder holds records of another data set or other settings, another
            process is at work there, a file cannot be written (disk full), not one image could be
            read, or a worker process died.
        AssetError: The landmark model is not to be had.

    Example:
        >>> print(annotate(open_dataset("celeba"), "celeba_records"))  # doctest: +SKIP
    """
    for argument, value in (("workers", workers), ("shard_pictures", shard_pictures)):
        if value is not None and value < 1:
            raise DatasetError(f"{argument}: expected at least 1. Received: {value}")
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(directory, error) from error
    with exclusive(directory, DatasetError):
        return _annotate(dataset, directory, workers, shard_pictures, progress)


def _annotate(
    dataset: FaceDataset,
    directory: Path,
    workers: int | None,
    shard_pictures: int,
    progress: bool,
) -> AnnotationSummary:
    started = time.monotonic()
    journal = Journal(directory, _fingerprint(dataset, shard_pictures))
    plans = _plan_shards(dataset, shard_pictures)
    todo = [plan for plan in plans if plan.file not in journal.finished]
    remaining = sum(len(plan.rows) for plan in todo)
    if todo:
        _write_shards(dataset, journal, todo, workers or os.cpu_count() or 1, progress)

    shards = tuple(journal.finished[plan.file] for plan in plans)
    if not any(shard.records for shard in shards):
        _, reason = next(entry for shard in shards for entry in shard.unreadable)
        journal.close()  # mended images are to be read when the same is run again
        raise DatasetError(
            f"{dataset.root}: none of {len(dataset)} images could be read. The first: {reason}"
        )
    if not journal.complete:
        manifest = Manifest(
            name=dataset.name,
            attributes=dataset.attributes,
            true_masks=dataset.region_folder is not None,
            fingerprint=journal.fingerprint,
            shards=shards,
        )
        try:
            manifest.write(directory)
        except OSError as error:
            raise cannot_write(directory / MANIFEST_FILE, error) from error
        journal.close()
    return AnnotationSummary(
        directory=directory,
        records={
            split: sum(shard.records for shard in shards if shard.split == split)
            for split in SPLITS
        },
        faces_not_found=tuple(name for shard in shards for name in shard.faces_not_found),
        faceless=sum(shard.faceless for shard in shards),
        unreadable=tuple(entry for shard in shards for entry in shard.unreadable),
        seconds=time.monotonic() - started,
        annotated=remaining,
    )


def _plan_shards(dataset: FaceDataset, shard_pictures: int) -> list[_Plan]:
    plans = []
    for split in SPLITS:
        rows = dataset.split_indices(split)
        if split == "train":
            rows = np.random.default_rng(0).permutation(rows)
        parts = math.ceil(len(rows) / shard_pictures)
        for number in range(parts):
            file = f"{split}-{number:05d}-of-{parts:05d}.tfrecord"
            plans.append(_Plan(file, split, np.array_split(rows, parts)[number]))
    return plans


def _write_shards(
    dataset: FaceDataset, journal: Journal, plans: list[_Plan], workers: int, progress: bool
) -> None:
    chunks = [
        plan.rows[start : start + _CHUNK]
        for plan in plans
        for start in range(0, len(plan.rows), _CHUNK)
    ]
    assert dataset.faceless is not None  # FaceDataset sees to that
    tasks = [
        [
            PictureTask(dataset.files[row], bool(dataset.faceless[row]), dataset.region_map(row))
            for row in chunk
        ]
        for chunk in chunks
    ]
    # TensorFlow is imported before the bar is shown, since it writes lines of its own. It is not
    # imported above: a worker process that imports the caller's script would load it too.
    import far_keras.datasets.records  # noqa: F401

    bar = Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not progress,
    )
    model = find_asset(FACE_LANDMARKER)  # here, so that it is fetched once
    results = annotate_chunks(tasks, min(workers, len(chunks)), model)
    left = sum(len(plan.rows) for plan in plans)
    with bar:
        shown = bar.add_task("Annotating", total=len(dataset), completed=len(dataset) - left)

        def pictures() -> Iterator[AnnotatedPicture]:
            for chunk in results:
                bar.advance(shown, len(chunk))
                yield from chunk

        stream = pictures()
        try:
            for plan in plans:
                # An exact number, since zip would draw one image too many from the stream.
                pairs = [(int(row), next(stream)) for row in plan.rows]
                journal.add(_write_shard(dataset, journal.directory, plan, pairs))
        finally:
            results.close()  # type: ignore[attr-defined]  # a generator: ends the processes


def _write_shard(
    dataset: FaceDataset,
    directory: Path,
    plan: _Plan,
    pairs: list[tuple[int, AnnotatedPicture]],
) -> Shard:
    from far_keras.datasets.records import FaceRecord, write_shard

    assert dataset.faceless is not None
    kept = [(row, picture) for row, picture in pairs if picture.error is None]
    records = [
        FaceRecord(
            file=dataset.name_of(row),
            image=picture.image,
            labels=dataset.labels[row],
            masks=picture.masks,
            true_masks=picture.true_masks,
            identity=NO_IDENTITY if dataset.identities is None else int(dataset.identities[row]),
        )
        for row, picture in kept
    ]
    return Shard(
        file=plan.file,
        split=plan.split,
        records=len(records),
        size=write_shard(directory / plan.file, records),
        faces_not_found=tuple(record.file for record in records if not record.masks),
        faceless=int(sum(dataset.faceless[row] for row, _ in kept)),
        unreadable=tuple(
            (dataset.name_of(row), picture.error)
            for row, picture in pairs
            if picture.error is not None
        ),
    )


def _fingerprint(dataset: FaceDataset, shard_pictures: int) -> str:
    """Hash of all that the records depend on, but the images' pixels."""
    settings = {
        "version": [far_keras.__version__, MANIFEST_VERSION],
        "model": FACE_LANDMARKER.sha256,
        "shard_pictures": shard_pictures,
        "name": dataset.name,
        "attributes": dataset.attributes,
        "files": dataset.names,
        "true_masks": dataset.region_folder is not None,
    }
    digest = hashlib.sha256(json.dumps(settings).encode())
    for array in (dataset.labels, dataset.splits, dataset.identities, dataset.faceless):
        digest.update(b"none" if array is None else array.tobytes())
    return digest.hexdigest()
