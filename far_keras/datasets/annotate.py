"""Annotates a data set: writes aligned images, labels and masks as TFRecord shards.

This is the annotation step of Adaptive Mask Learning (arXiv 2601.01408): a landmark model finds the
face in every image, and its points become the masks that the network is trained on.

Worker processes import this module, so it must not import TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import far_keras
from far_keras.assets import FACE_LANDMARKER, find_asset
from far_keras.console import progress_bar
from far_keras.datasets.dataset import NO_IDENTITY, SPLITS, FaceDataset
from far_keras.datasets.records import (
    MANIFEST_FILE,
    MANIFEST_VERSION,
    FaceRecord,
    Manifest,
    Shard,
    read_manifest,
    shard_size,
    write_shard,
)
from far_keras.errors import DatasetError, ImageError
from far_keras.extras import require
from far_keras.faces.alignment import align
from far_keras.faces.detector import FaceDetector
from far_keras.faces.landmarks import FaceLandmarker
from far_keras.faces.region_map import true_masks
from far_keras.faces.regions import pack_masks, region_masks
from far_keras.files import exclusive, remove_temporary_files, writing
from far_keras.geometry import ALIGNED_SIZE
from far_keras.images import read_image
from far_keras.jobs import Journal, WorkerPool, usable_cores

__all__ = ["AnnotatedImage", "AnnotationSummary", "ImageAnnotator", "ImageTask", "annotate"]

SHARD_IMAGES = 512
_CHUNK = 16  # images per task of a worker
_JOURNAL = ".annotate.jsonl"
_OLD_JOURNAL = ".progress"  # folder of version 0.1
_ADVICE = (
    "Check the free space and the permissions of the folder, then run the same command again: "
    "finished record files are kept"
)
_JPEG_QUALITY = 95
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class AnnotationSummary:
    """The result of `annotate`.

    Args:
        directory: The folder of records.
        records: Images in the records, by split.
        faces_not_found: Names of images that have labels but no masks.
        faceless: Number of images that are known to show no face.
        unreadable: Names of images that were left out, each with the reason.
        seconds: Duration of this call.
        annotated: Number of images that this call annotated; the others had been finished before.
    """

    directory: Path
    records: dict[str, int]
    faces_not_found: tuple[str, ...]
    faceless: int
    unreadable: tuple[tuple[str, str], ...]
    seconds: float
    annotated: int

    def __str__(self) -> str:
        total = sum(self.records.values())
        splits = ", ".join(f"{split} {count}" for split, count in self.records.items())
        examples = ", ".join(self.faces_not_found[:5])
        unreadable = [f"    {reason}" for _, reason in self.unreadable[:10]]  # it names the file
        if len(self.unreadable) > 10:
            unreadable.append(f"    ... all are listed in {self.directory / MANIFEST_FILE}")
        return "\n".join(
            [
                f"{total} images in {self.directory} ({splits})",
                f"  face not found: {len(self.faces_not_found)} (labels, but no masks)"
                + (f", such as {examples}" if examples else ""),
                f"  known to show no face: {self.faceless} (no labels, empty masks)",
                f"  unreadable and left out: {len(self.unreadable)}",
                *unreadable,
                f"  {self.annotated} annotated in {self.seconds:.1f} s "
                f"({self.annotated / self.seconds:.0f} per second)",
                f"Next: far-keras train {self.directory} --output MODEL",
            ]
        )


def annotate(
    dataset: FaceDataset,
    directory: str | Path,
    *,
    workers: int | None = None,
    shard_images: int = SHARD_IMAGES,
    progress: bool = True,
) -> AnnotationSummary:
    """Writes the records of a data set: aligned images with labels and masks.

    The work is spread over processes and can be interrupted at any time, also by a kill: the same
    call resumes after the last finished shard. The records do not depend on the number of workers
    or on interruptions. Training images are written in a fixed random order, because data sets list
    a person's images together; the others in the order of the data set.

    Images that cannot be read are left out, counted and listed. Images without a detected face
    keep their labels and have no masks. Images known to be faceless have no labels and empty
    masks, which train the mask network on what is not a face.

    Args:
        dataset: From `open_dataset`.
        directory: Folder for the records; created if missing.
        workers: Number of processes; None for all cores. 1 works in this process.
        shard_images: Maximum number of images per record file.
        progress: Show a progress bar.

    Returns:
        A summary; ``print`` it.

    Raises:
        DatasetError: The folder holds records of another data set or other settings, another
            process works in it, a file cannot be written (disk full), no image at all could be
            read, or a worker process died.
        AssetError: The landmark model is not available.
        MissingExtraError: TensorFlow is not installed.

    Example:
        >>> print(annotate(open_dataset("celeba"), "celeba_records"))  # doctest: +SKIP
    """
    require("train", "annotation")
    for argument, value in (("workers", workers), ("shard_images", shard_images)):
        if value is not None and value < 1:
            raise DatasetError(f"{argument}: expected at least 1. Received: {value}")
    directory = Path(directory)
    with writing(directory, DatasetError, _ADVICE):
        directory.mkdir(parents=True, exist_ok=True)
    with exclusive(directory, DatasetError):
        return _annotate(dataset, directory, workers or usable_cores(), shard_images, progress)


def _annotate(
    dataset: FaceDataset, directory: Path, workers: int, shard_images: int, progress: bool
) -> AnnotationSummary:
    started = time.monotonic()
    settings = _settings(dataset, shard_images)
    fingerprint = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    finished: dict[str, Shard] = {}
    annotated = 0
    plans = _plan_shards(dataset, shard_images)
    if (directory / MANIFEST_FILE).is_file():
        manifest = read_manifest(directory)
        if manifest.fingerprint != fingerprint:
            raise DatasetError(
                f"{directory}: the folder holds records of another data set, of other labels, of "
                "other settings or of another version of far_keras. Choose another folder, or "
                "delete this one first"
            )
        finished = {shard.file: shard for shard in manifest.shards}
    else:
        if (directory / _OLD_JOURNAL).exists():
            raise DatasetError(
                f"{directory}: holds an unfinished annotation of far_keras 0.1, which cannot be "
                "resumed. Delete the folder and run the same command again"
            )
        with writing(directory, DatasetError, _ADVICE):
            remove_temporary_files(directory)

        def add(file: str, value: dict[str, Any]) -> None:
            shard = Shard.from_dict(value)
            if shard_size(directory, shard) == shard.size:  # otherwise it is written again
                finished[file] = shard

        journal = Journal(directory / _JOURNAL, settings, DatasetError, add)
        unfinished = [plan for plan in plans if plan.file not in finished]
        annotated = sum(len(plan.rows) for plan in unfinished)
        try:
            if unfinished:
                _write_shards(dataset, directory, journal, unfinished, workers, progress)
        finally:
            journal.close()
        shards = tuple(finished[plan.file] for plan in plans)
        if not any(shard.records for shard in shards):
            _, reason = next(entry for shard in shards for entry in shard.unreadable)
            journal.close(remove=True)  # so that the same call reads repaired images
            raise DatasetError(
                f"{dataset.root}: none of {len(dataset)} images could be read. The first: {reason}"
            )
        with writing(directory / MANIFEST_FILE, DatasetError, _ADVICE):
            Manifest(
                name=dataset.name,
                attributes=dataset.attributes,
                true_masks=dataset.region_folder is not None,
                fingerprint=fingerprint,
                shards=shards,
            ).write(directory)
        journal.close(remove=True)
    shards = tuple(finished[plan.file] for plan in plans)
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
        annotated=annotated,
    )


def _settings(dataset: FaceDataset, shard_images: int) -> dict[str, Any]:
    """Everything that the records depend on, except the pixels of the images."""
    arrays = (dataset.labels, dataset.splits, dataset.identities, dataset.faceless)
    digest = hashlib.sha256(json.dumps(dataset.names).encode())
    for array in arrays:
        digest.update(b"none" if array is None else array.tobytes())
    return {
        "version": [far_keras.__version__, MANIFEST_VERSION],
        "model": FACE_LANDMARKER.sha256,
        "shard_images": shard_images,
        "name": dataset.name,
        "attributes": dataset.attributes,
        "true_masks": dataset.region_folder is not None,
        "files_and_labels_sha256": digest.hexdigest(),
    }


@dataclass(frozen=True)
class _Plan:
    """One shard to write: the rows of the data set in it, in this order."""

    file: str
    split: str
    rows: np.ndarray


def _plan_shards(dataset: FaceDataset, shard_images: int) -> list[_Plan]:
    plans = []
    for split in SPLITS:
        rows = dataset.split_indices(split)
        if split == "train":
            rows = np.random.default_rng(0).permutation(rows)
        parts = math.ceil(len(rows) / shard_images)
        for number in range(parts):
            file = f"{split}-{number:05d}-of-{parts:05d}.tfrecord"
            plans.append(_Plan(file, split, np.array_split(rows, parts)[number]))
    return plans


def _write_shards(
    dataset: FaceDataset,
    directory: Path,
    journal: Journal,
    plans: list[_Plan],
    workers: int,
    progress: bool,
) -> None:
    assert dataset.faceless is not None  # FaceDataset sets it
    tasks = [
        [
            ImageTask(dataset.files[row], bool(dataset.faceless[row]), dataset.region_map(row))
            for row in plan.rows[start : start + _CHUNK]
        ]
        for plan in plans
        for start in range(0, len(plan.rows), _CHUNK)
    ]
    import tensorflow  # noqa: F401, before the bar appears, because its import writes lines

    # Found here, so that it is downloaded once.
    factory = partial(ImageAnnotator, find_asset(FACE_LANDMARKER))
    left = sum(len(plan.rows) for plan in plans)
    with (
        WorkerPool(factory, min(workers, len(tasks)), DatasetError) as pool,
        progress_bar(progress) as bar,
    ):
        shown = bar.add_task("Annotating", total=len(dataset), completed=len(dataset) - left)

        def annotated() -> Iterator[AnnotatedImage]:
            for images in pool.map(_annotate_images, tasks):
                bar.advance(shown, len(images))
                yield from images

        stream = annotated()
        for plan in plans:
            # An exact number, because zip would take one image too many from the stream.
            pairs = [(int(row), next(stream)) for row in plan.rows]
            shard = _write_shard(dataset, directory, plan, pairs)
            journal.add({shard.file: asdict(shard)})


def _write_shard(
    dataset: FaceDataset, directory: Path, plan: _Plan, pairs: list[tuple[int, AnnotatedImage]]
) -> Shard:
    assert dataset.faceless is not None
    kept = [(row, image) for row, image in pairs if image.error is None]
    records = [
        FaceRecord(
            file=dataset.name_of(row),
            image=image.image,
            labels=dataset.labels[row],
            masks=image.masks,
            true_masks=image.true_masks,
            identity=NO_IDENTITY if dataset.identities is None else int(dataset.identities[row]),
        )
        for row, image in kept
    ]
    return Shard(
        file=plan.file,
        split=plan.split,
        records=len(records),
        size=write_shard(directory / plan.file, records),
        faces_not_found=tuple(record.file for record in records if not record.masks),
        faceless=int(sum(dataset.faceless[row] for row, _ in kept)),
        unreadable=tuple(
            (dataset.name_of(row), image.error) for row, image in pairs if image.error is not None
        ),
    )


@dataclass(frozen=True)
class ImageTask:
    """One image to annotate.

    Args:
        file: The image.
        faceless: Whether it is known to show no face.
        region_map: Its rendered region map, or None.
    """

    file: Path
    faceless: bool = False
    region_map: Path | None = None


@dataclass(frozen=True)
class AnnotatedImage:
    """The result of one image.

    Args:
        image: JPEG in CelebA's frame; empty if the image could not be read.
        masks: Packed PNG of the landmark masks; empty if no face was detected.
        true_masks: Packed PNG of the rendered regions' masks, or empty.
        error: Why the image could not be read, or None.
    """

    image: bytes = b""
    masks: bytes = b""
    true_masks: bytes = b""
    error: str | None = None


class ImageAnnotator:
    """Aligns images and makes their masks; holds the landmark models.

    An image of exactly 178 x 218 pixels is assumed to be aligned, as CelebA's and rendered ones
    are; if it is an upright RGB JPEG, its bytes are kept unchanged. In any other image the largest
    detected face is aligned; without a face, the image is cropped around its center to the aspect
    ratio of the frame.

    An image known to be faceless has empty masks, which train the mask network on what is not a
    face. Any other image without a detected face has no masks at all.

    Args:
        model: Path of ``face_landmarker.task``; see `FaceLandmarker`.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        self._model = model
        self._landmarker = FaceLandmarker(model)
        self._detector: FaceDetector | None = None  # only unaligned photographs need it

    def close(self) -> None:
        """Releases the native models."""
        self._landmarker.close()
        if self._detector is not None:
            self._detector.close()

    def annotate(self, task: ImageTask) -> AnnotatedImage:
        """Annotates one image; one that cannot be read is returned with `error` set.

        Raises:
            DatasetError: Its region map is missing, damaged or of another size.
        """
        try:
            image = read_image(task.file)
        except ImageError as error:
            return AnnotatedImage(error=str(error))
        in_frame = image.shape[:2] == ALIGNED_SIZE
        landmarks = None
        if in_frame:
            if not task.faceless and (faces := self._landmarker.detect(image)):
                landmarks = faces[0]
        else:
            image, landmarks = self._align(image, task.faceless)

        if task.faceless:
            masks = _EMPTY_MASKS
        elif landmarks is None:
            masks = b""
        else:
            masks = _encode_png(pack_masks(region_masks(landmarks, ALIGNED_SIZE, image)))
        jpeg = _plain_jpeg(task.file) if in_frame else None
        return AnnotatedImage(
            image=jpeg if jpeg is not None else _encode_jpeg(image),
            masks=masks,
            true_masks=_read_true_masks(task.region_map),
        )

    def _align(self, image: np.ndarray, faceless: bool) -> tuple[np.ndarray, np.ndarray | None]:
        faces = []
        if not faceless:
            if self._detector is None:
                self._detector = FaceDetector(self._model)
            faces = self._detector.find(image)
        if not faces:
            return _crop_to_frame(image), None
        face = faces[0]  # the largest
        aligned = align(image, face.landmarks, face.eyes)
        return aligned.image, None if face.profile else aligned.landmarks


def _encode_png(image: np.ndarray) -> bytes:
    """A uint8 (H, W) array as a single-channel PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


_EMPTY_MASKS = _encode_png(np.zeros(ALIGNED_SIZE, np.uint8))


def _encode_jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _plain_jpeg(file: Path) -> bytes | None:
    """The file's bytes if every JPEG decoder decodes them as `read_image` does, else None."""
    data = file.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        upright = image.getexif().get(_EXIF_ORIENTATION, 1) == 1
        plain = image.format == "JPEG" and image.mode == "RGB" and upright
    return data if plain else None


def _crop_to_frame(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(height / ALIGNED_SIZE[0], width / ALIGNED_SIZE[1])
    crop_height, crop_width = scale * ALIGNED_SIZE[0], scale * ALIGNED_SIZE[1]
    # Not below 0 and not beyond the image, which Pillow refuses, by rounding.
    left, top = max(0.0, (width - crop_width) / 2), max(0.0, (height - crop_height) / 2)
    resized = Image.fromarray(image).resize(
        (ALIGNED_SIZE[1], ALIGNED_SIZE[0]),
        Image.Resampling.BILINEAR,
        box=(left, top, min(width, left + crop_width), min(height, top + crop_height)),
    )
    return np.asarray(resized)


def _read_true_masks(region_map: Path | None) -> bytes:
    if region_map is None:
        return b""
    try:
        with Image.open(region_map) as image:
            regions = np.asarray(image)
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DatasetError(f"{region_map}: cannot read the region map: {error}") from error
    if regions.shape != ALIGNED_SIZE or regions.dtype != np.uint8:
        raise DatasetError(
            f"{region_map}: expected a single-channel 8-bit PNG of 178 x 218 pixels. "
            f"Received: shape {regions.shape}, {regions.dtype}"
        )
    return _encode_png(pack_masks(true_masks(regions)))


def _annotate_images(annotator: ImageAnnotator, tasks: list[ImageTask]) -> list[AnnotatedImage]:
    return [annotator.annotate(task) for task in tasks]
